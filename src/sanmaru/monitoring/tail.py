"""How often a statistic of undisturbed data passes a level: a tail from the peaks of separate events.

Two years hold about a hundred separate weeks, and a rate of one alarm a year over ten columns asks for a level that
perhaps no week of them reached. Peaks over a moderate level are therefore taken to fall off exponentially, as extremes
of most distributions do, and because the slope is itself estimated from a few dozen peaks, the level is taken from the
predictive distribution: with k peaks whose excesses sum to S, the next one exceeds x with probability (1 + x / S)^-k
(exact for exponential excesses, whatever their mean). The fewer peaks there are, the more careful it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHARE = 0.1
"""Of the windows, which lie above the moderate level."""


@dataclass(frozen=True, kw_only=True)
class Tail:
    """Events above a moderate level.

    Attributes:
        level: The moderate one.
        peaks: Number of separate events above it.
        excess: Sum of what their peaks exceed it by, above 0.
        years: Length of time that was looked at.
    """

    level: float
    peaks: int
    excess: float
    years: float

    @property
    def rate(self) -> float:
        """Events a year above the moderate level."""
        return max(self.peaks, 0.5) / self.years

    @property
    def mean(self) -> float:
        """Mean excess of a peak."""
        return self.excess / max(self.peaks, 1)

    def score(self, statistic: np.ndarray) -> np.ndarray:
        """Return minus the logarithm of the yearly rate of events above each value; below the moderate level, its line.

        It puts statistics of different columns and units on one scale.
        """
        return np.asarray((statistic - self.level) / self.mean - math.log(self.rate))

    def statistic(self, score: float) -> float:
        """Return the value with this score."""
        return self.level + self.mean * (score + math.log(self.rate))

    def threshold(self, per_year: float) -> float:
        """Return the level that the next years pass `per_year` times a year, in expectation over such references."""
        if per_year >= self.rate:
            return self.level
        return self.level + self.excess * math.expm1(math.log(self.rate / per_year) / max(self.peaks, 1))

    def per_year(self, level: float) -> float:
        """Return the rate for a level: the inverse of `threshold`."""
        if level <= self.level:
            return self.rate
        return self.rate * (1 + (level - self.level) / self.excess) ** -max(self.peaks, 1)


def unbounded(name: str, statistic: np.ndarray) -> np.ndarray:
    """Stretch a statistic that cannot pass 1 (ks, js) by -log(1 - s), so that no threshold lies beyond 1."""
    if name not in ("ks", "js"):
        return statistic
    return np.asarray(-np.log1p(-np.minimum(np.nan_to_num(statistic, nan=-np.inf, posinf=1.0), 1 - 1e-9)))


def bounded(name: str, stretched: float) -> float:
    """Undo `unbounded`.

    >>> round(bounded("ks", float(unbounded("ks", np.array([0.25]))[0])), 9)
    0.25
    """
    return -math.expm1(-stretched) if name in ("ks", "js") else stretched


def peaks_of(stretches: list[np.ndarray], level: float, apart: int) -> list[float]:
    """Return the highest value of each separate event above a level.

    Args:
        stretches: Statistics of consecutive windows, float64 (n,) each; -inf or NaN where there is none.
        level: What an event lies above.
        apart: Windows at or below the level in a row that end an event.
    """
    found: list[float] = []
    for stretch in stretches:
        quiet = apart
        for value in stretch:
            if value > level:
                if quiet >= apart:
                    found.append(float(value))
                else:
                    found[-1] = max(found[-1], float(value))
                quiet = 0
            else:
                quiet += 1
    return found


def fit_tail(columns: list[list[np.ndarray]], years: float, apart: int, share: float = SHARE) -> Tail:
    """Learn the tail of one or several statistics that share a scale; their events add up.

    Args:
        columns: Stretches of consecutive windows, per column.
        years: Length of time they cover.
        apart: Windows that end an event.
        share: Of the windows above the moderate level.
    """
    flat = [stretch[np.isfinite(stretch)] for column in columns for stretch in column]
    known = np.concatenate(flat) if flat else np.empty(0)
    level = float(np.quantile(known, 1 - share)) if len(known) else 0.0
    peaks = [peak for column in columns for peak in peaks_of(column, level, apart)]
    scale = float(np.std(known)) if len(known) else 0.0
    least = max(1e-3 * scale, 1e-9) * max(len(peaks), 1)  # a column that never changes has no excess at all
    return Tail(level=level, peaks=len(peaks), excess=max(sum(peaks) - level * len(peaks), least), years=years)
