"""The smallest shift that would have been seen: shifts of rising size put into the reference until enough are found."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sanmaru.monitoring.calibrate import Fold, Threshold
from sanmaru.monitoring.columns import Watched
from sanmaru.monitoring.config import MonitorConfig
from sanmaru.monitoring.reference import statistics_of
from sanmaru.monitoring.windows import held

LARGEST = 8.0
"""Usual spreads; a shift that needs more is reported as infinite."""
ROUNDS = 11
"""Halvings of the search: ends within 0.4 % of the largest."""


def power_of(
    one: Watched,
    folds: list[Fold],
    thresholds: Mapping[tuple[str, str], Threshold],
    shift: float,
    config: MonitorConfig,
) -> float:
    """Return the share of the reference's windows, wholly after a lasting shift, in which an alarm would stand.

    Args:
        one: The column.
        folds: Of its reference.
        thresholds: Of its statistics.
        shift: In the column's unit; for categories the share of rows that move to an unknown one.
        config: Of the monitor.
    """
    names = statistics_of(one, config)
    limits = np.array([[thresholds[one.key, name].value] for name in names])
    seen, judged = 0, 0
    for fold in folds:
        found = fold.reference.statistics(fold.values, fold.ends, names, config, shift)
        known = held(np.where(np.isfinite(found).all(axis=0), 1.0, np.nan), config.raise_after) > 0
        beyond = (held(found, config.raise_after) > limits).any(axis=0)
        seen += int((beyond & known).sum())
        judged += int(known.sum())
    return seen / judged if judged else math.nan


def smallest_shift(
    one: Watched,
    folds: list[Fold],
    thresholds: Mapping[tuple[str, str], Threshold],
    config: MonitorConfig,
) -> float:
    """Return the smallest shift found with `config.power`, up as well as down.

    Returns:
        In the column's own unit; for categories a share of rows in [0, 1]. Infinity where none is found.
    """
    spreads = [float(fold.reference.season.spread.mean()) for fold in folds if fold.reference.season is not None]
    numeric = one.categories is None
    high = LARGEST * (sum(spreads) / len(spreads)) if numeric and spreads else 1.0
    directions = (1.0, -1.0) if numeric else (1.0,)

    def found(shift: float) -> bool:
        return all(power_of(one, folds, thresholds, sign * shift, config) >= config.power for sign in directions)

    if not folds or not found(high):
        return math.inf
    low = 0.0
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high
