"""Every detector passes one suite."""

import shutil
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from sanmaru.tasks.anomalies.config import KINDS
from sanmaru.tasks.anomalies.fitted import Fitted

SINGLE = [kind for kind in KINDS if kind not in ("stuck",)]


def batch_of(table: pl.DataFrame, hours: int = 6) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The last hours of all stations, and the rows before them."""
    border = table["time"].max() - timedelta(hours=hours - 1)
    return table.filter(pl.col("time") >= border), table.filter(pl.col("time") < border)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_scores_of_the_whole(fitted_of, stations, kind):
    fitted = fitted_of(kind)
    batch, before = batch_of(stations)
    alone = fitted.scores(batch, before.group_by("series", maintain_order=True).tail(fitted.context))
    whole = stations.with_columns(score=pl.Series(fitted.scores(stations)))
    expected = batch.join(whole, on=["series", "time"], how="left", maintain_order="left")["score"].to_numpy()
    np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(alone).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_the_folder_gives_the_same_scores(fitted_of, stations, kind, tmp_path):
    fitted = fitted_of(kind)
    fitted.save(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "kept")
    loaded = Fitted.load(tmp_path / "elsewhere" / "copy")
    rows = stations.tail(500)
    np.testing.assert_allclose(loaded.scores(rows), fitted.scores(rows), rtol=0, atol=1e-6)
    assert loaded.threshold == fitted.threshold
    assert loaded.config == fitted.config
    suffixes = {path.suffix for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".npz", ".npy", ".safetensors"}  # nothing that has to be unpickled


@pytest.mark.parametrize("kind", SINGLE)
def test_a_value_out_of_all_bounds_is_stranger_than_its_neighbours_and_named(fitted_of, stations, kind):
    fitted = fitted_of(kind)
    batch, before = batch_of(stations)
    # 400 where 10 to 100 are usual; the last hour of station b
    hit = (pl.col("series") == "b") & (pl.col("time") == batch["time"].max())
    wrong = batch.with_columns(pm10=pl.when(hit).then(400.0).otherwise(pl.col("pm10")))
    clean, scores = fitted.scores(batch, before), fitted.scores(wrong, before)
    row = wrong.with_row_index().filter(hit)["index"][0]
    assert scores[row] > clean[row]
    assert scores[row] > np.quantile(clean, 0.95)
    others = np.arange(len(batch)) != row
    np.testing.assert_allclose(scores[others], clean[others])
    verdicts = fitted.verdicts(wrong, before)
    if verdicts["anomaly"][row]:
        assert "pm1" in verdicts["anomaly.reason"][row] or "pm25" in verdicts["anomaly.reason"][row]


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_have_a_column_per_channel(fitted_of, stations, kind):
    fitted = fitted_of(kind)
    features, rows = fitted._features(stations.tail(100), None)
    adds = fitted.detector.contributions(features, rows)
    assert adds.shape == (100, 5)  # four columns and the step in time
    assert (adds >= 0).all()
    assert fitted.detector.score(features, rows).dtype == np.float64


def test_a_stuck_sensor_is_found_by_the_rule_for_it(fitted_of, stations):
    stuck = stations.filter(pl.col("series") == "a").tail(100)
    frozen = pl.when(pl.int_range(pl.len()) >= 70).then(stuck["temperature"][70]).otherwise(pl.col("temperature"))
    verdicts = fitted_of("stuck").verdicts(stuck.with_columns(temperature=frozen))
    assert verdicts["anomaly"][-1]
    assert verdicts["anomaly.reason"][-1] == "temperature"
    assert not verdicts["anomaly"][:70].any()
