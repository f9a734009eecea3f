"""Exponential smoothing per window: seasons, gaps, quantiles, and what is said where nothing can be fitted."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import UserError
from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import ETSConfig
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

pytest.importorskip("statsforecast", reason="the extra `series` is not installed")

LAYOUT = WindowLayout(targets=("y",), lookback=48, horizon=12, season=12)


def _model(folder: Path, values: np.ndarray, **config: Any) -> Any:
    panel = Panel(
        layout=LAYOUT, values=values.astype(np.float32)[None, :, None], static=np.zeros((1, 0), dtype=np.float32)
    )
    model = Forecasting(LAYOUT, panel=panel).estimator(ETSConfig(**config), TrainConfig())
    at = np.arange(48, 80)
    table = pl.DataFrame({"series_code": np.zeros(len(at), dtype=np.int32), "at": at})
    model.fit(table, None, FitContext(folder=folder, cache=folder, seed=0, metric=find_metric("mae")))
    return model


def _season(n: int = 120) -> np.ndarray:
    return 50 + 10 * np.sin(2 * np.pi * np.arange(n) / 12) + np.random.default_rng(0).normal(size=n) / 5


@pytest.mark.parametrize("method", ["auto-ets", "mstl"])
def test_a_season_goes_on_and_gaps_do_not_break_it(method: str, tmp_path: Path) -> None:
    values = _season()
    holed = values.copy()
    holed[[40, 61, 62, 83]] = np.nan
    holed[96] = np.nan  # the origin's own value
    model = _model(tmp_path, holed, method=method)
    window = holed[49:97].astype(np.float32)[None]
    said = model.forward(window).reshape(12, 4)
    assert np.abs(said[:, 0] - values[97:109]).mean() < 3  # the season's swing is 10
    assert (said[:, 1] < said[:, 2]).all()
    assert (said[:, 2] < said[:, 3]).all()
    assert model.details()["filled_fraction"] > 0


def test_numbers_are_those_of_statsforecast(tmp_path: Path) -> None:
    from statsforecast.models import AutoETS

    values = _season()
    model = _model(tmp_path, values, history=36)
    said = model.forward(values[40:88].astype(np.float32)[None]).reshape(12, 4)
    expected = AutoETS(season_length=12).forecast(
        y=values[52:88].astype(np.float32).astype(np.float64), h=12, level=[80]
    )
    np.testing.assert_allclose(said[:, 0], expected["mean"], rtol=1e-5)
    np.testing.assert_allclose(said[:, 1], expected["lo-80"], rtol=1e-5)
    np.testing.assert_allclose(said[:, 3], expected["hi-80"], rtol=1e-5)


def test_constant_short_and_empty_histories_are_repeated(tmp_path: Path) -> None:
    model = _model(tmp_path, _season())
    windows = np.full((3, 48), np.nan, dtype=np.float32)
    windows[0] = 7.0
    windows[1, -4:] = [1.0, 2.0, 4.0, 3.0]
    said = model.forward(windows).reshape(3, 12, 4)
    assert (said[0] == 7).all()
    assert (said[1, :, 0] == 3).all()
    width = said[1, :, 3] - said[1, :, 1]
    assert width[3] == pytest.approx(2 * width[0])  # a walk spreads with the root of the steps
    np.testing.assert_allclose(said[2, :, 0], model.typical[0], rtol=1e-6)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("statsforecast"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'sanmaru\[series\]'"):
        _model(tmp_path, _season())
