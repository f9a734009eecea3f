"""The scale on which a number is learned.

Prices, counts and durations have heavy tails: on their logarithm an error of ten per cent weighs the same for a cheap
and a dear row, which is what RMSLE asks for, and nearly what MAPE does. Quantiles and medians pass through a rising
function unharmed. Means do not: for RMSE and R² the logarithm predicts a little low, which trees make up for where the
tail is heavy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tasks.tabular.config import Transform

HEAVY_TAIL = 2.0
"""Skewness from which trees learn the logarithm also for other metrics; that of an exponential distribution. Prices of
Seoul flats have 3.3 and gain, of Californian districts 1.0 and lose (docs/decisions/tabular-models.md)."""
_LARGEST = 700.0
"""exp of more overflows float64."""
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


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
        return single(values)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `Scale(**values)` is equal."""
        return asdict(self)


def single(values: np.ndarray) -> np.ndarray:
    """Return float32 numbers; what is beyond their range becomes the largest one, not infinite."""
    return np.asarray(np.minimum(np.maximum(values, -_LARGEST_SINGLE), _LARGEST_SINGLE), dtype=np.float32)


PLAIN = Scale()


def choose_scale(wanted: Transform, truth: np.ndarray, metric: str, *, heavy_tails: bool = False) -> Scale:
    """Return the scale that the project file names, or with `auto` the one that fits the metric.

    RMSLE is the RMSE of log(1 + target), and so that is learned. Else the logarithm is that of the target itself where
    all of it lies above 0, so that the unit (won, million won) makes no difference; only a named `log` takes that of
    1 + target where some of it is 0.

    Args:
        wanted: `model.target_transform`.
        truth: Target of the training rows, float64 (n,).
        metric: Name of the metric that counts.
        heavy_tails: Whether `auto` takes the logarithm of a target with a heavy tail for every metric.

    Raises:
        DataError: when a logarithm is asked for and there are targets below 0.
    """
    if wanted == "none":
        return PLAIN
    least = float(truth.min())
    if wanted == "auto" and metric != "rmsle":
        helps = metric == "mape" or (heavy_tails and _skewness(truth) >= HEAVY_TAIL)
        return Scale(kind="log") if helps and least > 0 else PLAIN
    if least < 0:
        raise DataError(
            f"a logarithm needs targets of 0 or more, and {int((truth < 0).sum())} of {len(truth)} are below 0 "
            f"(smallest {least:g}). Set model.target_transform: none, or a metric other than rmsle."
        )
    return Scale(kind="log", shift=0.0 if metric != "rmsle" and least > 0 else 1.0)


def _skewness(values: np.ndarray) -> float:
    centered = values - values.mean()
    spread = float(centered.std())
    return float((centered**3).mean()) / spread**3 if spread > 0 else 0.0
