"""ECOD: rows in the tails of many columns (Li et al., "ECOD: unsupervised outlier detection using empirical cumulative
distribution functions", TKDE 2022), with the aggregation of PyOD, which is per column.

A new row is counted among the past rows, one at a time: its tail probabilities are (rows as far out + 1) / (n + 1).
PyOD counts all rows of a batch together, so that there a score depends on what else is in the batch; for one row both
are equal, but for the direction of skew, which is learned here and not changed by new rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sanmaru.tasks.anomalies.detectors.base import by_channel
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext


class ECOD:
    """A detector without settings."""

    kind = "ecod"
    window = 1

    def __init__(self) -> None:
        self._sorted: Floats = np.zeros((0, 0))
        self._skew: Floats = np.zeros(0)

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Learn each feature's distribution."""
        self._sorted, self._skew = ecod_reference(features.values[learn])

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the sum of the features' tails, float64 (n,)."""
        return np.asarray(ecod_tails(self._sorted, self._skew, features.values[rows]).sum(axis=1))

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return the sum of the tails of each channel's features, float64 (n, C)."""
        return by_channel(ecod_tails(self._sorted, self._skew, features.values[rows]), features)

    def save(self, folder: Path) -> None:
        """Write the distributions."""
        with (folder / "ecod.npz").open("wb") as handle:
            np.savez_compressed(handle, sorted=self._sorted, skew=self._skew)

    def load(self, folder: Path) -> None:
        """Read the distributions."""
        with np.load(folder / "ecod.npz", allow_pickle=False) as arrays:
            self._sorted, self._skew = arrays["sorted"], arrays["skew"]


def ecod_reference(values: Floats) -> tuple[Floats, Floats]:
    """Return the sorted columns (n, D) and the sign of each one's skewness (D,), 0 for a constant one."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    constant = spread <= 1e-12 * np.maximum(1.0, np.abs(values).max(axis=0, initial=0.0))
    return np.sort(values, axis=0), np.where(constant, 0.0, np.sign((centred**3).mean(axis=0)))


def ecod_tails(known: Floats, skew: Floats, values: Floats, *, among: bool = False) -> Floats:
    """Return how far out each value lies, float64 (n, D), at least 0: -log of the tail probability.

    The tail is the one that the column leans to, both together where it does not lean, and never less than the rarer
    one.

    Args:
        known: Sorted columns (m, D).
        skew: Sign of the skewness (D,).
        values: (n, D).
        among: Whether the values are rows of `known` themselves, which then count once.
    """
    m = len(known)
    own = 0 if among else 1
    out = np.empty(values.shape)
    for column in range(values.shape[1]):
        at_most = np.searchsorted(known[:, column], values[:, column], side="right")
        at_least = m - np.searchsorted(known[:, column], values[:, column], side="left")
        left = np.log(m + own) - np.log(at_most + own)
        right = np.log(m + own) - np.log(at_least + own)
        leaning = left * (skew[column] <= 0) + right * (skew[column] >= 0)
        out[:, column] = np.maximum(np.maximum(left, right), leaning)
    return out
