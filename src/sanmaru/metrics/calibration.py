"""Calibration: whether of the rows predicted with 80 % about 80 % are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Predicted against observed frequency in bins of equal width; empty bins are left out."""

    predicted: np.ndarray
    """Mean predicted probability per bin, float64 (n_bins,)."""
    observed: np.ndarray
    """Share of rows per bin in which the event happened, float64 (n_bins,)."""
    count: np.ndarray
    """Summed weight per bin, float64 (n_bins,)."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean |observed - predicted| over rows (Naeini et al., 2015); nan if empty."""
        return self._mean(np.abs(self.observed - self.predicted))

    @property
    def error_by_chance(self) -> float:
        """The expected calibration error that a perfectly calibrated model would show with so few rows.

        Per bin the observed share then scatters with standard deviation sqrt(p (1 - p) / n), whose mean absolute
        value is sqrt(2 / pi) times that. Small samples look badly calibrated without this yardstick.
        """
        spread = np.sqrt(self.predicted * (1 - self.predicted) / np.maximum(self.count, 1.0))
        return self._mean(np.sqrt(2 / np.pi) * spread)

    def _mean(self, values: np.ndarray) -> float:
        total = self.count.sum()
        return float(values @ self.count / total) if total > 0 else float("nan")


def reliability(
    probability: np.ndarray, happened: np.ndarray, *, bins: int = 10, sample_weight: np.ndarray | None = None
) -> Reliability:
    """Sort rows into bins of predicted probability and compare with what happened.

    Args:
        probability: Predicted probability of an event, float64 (n,) in [0, 1].
        happened: Whether it happened, bool (n,).
        bins: Number of bins of equal width over [0, 1]; a value on an edge belongs to the upper bin, 1 to the last.
        sample_weight: Non-negative, (n,).
    """
    weight = np.ones(len(probability)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    place = np.minimum((probability * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, weights=weight, minlength=bins)
    filled = count > 0
    predicted = np.bincount(place, weights=weight * probability, minlength=bins)[filled] / count[filled]
    observed = np.bincount(place, weights=weight * happened, minlength=bins)[filled] / count[filled]
    return Reliability(predicted=predicted, observed=observed, count=count[filled])


def class_reliability(truth: np.ndarray, probs: np.ndarray, *, bins: int = 10) -> Reliability:
    """Return the reliability of class probabilities.

    With two classes, of the second class's probability; with more, of the most probable class being right
    (top-label calibration).

    Args:
        truth: int64 codes (n,).
        probs: float64 (n, n_classes).
        bins: Number of bins of equal width.
    """
    if probs.shape[1] == 2:
        return reliability(probs[:, 1], truth == 1, bins=bins)
    return reliability(probs.max(axis=1), probs.argmax(axis=1) == truth, bins=bins)
