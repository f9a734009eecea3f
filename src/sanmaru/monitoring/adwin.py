"""ADWIN: a window that grows while its halves agree and is cut where they do not (Bifet and Gavaldà, 2007)."""

from __future__ import annotations

import math

import numpy as np

from sanmaru.monitoring.sequential import BaseDetector

SHORTEST = 5
"""Values that either side of a cut must hold."""


class Adwin(BaseDetector):
    """Every cut of the window is tried, as in the paper's first version; its second version saves memory instead.

    With n0 and n1 values on either side, 1/m = 1/n0 + 1/n1, v the variance of the window of n values and
    L = c + ln(2 ln n), the means may differ by sqrt(2 v L / m) + 2 L / (3 m). The threshold c is minus the logarithm of
    the paper's delta. The statistic is the least c for which no cut would be made, so that an alarm is again a
    statistic beyond a threshold. After a cut, what lies behind the strongest one is kept.
    """

    def __init__(self, n: int, threshold: float = -math.log(0.002), longest: int = 365) -> None:
        super().__init__(n, threshold)
        self.longest = longest
        self.values = np.full((n, longest), np.nan)
        """Newest last; NaN before the window begins."""

    def update(self, values: np.ndarray) -> np.ndarray:
        """Take one value per stream."""
        known = np.isfinite(values)
        moved = self.values[known]
        moved[:, :-1] = moved[:, 1:]
        moved[:, -1] = values[known]
        self.values[known] = moved
        beyond, place = self._strongest(moved)
        self.statistic = np.where(known, 0.0, self.statistic)
        self.statistic[known] = beyond
        alarm = known & (self.statistic > self.threshold)
        for stream in np.flatnonzero(alarm):
            self.values[stream, : place[np.count_nonzero(known[:stream])]] = np.nan
        return np.asarray(alarm)

    def _strongest(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the statistic of each row and the place at which the later part of its strongest cut begins."""
        inside = np.isfinite(window)
        first = int(np.argmax(inside.any(axis=0))) if inside.any() else 0
        filled = np.where(inside, window, 0.0)[:, first:]
        count = np.cumsum(inside[:, first:], axis=1)
        n = count[:, -1:]
        if not n.size or n.max() < 2 * SHORTEST:
            return np.zeros(len(window)), np.zeros(len(window), dtype=np.int64)
        total = np.cumsum(filled, axis=1)
        mean = total[:, -1:] / np.maximum(n, 1)
        v = np.where(inside[:, first:], (filled - mean) ** 2, 0.0).sum(axis=1, keepdims=True) / np.maximum(n, 1)
        n0, n1 = count, n - count
        allowed = (n0 >= SHORTEST) & (n1 >= SHORTEST)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(total / n0 - (total[:, -1:] - total) / n1)
            m = 1 / (1 / n0 + 1 / n1)
            # apart = sqrt(a L) + b L, solved for L: a quadratic in sqrt(L).
            a, b = 2 * v / m, 2 / (3 * m)
            root = (-np.sqrt(a) + np.sqrt(a + 4 * b * apart)) / (2 * b)
            level = root**2 - np.log(2 * np.log(np.maximum(n, 2)))
        level = np.where(allowed, level, -np.inf)
        place = level.argmax(axis=1)
        strongest = level[np.arange(len(level)), place]
        return np.maximum(strongest, 0.0), place + first + 1
