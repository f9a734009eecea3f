"""Quantiles around a number from what was missed on rows that it was not learned from.

Errors of a forecast grow with the step and, for what cannot fall below nothing, with the level: a band as wide on a
clear day as in a smog helps nobody. So for each step and target the held-out rows are put into bins by what was
predicted for them; the quantiles of the errors in a bin stand at its median prediction, and are interpolated between.

n windows, H horizon, T targets, K bins, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sanmaru.errors import DataError
from sanmaru.tasks.forecasting.windows import Floats

BINS = 12
ROWS_PER_BIN = 60
"""At least so many errors say what a quantile of them is; with fewer rows there are fewer bins."""


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Errors by predicted level; what `learn_bands` returns."""

    knots: NDArray[np.float32]
    """Predicted levels, rising along K, (H, T, K)."""
    errors: NDArray[np.float32]
    """Quantiles of truth minus prediction there, (H, T, K, Q)."""

    def around(self, predicted: Floats) -> Floats:
        """Return quantiles float32 (n, H, T, Q), rising, around predictions (n, H, T)."""
        n_windows, horizon, n_targets = predicted.shape
        out = np.empty((n_windows, horizon, n_targets, self.errors.shape[-1]), dtype=np.float32)
        for step in range(horizon):
            for target in range(n_targets):
                levels = predicted[:, step, target]
                for place in range(out.shape[-1]):
                    errors = self.errors[step, target, :, place]
                    out[:, step, target, place] = levels + np.interp(levels, self.knots[step, target], errors)
        out.sort(axis=-1)
        return out

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return what `from_arrays` takes back."""
        return {"band_knots": self.knots, "band_errors": self.errors}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Bands:
        """Rebuild bands from `arrays`."""
        return cls(knots=arrays["band_knots"], errors=arrays["band_errors"])


def learn_bands(predicted: Floats, truth: Floats, levels: Sequence[float], names: Sequence[str]) -> Bands:
    """Learn the quantiles of errors.

    Args:
        predicted: Of rows that were held out when it was learned, (n, H, T); NaN where a row was not predicted.
        truth: What came, (n, H, T); NaN where missing, which is left out.
        levels: In (0, 1), rising, (Q,).
        names: Of the targets, for the error message, (T,).

    Raises:
        DataError: when a step of a target has no row with a truth.
    """
    _, horizon, n_targets = truth.shape
    fewest = int((~np.isnan(truth - predicted)).sum(axis=0).min(initial=len(truth)))
    n_bins = int(np.clip(fewest // ROWS_PER_BIN, 1, BINS))
    knots = np.empty((horizon, n_targets, n_bins), dtype=np.float32)
    errors = np.empty((horizon, n_targets, n_bins, len(levels)), dtype=np.float32)
    for step in range(horizon):
        for target in range(n_targets):
            known = ~np.isnan(truth[:, step, target] - predicted[:, step, target])
            if not known.any():
                raise DataError(
                    f"no held-out window has a value of {names[target]!r} {step + 1} steps after its origin, so its "
                    "quantiles cannot be learned. Give more rows, or a smaller horizon."
                )
            levels_there = predicted[known, step, target].astype(np.float64)
            missed = truth[known, step, target] - levels_there
            order = np.argsort(levels_there, kind="stable")
            for place, rows in enumerate(np.array_split(order, n_bins)):
                knots[step, target, place] = np.median(levels_there[rows])
                errors[step, target, place] = np.quantile(missed[rows], levels)
    return Bands(knots=knots, errors=errors)
