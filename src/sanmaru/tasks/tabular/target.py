"""The scale on which a number is learned.

Prices, counts and durations have heavy tails: on their logarithm an error of ten per cent weighs the same for a cheap
and a dear row, which is what RMSLE asks for, and nearly what MAPE does. Quantiles and medians pass through a rising
function unharmed. Means do not: for RMSE and R² the logarithm predicts too low, and so it has to be asked for by name.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tasks.tabular.config import Transform

_LOG_METRICS = frozenset({"rmsle"})
"""Metrics for which `auto` learns the logarithm."""
_LARGEST = 700.0
"""exp of more overflows float64."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The target itself, or log(shift + target)."""

    kind: Literal["none", "log"] = "none"
    shift: float = 0.0

    def forth(self, truth: np.ndarray) -> np.ndarray:
        """Return numbers float64 (n,) on the scale that is learned."""
        return truth if self.kind == "none" else np.log(truth + self.shift)

    def back(self, scores: np.ndarray) -> np.ndarray:
        """Return outputs float32 (n, 1 + n_quantiles) in the target's own unit; quantiles are put in rising order."""
        values = scores
        if self.kind == "log":
            values = np.exp(np.minimum(scores, _LARGEST)) - self.shift
        if values.shape[1] > 2:
            values = np.concatenate([values[:, :1], np.sort(values[:, 1:], axis=1)], axis=1)
        return values.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `Scale(**values)` is equal."""
        return asdict(self)


PLAIN = Scale()


def choose_scale(wanted: Transform, truth: np.ndarray, metric: str) -> Scale:
    """Return the scale that the project file names, or with `auto` the one that fits the metric.

    RMSLE is the RMSE of log(1 + target), and so that is learned. A named `log` takes the logarithm of the target
    itself where all of it lies above 0, so that the unit (won, million won) makes no difference, else of 1 + target.

    Args:
        wanted: `model.target_transform`.
        truth: Target of the training rows, float64 (n,).
        metric: Name of the metric that counts.

    Raises:
        DataError: when a logarithm is asked for and there are targets below 0.
    """
    if wanted == "none" or (wanted == "auto" and metric not in _LOG_METRICS):
        return PLAIN
    below = truth < 0
    if below.any():
        raise DataError(
            f"a logarithm needs targets of 0 or more, and {int(below.sum())} of {len(truth)} are below 0 (smallest "
            f"{truth.min():g}). Set model.target_transform: none, or a metric other than rmsle."
        )
    return Scale(kind="log", shift=0.0 if metric not in _LOG_METRICS and truth.min() > 0 else 1.0)
