"""What a value usually is at this month and hour, and how far it usually strays: taken off before windows are compared.

A week of January lies far from the whole year without anything being wrong. After this it lies near it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEASONS = ("none", "hour", "month-hour")
ENOUGH_DAYS = 690
"""A reference at least this long knows every month twice: one year can be judged by what the other says."""


@dataclass(frozen=True)
class Season:
    """Usual mean and spread by cell of the calendar.

    Attributes:
        kind: One of `SEASONS`.
        mean: float64 (12, 24), of each month and hour (the same for all where the kind does not tell them apart).
        spread: float64 (12, 24), standard deviation, never 0.
    """

    kind: str
    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def fit(cls, kind: str, month: np.ndarray, hour: np.ndarray, values: np.ndarray) -> Season:
        """Learn the cells. One without values takes what the hour has, or else everything.

        Args:
            kind: One of `SEASONS`.
            month: int (n,), 0 to 11 on the local clock.
            hour: int (n,), 0 to 23.
            values: float64 (n,), NaN where missing.
        """
        kept = np.isfinite(values)
        month, hour, values = month[kept], hour[kept], values[kept]
        overall = float(values.mean()) if len(values) else 0.0
        mean = np.full((12, 24), overall)
        if kind != "none":
            mean = _means(mean, hour, np.arange(24)[None, :].repeat(12, 0), values, 24)
        if kind == "month-hour":
            cells = np.arange(12)[:, None] * 24 + np.arange(24)[None, :]
            mean = _means(mean, month * 24 + hour, cells, values, 288)
        left = (values - mean[month, hour]) ** 2
        everywhere = float(left.mean()) if len(left) else 1.0
        square = np.full((12, 24), everywhere)
        if kind == "month-hour":  # spread by month only: by cell it would rest on sixty values of a year
            months = np.arange(12)[:, None].repeat(24, 1)
            square = _means(square, month, months, left, 12)
        elif kind == "hour":
            square = _means(square, hour, np.arange(24)[None, :].repeat(12, 0), left, 24)
        spread = np.sqrt(square)
        least = max(1e-3 * float(np.sqrt(everywhere)), 1e-9 * max(1.0, abs(overall)))
        return cls(kind, mean, np.maximum(spread, least))

    def standardise(self, month: np.ndarray, hour: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return how many usual spreads each value lies from the usual mean, float64 (n,)."""
        return np.asarray((values - self.mean[month, hour]) / self.spread[month, hour])


def _means(start: np.ndarray, key: np.ndarray, place: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    number = np.bincount(key, minlength=size)
    total = np.bincount(key, weights=values, minlength=size)
    known = number[place] > 0
    return np.where(known, (total / np.maximum(number, 1))[place], start)


def chosen(kind: str, days: float) -> str:
    """Return the kind of season for a reference of so many days; `auto` depends on it.

    >>> chosen("auto", 700), chosen("auto", 360)
    ('month-hour', 'hour')
    """
    if kind != "auto":
        return kind
    return "month-hour" if days >= ENOUGH_DAYS else "hour"
