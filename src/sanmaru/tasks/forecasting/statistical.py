"""Exponential smoothing, fitted anew to the history of every window, by statsforecast.

Hyndman et al., "A state space framework for automatic forecasting using exponential smoothing methods", 2002; MSTL
after Bandara, Hyndman and Bergmeir, 2021. Nothing is learned from other windows. A smoother takes no gaps: a history
begins with its first known value, values missing between two known ones are interpolated linearly, and those after the
last one take its value.
Quantiles are the model's own, of Gaussian errors. Where a history holds too few values, or no model can be fitted to
it, the forecast is the last known value with the spread of the history's own changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sanmaru.errors import UserError
from sanmaru.tasks.forecasting.estimator import BaseForecaster
from sanmaru.tasks.forecasting.rows import require_windows, thinned, typical_values

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.config import ETSConfig

SEEN = 2_000
"""Training windows that tell a typical value and how many values are missing."""
FEWEST = 8
"""Known values below which nothing is fitted."""


class ETS(BaseForecaster):
    """Error, trend and season of each target, smoothed."""

    kind = "ets"
    selects = False
    config: ETSConfig

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn a typical value of each target, for windows that hold none; the smoothing happens per window.

        Raises:
            DataError: when there are no windows, or a target has no value in them.
            UserError: when statsforecast is not installed.
        """
        del valid, context
        require_windows(train)
        _models()
        n_targets = len(self.layout.targets)
        rows = self.encode(thinned(train, SEEN))
        shown = self.layout.history(rows)[:, :, :n_targets]
        self.typical = typical_values(shown, self.layout.targets).astype(np.float64)
        gaps = np.isnan(shown)
        self._details = {"windows": len(train), "method": self.config.method, "filled_fraction": float(gaps.mean())}

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n, horizon * targets * (1 + quantiles))."""
        horizon, n_targets = self.layout.horizon, len(self.layout.targets)
        history = self.layout.history(array)[:, -(self.config.history or self.layout.lookback) :, :n_targets]
        out = np.empty((len(array), horizon, n_targets, 1 + len(self.quantiles)), dtype=np.float32)
        for row in range(len(array)):
            for target in range(n_targets):
                out[row, :, target] = self._smoothed(history[row, :, target].astype(np.float64), target)
        out[..., 1:].sort(axis=-1)
        return out.reshape(len(array), -1)

    def _smoothed(self, history: NDArray[np.float64], target: int) -> NDArray[np.float64]:
        """Return the number and the quantiles of each step, (horizon, 1 + quantiles)."""
        known = ~np.isnan(history)
        if known.sum() < FEWEST:
            return self._repeated(history[known], target)
        places = np.flatnonzero(known)
        filled = np.interp(np.arange(places[0], len(history)), places, history[places])
        if np.ptp(filled) == 0:
            return self._repeated(filled, target)
        widths = {level: round(100 * abs(1 - 2 * level), 6) for level in self.quantiles if level != 0.5}
        try:
            found = self._model(len(filled)).forecast(
                y=filled, h=self.layout.horizon, level=sorted(set(widths.values()))
            )
        except Exception:  # statsforecast raises plain exceptions where no model fits; the docstring says what follows
            return self._repeated(filled, target)
        columns = [found["mean"]]
        for level in self.quantiles:
            end = "mean" if level == 0.5 else f"{'lo' if level < 0.5 else 'hi'}-{widths[level]}"
            columns.append(found[end])
        out = np.stack(columns, axis=1)
        return out if np.isfinite(out).all() else self._repeated(filled, target)

    def _model(self, n_steps: int) -> Any:
        """Make a model for so many steps; a season needs two of it."""
        models = _models()
        season = self.layout.season
        seasonal = season > 1 and n_steps >= 2 * season + 1
        if self.config.method == "mstl" and seasonal:
            return models.MSTL(season_length=season, trend_forecaster=models.AutoETS(model="ZZN"))
        return models.AutoETS(season_length=season if seasonal else 1)

    def _repeated(self, known: NDArray[np.float64], target: int) -> NDArray[np.float64]:
        """The last value, around it what a random walk with the history's changes would do."""
        from scipy.stats import norm

        last = known[-1] if len(known) else self.typical[target]
        spread = float(np.diff(known).std()) if len(known) > 2 else 0.0
        steps = np.sqrt(np.arange(1, self.layout.horizon + 1))[:, None]
        columns = np.concatenate([[0.0], norm.ppf(self.quantiles)])
        return np.asarray(last + spread * steps * columns)

    def _save(self, folder: Path) -> dict[str, Any]:
        del folder
        return {"typical": self.typical.tolist()}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        del folder
        self.typical = np.asarray(content["typical"], dtype=np.float64)


def _models() -> Any:
    """statsforecast's models.

    Raises:
        UserError: when it is not installed.
    """
    try:
        import statsforecast.models
    except ImportError as error:
        raise UserError(
            "model.kind: ets needs the package statsforecast, which is an extra of 82 MB. Install it with: "
            "pip install 'sanmaru[series]'"
        ) from error
    return statsforecast.models
