"""Thresholds of sequential detectors for a stated mean time between false alarms, from resampled blocks.

Streams of several years are put together from blocks of the undisturbed period drawn with replacement (moving block
bootstrap; Künsch, 1989): inside a block values stay as alike as they were. What repeats over longer than a block is not
in them, which the notes of a report say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sanmaru.monitoring.adwin import Adwin
from sanmaru.monitoring.sequential import BaseDetector, Ddm, Eddm, PageHinkley

PRIOR = 90.0
"""Values for which the reference's mean counts in Page-Hinkley's."""
RANGES = {"page-hinkley": (0.5, 500.0), "adwin": (0.05, 400.0), "ddm": (0.5, 60.0), "eddm": (0.01, 0.99)}
"""Where thresholds are looked for."""
USUAL = {"page-hinkley": 50.0, "adwin": -math.log(0.002), "ddm": 3.0, "eddm": 0.1}
"""Thresholds of the papers and of libraries."""
ROUNDS = 8
"""Halvings of the search on a logarithmic scale: ends within 3 % of the lowest threshold, on its careful side."""


def make(name: str, n: int, threshold: float) -> BaseDetector:
    """Return a detector over `n` streams."""
    match name:
        case "page-hinkley":
            return PageHinkley(n, threshold, prior=PRIOR)
        case "adwin":
            return Adwin(n, threshold)
        case "ddm":
            return Ddm(n, threshold)
        case _:
            return Eddm(n, threshold)


def resampled(stretches: Sequence[np.ndarray], *, block: int, length: int, n: int, seed: int) -> np.ndarray:
    """Return streams put together from blocks.

    Args:
        stretches: Undisturbed values in order of time, float64; a block lies within one of them.
        block: Values in a block; the whole stretch where it is shorter.
        length: Values in a stream.
        n: Streams.
        seed: Of the draws.

    Returns:
        float64 (n, length).
    """
    rng = np.random.default_rng(seed)
    starts = [(one, place) for one, values in enumerate(stretches) for place in range(max(1, len(values) - block + 1))]
    out = np.empty((n, length))
    for row in out:
        filled = 0
        while filled < length:
            one, place = starts[int(rng.integers(len(starts)))]
            piece = stretches[one][place : place + block][: length - filled]
            row[filled : filled + len(piece)] = piece
            filled += len(piece)
    return out


def alarms_of(name: str, streams: np.ndarray, threshold: float) -> int:
    """Count the alarms over all streams, float64 (n, length)."""
    detector = make(name, len(streams), threshold)
    return int(sum(detector.update(streams[:, place]).sum() for place in range(streams.shape[1])))


def threshold_for(name: str, streams: np.ndarray, per_year: float, values_per_year: float) -> tuple[float, float]:
    """Return the lowest threshold at which the streams alarm no more often than stated, and the rate it has there.

    Args:
        name: Of the detector.
        streams: float64 (n, length), of `resampled`.
        per_year: Alarms a year.
        values_per_year: Values in a year of a stream.
    """
    years = streams.size / values_per_year
    low, high = RANGES[name]
    if alarms_of(name, streams, high) / years > per_year:
        return math.inf, 0.0
    for _ in range(ROUNDS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if alarms_of(name, streams, middle) / years > per_year else (low, middle)
    return high, alarms_of(name, streams, high) / years


def follow(
    name: str, threshold: float, values: np.ndarray, before: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Follow one stream.

    Args:
        name: Of the detector.
        threshold: Its threshold.
        values: float64 (n,).
        before: Undisturbed values that the detector has seen already; alarms among them do not count.

    Returns:
        The statistic after each value, float64 (n,), and where an alarm was raised, bool (n,).
    """
    detector = make(name, 1, math.inf)
    for value in [] if before is None else before:
        detector.update(np.array([value]))
    detector.threshold = threshold
    if isinstance(detector, PageHinkley):  # sums of the past do not stand in the way of the present
        detector.up[:] = detector.down[:] = 0.0
    statistic, alarm = np.empty(len(values)), np.zeros(len(values), dtype=bool)
    for place, value in enumerate(values):
        alarm[place] = bool(detector.update(np.array([value]))[0])
        statistic[place] = detector.statistic[0]
    return statistic, alarm
