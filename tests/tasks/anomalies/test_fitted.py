import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError, PackageError
from sanmaru.tasks.anomalies import Fitted, fit_detector
from sanmaru.tasks.anomalies.blocks import divide
from sanmaru.tasks.anomalies.series import series_rows


@pytest.fixture
def rules(fitted_of):
    return fitted_of("rules")


def test_every_row_comes_back_in_its_place_with_a_verdict(rules, stations):
    some = pl.int_range(pl.len()) % 500 == 7
    faulty = stations.with_columns(pm10=pl.when(some).then(900.0).otherwise(pl.col("pm10")), note=pl.lit("kept"))
    shuffled = faulty.sample(fraction=1.0, shuffle=True, seed=1)
    verdicts = rules.verdicts(shuffled)
    assert verdicts.drop("anomaly", "anomaly.score", "anomaly.reason").equals(shuffled)
    assert verdicts.schema["anomaly"] == pl.Boolean
    assert verdicts.schema["anomaly.score"] == pl.Float64
    assert verdicts.schema["anomaly.reason"] == pl.String
    flagged = verdicts["anomaly"]
    assert 10 <= flagged.sum() < 60  # eleven hours of 900, and steps back from it
    assert verdicts.filter("anomaly")["anomaly.reason"].null_count() == 0
    assert verdicts.filter(~flagged)["anomaly.reason"].null_count() == (~flagged).sum()
    assert (verdicts.filter("anomaly")["anomaly.score"] > rules.threshold.value).all()


def test_verdicts_of_before_are_replaced(rules, stations):
    once = rules.verdicts(stations.head(50))
    assert rules.verdicts(once).equals(once)


def test_a_batch_judged_twice_has_the_same_verdicts(rules, stations):
    batch = stations.filter(pl.col("time") >= stations["time"].max() - timedelta(hours=2))
    before = stations.filter(pl.col("time") < batch["time"].min())
    first = rules.verdicts(batch, before)
    # the rows are in the store by then, as they were or revised
    again = rules.verdicts(batch, stations.with_columns(pl.col("pm10") + 1))
    assert first["anomaly.reason"].to_list() == again["anomaly.reason"].to_list()
    assert not first["anomaly.reason"].fill_null("").str.contains("time").any()


def test_rows_after_a_batch_do_not_count(rules, stations):
    """A backfill: the store holds later rows already."""
    batch = stations.filter(pl.col("time").is_between(stations["time"][800], stations["time"][805]))
    before = stations.filter(pl.col("time") < batch["time"].min())
    np.testing.assert_array_equal(rules.scores(batch, before), rules.scores(batch, stations))


def test_times_may_be_written_in_another_zone_or_unit(rules, stations):
    batch, before = stations.tail(5), stations.head(-5)
    elsewhere = batch.with_columns(pl.col("time").dt.convert_time_zone("Asia/Seoul").dt.cast_time_unit("ms"))
    naive = before.with_columns(pl.col("time").dt.replace_time_zone(None))
    np.testing.assert_array_equal(rules.scores(elsewhere, naive), rules.scores(batch, before))


def test_times_that_repeat_in_a_batch_are_told(rules, stations):
    batch = stations.filter(pl.col("series") == "a").tail(10)
    verdicts = rules.verdicts(pl.concat([batch, batch.tail(3)]))
    assert verdicts["anomaly"][-3:].all()
    assert set(verdicts["anomaly.reason"][-3:]) == {"time"}


def test_missing_values_are_strange_where_none_were(rules, stations):
    batch = stations.filter(pl.col("series") == "c").tail(30)
    empty = batch.with_columns(pm25=pl.when(pl.int_range(pl.len()) < 25).then("pm25"))
    verdicts = rules.verdicts(empty)
    assert verdicts["anomaly"][-1]
    assert "pm25" in verdicts["anomaly.reason"][-1]


def test_an_empty_batch_has_no_verdicts(rules, stations):
    verdicts = rules.verdicts(stations.clear())
    assert verdicts.height == 0
    assert verdicts.columns[-3:] == ["anomaly", "anomaly.score", "anomaly.reason"]


def test_a_column_of_nothing_is_missing_not_an_error(rules, stations):
    batch = stations.tail(5).with_columns(pm10=pl.lit(None))
    assert rules.verdicts(batch)["anomaly"].all()


def test_batches_of_other_columns_are_refused(rules, stations):
    with pytest.raises(DataError, match="watches 'pm10', and the rows to judge have no such column"):
        rules.verdicts(stations.drop("pm10"))
    with pytest.raises(DataError, match="rows from before have no column 'pm25'"):
        rules.verdicts(stations.tail(3), stations.drop("pm25"))


@pytest.mark.parametrize("name", ["reference.npz", "fitted.json", "detector/distances.npy"])
def test_an_altered_or_missing_file_is_refused(rules, tmp_path, name):
    rules.save(tmp_path / "kept")
    path = tmp_path / "kept" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(PackageError, match=f"{name} was altered"):
        Fitted.load(tmp_path / "kept")
    path.unlink()
    with pytest.raises(PackageError, match=f"{name} is missing"):
        Fitted.load(tmp_path / "kept")


def test_folders_that_hold_no_detector_are_refused(tmp_path, rules):
    with pytest.raises(PackageError, match="holds no detector"):
        Fitted.load(tmp_path)
    rules.save(tmp_path / "kept")
    manifest = tmp_path / "kept" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format": 9}))
    with pytest.raises(PackageError, match="has format 9; this version reads up to 1"):
        Fitted.load(tmp_path / "kept")
    manifest.write_text(json.dumps({**content, "files": {"../../etc": "0"}}))
    with pytest.raises(PackageError, match="lies outside"):
        Fitted.load(tmp_path / "kept")
    manifest.write_text("{")
    with pytest.raises(PackageError, match="is damaged"):
        Fitted.load(tmp_path / "kept")


def test_fitting_twice_gives_the_same_bytes(stations, make_config, tmp_path):
    for name in ("one", "two"):
        fit_detector(stations.head(1680), make_config("isolation-forest")).save(tmp_path / name)
    one, two = (Fitted.load(tmp_path / name) for name in ("one", "two"))
    assert one.fingerprint == two.fingerprint


def test_parts_do_not_overlap_and_the_check_is_the_last_fifth(stations):
    rows = series_rows(stations, ["pm10"])
    parts = divide(rows)
    every = np.concatenate([parts.learn, parts.threshold, parts.check])
    assert sorted(every) == list(range(len(rows)))
    assert rows.time_s[parts.check].min() > rows.time_s[parts.learn].max()
    assert len(parts.check) == pytest.approx(0.2 * len(rows), abs=10)
    # blocks of time: a threshold row has a learned neighbour only at a border
    marks = np.isin(np.flatnonzero(rows.code == 0), parts.threshold)
    assert np.abs(np.diff(marks.astype(int))).sum() <= 2 * 12


def test_too_little_past_is_refused(stations, make_config):
    with pytest.raises(DataError, match="past rows are too few"):
        fit_detector(stations.head(200), make_config("rules"))
