"""The established rules: a value that does not move, a value far from its season, a step too large.

Each feature's distance from the usual is turned into its surprise, -log10 of the fraction of past rows that lie as far
out; beyond all past rows the distance itself goes on counting. A row is as strange as its most surprising feature. A
time that repeats is a fault however often the past repeated it, and has a surprise of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sanmaru.tasks.anomalies.detectors.base import by_channel
from sanmaru.tasks.anomalies.features import PER_CHANNEL, REPEATED, TIME_CHANNEL, Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext

_REPEATED_SURPRISE = 10.0
LOOKS_AT = {
    "stuck": ("run",),
    "seasonal": ("rest", "difference"),
    "rules": (*(kind for kind in PER_CHANNEL if kind != "value"), TIME_CHANNEL),
}
"""Kind of detector -> kinds of features."""


class Rules:
    """A detector of the kinds `stuck`, `seasonal` and `rules`."""

    window = 1

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._sorted: Floats = np.zeros((0, 0))

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Learn how far out past rows lie."""
        columns = features.of_kinds(LOOKS_AT[self.kind])
        self._sorted = np.sort(np.abs(features.values[learn][:, columns]), axis=0)

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the largest surprise of each row, float64 (n,)."""
        return np.asarray(self._surprise(features, rows).max(axis=1))

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return the surprise of each channel that shares the largest one, float64 (n, C)."""
        surprise = self._surprise(features, rows)
        near = np.where(surprise >= 0.8 * surprise.max(axis=1, keepdims=True), surprise, 0.0)
        return by_channel(near, features, features.of_kinds(LOOKS_AT[self.kind]))

    def save(self, folder: Path) -> None:
        """Write the sorted distances."""
        np.save(folder / "distances.npy", self._sorted, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Read the sorted distances."""
        self._sorted = np.load(folder / "distances.npy", allow_pickle=False)

    def _surprise(self, features: Features, rows: Indexes) -> Floats:
        columns = features.of_kinds(LOOKS_AT[self.kind])
        values = np.abs(features.values[rows][:, columns])
        n = len(self._sorted)
        out = np.empty(values.shape)
        for column in range(values.shape[1]):
            known = self._sorted[:, column]
            as_far = n - np.searchsorted(known, values[:, column], side="left")
            beyond = np.maximum(0.0, values[:, column] - known[-1]) / max(known[-1], 1.0)
            out[:, column] = np.log10(n + 1) - np.log10(as_far + 1.0) + beyond
            if features.kinds[columns[column]] == TIME_CHANNEL:
                repeats = features.values[rows, columns[column]] == REPEATED
                out[repeats, column] = np.maximum(out[repeats, column], _REPEATED_SURPRISE)
        return out
