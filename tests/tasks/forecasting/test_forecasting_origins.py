"""Origins, windows and folds: what judges, and that nothing learns from what comes later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables.config import DataConfig, SplitConfig
from sanmaru.tables.long import to_long
from sanmaru.tasks.forecasting.config import ForecastConfig
from sanmaru.tasks.forecasting.opening import Split, open_long, split_windows


def _split(values: np.ndarray, config: dict, folds: int = 2, *, hours: int = 1, **split) -> Split:
    """Series (n_series, n_steps), a row per value that is not -1; NaN is a row without a value."""
    begin = datetime(2021, 3, 20, tzinfo=UTC)
    rows = [
        (f"s{name}", begin + timedelta(hours=hours * step), None if np.isnan(value) else float(value))
        for name, series in enumerate(values)
        for step, value in enumerate(series)
        if value != -1
    ]
    schema = {"series": pl.String, "time": pl.Datetime("us", "UTC"), "y": pl.Float64}
    data = DataConfig(train="", series="series", time="time", target=("y",))
    forecast = ForecastConfig(**{"horizon": 6, "lookback": 24, **config})
    long = to_long(pl.DataFrame(rows, schema=schema, orient="row"), data, zone=forecast.zone)
    return split_windows(open_long(long, data, forecast), forecast, SplitConfig(kind="time", folds=folds, **split))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000),
    gap=st.integers(0, 30),
    folds=st.integers(2, 4),
    stride=st.integers(1, 5),
    missing=st.sampled_from([0.0, 0.3]),
)
def test_no_fold_learns_from_what_it_is_judged_on_nor_from_later(seed, gap, folds, stride, missing) -> None:
    window = ("expanding", "rolling")[seed % 2]
    rng = np.random.default_rng(seed)
    values = rng.random((2, 24 * 20))
    values[rng.random(values.shape) < missing] = np.nan
    split = _split(values, {"origins": {"gap": gap} if gap else {}, "stride": stride}, folds, window=window)
    at, layout = split.folds.at, split.task.layout
    judged = split.windows["at"].to_numpy()[split.folds.fold >= 0]
    assert len(set(judged.tolist())) >= folds
    for k in range(folds):
        train, valid = split.folds.train(k), split.folds.valid(k)
        assert (at[train] + layout.horizon).max() + gap <= at[valid].min()
        assert not set(train) & set(valid)
        fit, chosen = split.task.inner(split.windows[train], 0.2)
        assert (at[train][fit] + layout.horizon).max() <= at[train][chosen].min()
    # Blocks follow each other, and every window has a known value before and after its origin.
    firsts = [at[split.folds.valid(k)].min() for k in range(folds)]
    assert firsts == sorted(firsts)
    history = layout.history(split.task.encode(split.windows))[:, :, 0]
    assert (~np.isnan(history)).any(axis=1).all()
    assert (~np.isnan(split.task.target(split.windows))).any(axis=(1, 2)).all()


def test_folds_are_the_same_when_they_are_taken_back() -> None:
    split = _split(np.random.default_rng(0).random((1, 24 * 12)), {})
    again = split.task.restore_folds(split.windows, split.folds.fold, split.folds.to_json())
    for k in range(2):
        np.testing.assert_array_equal(again.train(k), split.folds.train(k))


def test_origins_keep_their_local_hour_over_a_change_of_clocks() -> None:
    split = _split(np.random.default_rng(0).random((1, 24 * 20)), {"zone": "Europe/Berlin", "origins": {"reach": 0.75}})
    origins = split.windows.filter(pl.Series(split.folds.fold >= 0))["origin"]
    assert origins.dt.convert_time_zone("Europe/Berlin").dt.hour().unique().to_list() == [23]
    assert origins.dt.hour().n_unique() == 2  # the clocks changed on 28 March


def test_missing_targets_are_counted_and_series_without_history_not_judged() -> None:
    values = np.random.default_rng(0).random((2, 24 * 12))
    values[1, : 24 * 11] = -1  # begins a day before the end: no history at the origins before
    values[0, -24:-20] = np.nan
    found = _split(values, {}).task.facts["left_out"]
    assert found["origins without history"] == 2
    assert found["missing target values"] == 4


def test_a_window_is_what_lies_before_its_origin_and_the_truth_what_comes_after() -> None:
    split = _split(np.arange(24 * 12, dtype=float)[None], {})
    row = split.windows[100:101]
    at = int(row["at"][0])
    np.testing.assert_array_equal(
        split.task.layout.history(split.task.encode(row))[0, :, 0], np.arange(at - 23, at + 1)
    )
    np.testing.assert_array_equal(split.task.target(row)[0, :, 0], np.arange(at + 1, at + 7))
    assert split.task.scales["s0"] == [24.0]  # a line rises 24 in a day


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"origins": {"every": "90m"}}, "forecast.origins.every: '90m' is not a whole number of steps"),
        ({"origins": {"at": "22:30"}}, "no step of 1h lies at 22:30 UTC"),
        ({"horizon": 100, "origins": {"reach": "1d"}}, "there is no origin in the last 24"),
        ({"lookback": "10d"}, "no window ends before the first origin"),
        ({"origins": {"gap": "9d"}}, "fold 0 has no window to learn from"),
    ],
)
def test_origins_that_cannot_be_chosen_say_why(config: dict, match: str) -> None:
    with pytest.raises(DataError, match=match):
        _split(np.random.default_rng(0).random((1, 24 * 12)), config)


def test_months_apart_are_steps_and_a_year_their_season() -> None:
    begin = [datetime(2010 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(96)]
    table = pl.DataFrame({"series": ["a"] * 96, "time": begin, "y": [float(month % 12) for month in range(96)]})
    data = DataConfig(train="", series="series", time="time", target=("y",))
    config = ForecastConfig(horizon=3, origins={"every": "1mo"})
    opened = open_long(to_long(table, data, zone="UTC"), data, config)
    split = split_windows(opened, config, SplitConfig(kind="time", folds=2))
    assert (opened.task.every.text, split.task.layout.season, split.task.layout.lookback) == ("1mo", 12, 24)
    assert split.windows["origin"].dt.day().unique().to_list() == [1]
