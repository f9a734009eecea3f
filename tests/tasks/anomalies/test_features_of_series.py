from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tasks.anomalies.features import make_features
from sanmaru.tasks.anomalies.reference import LONGEST, differences_of, learn_reference, runs_of
from sanmaru.tasks.anomalies.series import series_rows, watched

START = datetime(2024, 3, 1, tzinfo=UTC)


def long(values, series="a", start=START, hours=None):
    times = [start + timedelta(hours=float(hour)) for hour in (hours or range(len(values)))]
    return pl.DataFrame(
        {"series": [series] * len(values), "time": times, "x": values}, schema_overrides={"x": pl.Float64}
    )


def test_rows_are_sorted_and_known_by_their_place():
    table = pl.concat([long([1.0, 2.0], "b"), long([3.0, 4.0], "a")])[[3, 0, 2, 1]]
    rows = series_rows(table, ["x"])
    assert rows.names == ("a", "b")
    assert rows.values[:, 0].tolist() == [3, 4, 1, 2]
    assert rows.order.tolist() == [2, 0, 1, 3]
    assert rows.first.tolist() == [0, 0, 2, 2]


def test_runs_and_differences_stop_at_the_border_of_a_series():
    table = pl.concat([long([5, 5, 5, 6, None, None], "a"), long([6, 6], "b")])
    rows = series_rows(table, ["x"])
    assert runs_of(rows)[:, 0].tolist() == [1, 2, 3, 1, 1, 2, 1, 2]
    np.testing.assert_equal(differences_of(rows)[:, 0], [np.nan, 0, 0, 1, np.nan, np.nan, np.nan, 0])


def test_runs_against_a_plain_loop():
    values = np.random.default_rng(0).integers(0, 2, size=300).astype(float)
    values[50:150] = 7.0
    rows = series_rows(long(values.tolist()), ["x"])
    plain, run = [], 0
    for place, value in enumerate(values):
        run = run + 1 if place and value == values[place - 1] else 1
        plain.append(min(run, LONGEST))
    assert runs_of(rows)[:, 0].tolist() == plain


def test_a_counter_becomes_what_it_grows_by_and_a_reset_is_nothing():
    rows = series_rows(long([10, 12, 15, 2, 3, None, 4, 5]), ["x"], counters=["x"])
    np.testing.assert_equal(rows.values[:, 0], [0, 2, 3, 2, 1, np.nan, 0, 1])


def test_the_hour_is_that_of_the_zone():
    rows = series_rows(long([1.0, 2.0]), ["x"], zone="Asia/Seoul")
    assert rows.local_hour.tolist() == [9, 10]


def test_usual_is_learned_per_series_and_hour():
    hours = 24 * 20
    low = [float(hour % 24) for hour in range(hours)]
    high = [100.0 + 2 * (hour % 24) for hour in range(hours)]
    table = pl.concat([long(low, "low"), long(high, "high")])
    rows = series_rows(table, ["x"])
    reference = learn_reference(rows, np.arange(len(rows)), zone="UTC")
    assert reference.every_s == 3600
    names = reference.names
    assert reference.season[1 + names.index("low"), 5, 0] == 5
    assert reference.season[1 + names.index("high"), 5, 0] == 110
    features = make_features(rows, reference)
    rest = features.values[:, features.kinds.index("rest")]
    assert np.abs(rest).max() < 1e-9  # every value is the median of its hour


def test_a_series_not_known_is_compared_with_all_series(make_hourly):
    table = make_hourly(days=20)
    rows = series_rows(table, ["pm10"])
    reference = learn_reference(rows, np.arange(len(rows)), zone="UTC")
    new = series_rows(table.filter(pl.col("series") == "a").with_columns(series=pl.lit("new")), ["pm10"])
    assert reference.series_index(new).tolist() == [0] * len(new)
    assert np.isfinite(make_features(new, reference).values).all()


def test_times_that_repeat_or_are_left_out_are_told():
    hours = [*range(100), 99.0, 100, 101, 126]
    rows = series_rows(long(np.arange(len(hours), dtype=float).tolist(), hours=hours), ["x"])
    reference = learn_reference(rows, np.arange(90), zone="UTC")
    step = make_features(rows, reference).values[:, -1]
    assert step[:100].tolist() == [0.0] * 100
    assert step[100:].tolist() == [-3.0, 0.0, 0.0, pytest.approx(np.log2(25), abs=1e-3)]


def test_values_at_rest_may_stay_for_long():
    generator = np.random.default_rng(1)
    # rain: mostly dry for days, else moving
    dry = np.repeat(generator.random(60) < 0.7, 24)
    rain = np.where(dry, 0.0, np.round(generator.exponential(3, len(dry)) + 0.1, 2))
    rows = series_rows(long(rain.tolist()), ["x"])
    reference = learn_reference(rows, np.arange(len(rows)), zone="UTC")
    assert reference.resting[0, 0, 0] == 0.0
    run = make_features(rows, reference).values[:, 3]
    assert run[rain == 0].max() < 3.3
    frozen = series_rows(long([*rain.tolist(), *([5.55] * 12)]), ["x"])
    assert make_features(frozen, reference).values[-1, 3] > 5  # 12 hours of the very same rain were never seen


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        (pl.DataFrame({"series": ["a"], "x": [1.0]}), ["x"], "no column 'time'"),
        (pl.DataFrame({"series": ["a"], "time": ["2024"], "x": [1.0]}), ["x"], "`time` should hold dates"),
        (long([1.0]).with_columns(series=pl.lit(None, dtype=pl.String)), ["x"], "1 rows have no series or no time"),
    ],
)
def test_tables_that_cannot_be_put_in_order_are_refused(table, columns, message):
    with pytest.raises(DataError, match=message):
        series_rows(table, columns)


def test_watched_columns():
    table = pl.DataFrame({"series": ["a"], "time": [START], "x": [1.0], "t": ["text"], "anomaly.score": [0.1]})
    assert watched(table) == ("x",)
    with pytest.raises(DataError, match=r"no column 'y' to watch. Known: anomaly.score, x"):
        watched(table, ["y"])
    with pytest.raises(DataError, match="holds String, and only numbers"):
        watched(table, ["t"])
    with pytest.raises(DataError, match="no column of numbers"):
        watched(table.select("series", "time", "t"))


def test_too_few_rows_are_refused():
    rows = series_rows(long([1.0] * 10), ["x"])
    with pytest.raises(DataError, match="10 rows are too few to tell what is usual"):
        learn_reference(rows, np.arange(10), zone="UTC")
