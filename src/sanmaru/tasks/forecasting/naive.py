"""The two forecasts that every model must beat: the last value, and the value one season before."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tasks.forecasting.estimator import BaseForecaster
from sanmaru.tasks.forecasting.residuals import MOST_WINDOWS, residual_quantiles, with_quantiles
from sanmaru.tasks.forecasting.windows import Floats
from sanmaru.training.config import TrainConfig

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.task import Forecasting


class BaseNaive(BaseForecaster):
    """Repeats values of the window; learns the quantiles of its own errors and what to say where nothing is known."""

    selects = False

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn how far off the repeated values are, per step ahead.

        Raises:
            DataError: when there are no windows, or no target is known in any.
        """
        del valid, context
        rows = train[:: max(1, -(-len(train) // MOST_WINDOWS))]
        pairs = [(truth, self._repeat(windows)) for windows, truth in self.batches(rows)]
        if not pairs or all(np.isnan(truth).all() for truth, _ in pairs):
            raise DataError("there is no window with a known target to train on.")
        truth, points = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        known = [column[~np.isnan(column)] for column in truth.reshape(-1, truth.shape[-1]).T]
        self.typical = np.array([np.median(one) if len(one) else 0.0 for one in known], dtype=np.float32)
        self.offsets = residual_quantiles(truth, points, self.quantiles)
        self._details = {"windows": len(rows)}

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs; where a window holds no value to repeat, the median of training stands in for it."""
        points = self._repeat(array)
        return with_quantiles(np.where(np.isnan(points), self.typical, points), self.offsets)

    @abc.abstractmethod
    def _repeat(self, windows: Floats) -> Floats:
        """Return (n, horizon, targets); NaN where the window holds no value to repeat."""

    def _save(self, folder: Path) -> dict[str, Any]:
        del folder
        return {"offsets": self.offsets.tolist(), "typical": self.typical.tolist()}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        del folder
        shape = (self.layout.horizon, len(self.layout.targets), len(self.quantiles))
        self.offsets = np.asarray(content["offsets"], dtype=np.float32).reshape(shape)
        self.typical = np.asarray(content["typical"], dtype=np.float32)


class Persistence(BaseNaive):
    """The last value known at the origin, for every step ahead."""

    kind = "persistence"

    def _repeat(self, windows: Floats) -> Floats:
        last = last_known(self.layout.history(windows)[:, :, : len(self.layout.targets)])
        return np.repeat(last[:, None, :], self.layout.horizon, axis=1)


class SeasonalNaive(BaseNaive):
    """The value one season before; of earlier seasons, where that one is missing."""

    kind = "seasonal-naive"

    def _repeat(self, windows: Floats) -> Floats:
        layout = self.layout
        history = layout.history(windows)[:, :, : len(layout.targets)]
        phases = np.arange(layout.horizon) % layout.season
        out = np.full((len(windows), layout.horizon, len(layout.targets)), np.nan, dtype=np.float32)
        for back in range(layout.season, layout.lookback + layout.season, layout.season):
            places = layout.lookback - back + phases  # the step `back` before the one that is forecast
            inside = (places >= 0) & (places < layout.lookback)
            found = np.where(inside[None, :, None], history[:, places.clip(0, layout.lookback - 1)], np.nan)
            out = np.where(np.isnan(out), found, out)
        last = last_known(history)
        return np.where(np.isnan(out), last[:, None, :], out)


def naive_points(task: Forecasting, kind: str, windows: Floats) -> Floats:
    """Return what a naive forecast repeats, (n, horizon, targets); NaN where a window holds nothing to repeat.

    Args:
        task: Whose windows.
        kind: `persistence` or `seasonal-naive`.
        windows: float32 (n, layout.width).
    """
    model: BaseNaive
    if kind == Persistence.kind:
        model = Persistence(task, None, TrainConfig())
    elif kind == SeasonalNaive.kind:
        model = SeasonalNaive(task, None, TrainConfig())
    else:
        raise ValueError(f"{kind!r} is no naive forecast; they are {Persistence.kind} and {SeasonalNaive.kind}")
    return model._repeat(windows)


def last_known(history: Floats) -> Floats:
    """Return the last value of each target that is not missing, (n, targets) of (n, lookback, targets)."""
    known = ~np.isnan(history)
    place = history.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    return np.asarray(np.take_along_axis(history, place[:, None, :], axis=1)[:, 0])
