"""What every model that forecasts must do, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import (
    BaseForecastModel,
    ETSConfig,
    LightGBMForecastConfig,
    LSTMConfig,
    RidgeConfig,
)
from sanmaru.tasks.forecasting.models import load_model
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

LAYOUT = WindowLayout(
    targets=("y", "z"), past=("wind",), known=("sin", "cos"), static=("height",), lookback=18, horizon=4, season=6
)
TREES: dict[str, Any] = {"trees": 20, "min_rows_per_leaf": 5}
TRAIN = TrainConfig(epochs=2, batch_size=64, learning_rate=1e-2)
MODELS: dict[str, BaseForecastModel] = {
    "ridge": RidgeConfig(),
    "trees, pooled": LightGBMForecastConfig(**TREES),
    "trees, from the last value": LightGBMForecastConfig(**TREES, start="last"),
    "trees, per step": LightGBMForecastConfig(**TREES, strategy="per-step", start="nothing", bands="errors"),
    "ets": ETSConfig(),
    "mstl": ETSConfig(method="mstl"),
    "lstm, direct": LSTMConfig(width=8, members=2),
    "lstm, encoder-decoder": LSTMConfig(width=8, mode="encoder-decoder", scale="window", offset="none", history=10),
}


def _task(n_steps: int = 300, gaps: float = 0.05) -> Forecasting:
    rng = np.random.default_rng(0)
    at = np.arange(n_steps)
    turn = 2 * np.pi * at / 6
    values = np.empty((2, n_steps, 5), dtype=np.float32)
    for series in range(2):
        wind = rng.normal(size=n_steps)
        values[series] = np.stack(
            [
                50 + 10 * np.sin(turn) + 5 * np.roll(wind, 1) + series,
                5 + np.cos(turn) + rng.normal(size=n_steps) / 10,
                wind,
                np.sin(turn),
                np.cos(turn),
            ],
            axis=1,
        )
    values[:, :, :3][rng.random((2, n_steps, 3)) < gaps] = np.nan
    return Forecasting(LAYOUT, panel=Panel(layout=LAYOUT, values=values, static=np.array([[1.0], [2.0]], np.float32)))


def _windows(first: int, last: int) -> pl.DataFrame:
    at, series = np.meshgrid(np.arange(first, last), np.arange(2), indexing="ij")
    hours = pl.Series("origin", at.ravel() * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"origin": hours, "series_code": series.ravel().astype(np.int32), "at": at.ravel()})


def _context(folder: Path, metric: str = "rmse") -> FitContext:
    return FitContext(folder=folder, cache=folder, seed=3, metric=find_metric(metric))


def _fit(task: Forecasting, config: BaseForecastModel, folder: Path, metric: str = "rmse") -> Any:
    model = task.estimator(config, TRAIN)
    model.fit(_windows(18, 200), _windows(210, 230), _context(folder, metric))
    return model


@pytest.fixture(params=MODELS)
def config(request: pytest.FixtureRequest) -> BaseForecastModel:
    found = MODELS[request.param]
    if isinstance(found, ETSConfig):
        pytest.importorskip("statsforecast", reason="the extra `series` is not installed")
    return found


def test_a_model_forecasts_targets_in_their_own_units_and_answers_alike_after_saving(
    config: BaseForecastModel, tmp_path: Path
) -> None:
    task = _task()
    model = _fit(task, config, tmp_path)
    held = _windows(240, 260)
    array = model.encode(held)
    outputs = model.forward(array)
    assert outputs.shape == (40, 4 * 2 * 4)
    assert outputs.dtype == np.float32
    assert np.isfinite(outputs).all()
    parts = outputs.reshape(40, 4, 2, 4)
    assert (np.diff(parts[..., 1:], axis=-1) >= 0).all()  # quantiles never cross
    errors = np.abs(parts[..., 0] - task.target(held))
    assert np.nanmean(errors[:, :, 0]) < 20  # y lies about 50, z about 5
    assert np.nanmean(errors[:, :, 1]) < 2
    # One window alone is forecast as among others.
    np.testing.assert_allclose(model.forward(array[7:8]), outputs[7:8], rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "model")
    loaded = load_model(task, tmp_path / "model")
    np.testing.assert_allclose(loaded.forward(array), outputs, rtol=1e-5, atol=1e-5)
    assert loaded.details().keys() == model.details().keys()
    assert not [path for path in (tmp_path / "model").rglob("*") if path.suffix in {".pkl", ".pt", ".pickle"}]


def test_a_window_without_any_value_is_answered(config: BaseForecastModel, tmp_path: Path) -> None:
    model = _fit(_task(), config, tmp_path)
    outputs = model.forward(np.full((2, LAYOUT.width), np.nan, dtype=np.float32))
    assert np.isfinite(outputs).all()


def test_windows_that_travel_by_themselves_are_answered_alike(config: BaseForecastModel, tmp_path: Path) -> None:
    model = _fit(_task(), config, tmp_path)
    held = _windows(240, 243)
    array = model.encode(held)
    by_itself = pl.DataFrame({"values": pl.Series(array.tolist(), dtype=pl.Array(pl.Float32, LAYOUT.width))})
    np.testing.assert_array_equal(model.encode(by_itself), array)
    np.testing.assert_array_equal(model.forward(model.encode(by_itself)), model.forward(array))


def test_equal_seeds_give_equal_models(config: BaseForecastModel, tmp_path: Path) -> None:
    task = _task()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = (_fit(task, config, tmp_path / name) for name in ("a", "b"))
    array = a.encode(_windows(240, 250))
    np.testing.assert_array_equal(a.forward(array), b.forward(array))


def test_no_windows_are_refused(config: BaseForecastModel, tmp_path: Path) -> None:
    model = _task().estimator(config, TRAIN)
    with pytest.raises(DataError, match="no windows to train on"):
        model.fit(_windows(18, 18), None, _context(tmp_path))


def test_a_target_that_is_never_known_is_refused_by_name(config: BaseForecastModel, tmp_path: Path) -> None:
    task = _task()
    task.panel.values[:, :, 1] = np.nan
    model = task.estimator(config, TRAIN)
    with pytest.raises(DataError, match="'z'"):
        model.fit(_windows(18, 200), None, _context(tmp_path))


def test_without_rows_to_select_by_a_model_is_fitted_all_the_same(config: BaseForecastModel, tmp_path: Path) -> None:
    model = _task().estimator(config, TRAIN)
    model.fit(_windows(18, 200), None, _context(tmp_path, "mae"))
    assert np.isfinite(model.forward(model.encode(_windows(240, 245)))).all()
