"""Persistence and seasonal-naive, and the quantiles of their errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import PersistenceConfig, SeasonalNaiveConfig
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

LAYOUT = WindowLayout(targets=("y", "z"), lookback=6, horizon=4, season=3)


def _panel(values: np.ndarray) -> Panel:
    return Panel(layout=LAYOUT, values=values.astype(np.float32), static=np.zeros((len(values), 0), dtype=np.float32))


def _windows(panel: Panel, first: int, last: int) -> pl.DataFrame:
    at = np.arange(first, last)
    return pl.DataFrame({"series_code": np.zeros(len(at), dtype=np.int32), "at": at})


def _context(folder: Path) -> FitContext:
    return FitContext(folder=folder, cache=folder, seed=0, metric=find_metric("mae"))


def test_persistence_repeats_the_last_known_value(tmp_path: Path) -> None:
    values = np.arange(80, dtype=np.float64).reshape(1, 40, 2)
    values[0, 20, 0] = np.nan
    task = Forecasting(LAYOUT, panel=_panel(values))
    model = task.estimator(PersistenceConfig(), TrainConfig())
    model.fit(_windows(task.panel, 6, 30), None, _context(tmp_path))
    outputs = model.forward(model.encode(_windows(task.panel, 20, 21))).reshape(1, 4, 2, 4)
    assert outputs[0, :, 0, 0].tolist() == [38.0] * 4  # step 20 is missing: step 19 holds 38
    assert outputs[0, :, 1, 0].tolist() == [41.0] * 4
    # On a straight line every forecast is off by 2 per step, and so are all its quantiles.
    np.testing.assert_allclose(outputs[0, :, 1, 2], 41 + 2 * np.arange(1, 5))


def test_seasonal_naive_repeats_the_season_and_goes_back_over_gaps(tmp_path: Path) -> None:
    season = np.array([[10.0, 1.0], [20.0, 2.0], [30.0, 3.0]])
    values = np.tile(season, (12, 1))[None]
    values[0, 19, 0] = np.nan  # the season before step 22 lacks its first value
    task = Forecasting(LAYOUT, panel=_panel(values))
    model = task.estimator(SeasonalNaiveConfig(), TrainConfig())
    model.fit(_windows(task.panel, 6, 30), None, _context(tmp_path))
    outputs = model.forward(model.encode(_windows(task.panel, 20, 21))).reshape(1, 4, 2, 4)
    np.testing.assert_array_equal(outputs[0, :, :, 0], np.tile(season, (9, 1))[21:25])


def test_a_saved_model_gives_the_same_outputs(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1, 60, 2))
    task = Forecasting(LAYOUT, panel=_panel(values))
    model = task.estimator(SeasonalNaiveConfig(), TrainConfig())
    model.fit(_windows(task.panel, 6, 50), None, _context(tmp_path))
    model.save(tmp_path / "saved")
    windows = model.encode(_windows(task.panel, 50, 55))
    np.testing.assert_array_equal(task.load_estimator(tmp_path / "saved").forward(windows), model.forward(windows))
    quantiles = model.forward(windows).reshape(5, 4, 2, 4)[..., 1:]
    assert (np.diff(quantiles, axis=-1) >= 0).all()


def test_without_a_known_target_there_is_nothing_to_learn(tmp_path: Path) -> None:
    task = Forecasting(LAYOUT, panel=_panel(np.full((1, 40, 2), np.nan)))
    model = task.estimator(PersistenceConfig(), TrainConfig())
    with pytest.raises(DataError, match="no window with a known target"):
        model.fit(_windows(task.panel, 6, 30), None, _context(tmp_path))
