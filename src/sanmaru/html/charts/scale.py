"""Scales and ticks that stay sane for any numbers: empty, one value, constant, huge."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

LARGEST = 1e300
"""Beyond this (and for NaN) a value is not drawn, so that spans cannot overflow."""


def drawable(value: object) -> bool:
    """Whether a value can be placed on an axis."""
    return isinstance(value, Real) and abs(float(value)) <= LARGEST


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] of the data linearly to [start, end] px; what lies outside is put on the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value in px."""
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))


def domain(values: Iterable[float], *, zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that holds all drawable values; never empty, never of zero length.

    Args:
        values: Data in the axis' own units.
        zero: Whether the axis must contain 0, as the axis of bars must.
    """
    kept = [float(value) for value in values if drawable(value)]
    if zero:
        kept.append(0.0)
    if not kept:
        return 0.0, 1.0
    low, high = min(kept), max(kept)
    if high - low <= max(abs(low), abs(high)) * 1e-9 or high - low < 1e-290:
        if zero:  # then all of them are 0, or as good as: the smallest may lie a hair below
            return low, 1.0
        pad = abs(high) * 0.1 if abs(high) > 1e-280 else 1.0
        return low - pad, high + pad
    return low, high


def ticks(low: float, high: float, count: int = 5, *, whole: bool = False) -> tuple[list[float], float]:
    """Return round numbers inside [low, high], about `count` of them, and their step (1, 2, 2.5 or 5 times 10^n).

    With `whole`, only whole numbers, for steps and counts.

    >>> ticks(0, 1)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 0.2)
    """
    raw = (high / 2 - low / 2) / max(1, count) * 2
    if not math.isfinite(raw) or raw <= 0:
        return [low], 1.0
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next((m * magnitude for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * magnitude >= raw * 0.999), raw)
    if whole:
        step = max(1.0, float(math.ceil(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    found = [float(f"{n * step:.12g}") for n in range(first, last + 1)]
    inside = [value for value in found if low - step * 1e-6 <= value <= high + step * 1e-6]
    return (inside or [low]), float(f"{step:.12g}")


def rounded(low: float, high: float, count: int = 5) -> tuple[float, float]:
    """Widen an axis to the next ticks, so that it begins and ends on a round number."""
    step = ticks(low, high, count)[1]
    start, end = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    start, end = float(f"{start:.12g}"), float(f"{end:.12g}")
    return (start, end) if math.isfinite(start) and math.isfinite(end) and start < end else (low, high)
