"""The score above which a row is flagged, from a stated budget of alarms.

An alarm is what a person looks at once: flagged rows of one series with at most `TOGETHER` rows between them. A sensor
that is stuck for a day is one alarm, not 24.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sanmaru.tasks.anomalies.config import Budget
from sanmaru.tasks.anomalies.series import DAY_S, Floats, Indexes

SPAN_S = {"day": DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S}


TOGETHER = 3
"""Rows that may lie between the flagged rows of one alarm."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold with what is known of it."""

    value: float
    """A row is flagged when its score is above it."""
    budget_rate: float
    """Alarms per row that the budget allows."""
    threshold_rows: int
    """Rows that set it."""
    threshold_rate: float
    """Alarms per row among them: at most the budget, by construction."""
    check_rows: int
    """Later rows that checked it."""
    check_rate: float
    """Alarms per row among them, the measured rate of false alarms: real faults among them count as false, too."""
    check_flagged: float
    """Fraction of them that were flagged."""
    check_per_span: float
    """`check_rate` in the budget's own unit: per thousand rows, or per day, week or month and series."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values that the constructor takes back."""
        return asdict(self)


def budget_rate(budget: Budget, every_s: float) -> float:
    """Return the alarms per row that are allowed.

    Args:
        budget: As the project file states it.
        every_s: Seconds between the rows of a series.

    Example:
        >>> budget_rate(Budget(alarms=1, per="week"), 3600.0) == 1 / 168
        True
    """
    return min(1.0, budget.alarms / _rows_per_span(budget, every_s))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Scores of rows with where they stand."""

    scores: Floats
    """(n,)."""
    place: Indexes
    """Place of each row in the order of series and time, rising, (n,)."""
    first: Indexes
    """Place of the first row of its series, (n,)."""


def set_threshold(budget: Budget, every_s: float, known: Scored, later: Scored) -> Threshold:
    """Set the lowest threshold that keeps to the budget.

    Among n rows, k = floor(rate · n) alarms may be raised. The threshold is the highest score that may not be flagged
    for that: going down from the highest score, the first one whose flag would raise alarm k + 1. Where k is 0, that
    is the highest score seen: the budget is finer than so many rows can tell.

    Args:
        budget: As the project file states it.
        every_s: Seconds between the rows of a series.
        known: Rows that the detector has not learned from.
        later: Rows after those, to measure the rate on.
    """
    rate = budget_rate(budget, every_s)
    value = _lowest(known, math.floor(rate * len(known.scores)))
    checked = count_alarms(later, value) / len(later.scores)
    return Threshold(
        value=value,
        budget_rate=rate,
        threshold_rows=len(known.scores),
        threshold_rate=count_alarms(known, value) / len(known.scores),
        check_rows=len(later.scores),
        check_rate=checked,
        check_flagged=float(np.mean(later.scores > value)),
        check_per_span=checked * _rows_per_span(budget, every_s),
    )


def count_alarms(scored: Scored, threshold: float) -> int:
    """Return how many alarms a threshold raises."""
    flagged = scored.scores > threshold
    place, first = scored.place[flagged], scored.first[flagged]
    if not len(place):
        return 0
    return 1 + int(np.sum((np.diff(place) > TOGETHER + 1) | (np.diff(first) != 0)))


def _lowest(scored: Scored, most: int) -> float:
    order = np.argsort(-scored.scores, kind="stable")
    ranked = scored.scores[order]
    flagged: set[tuple[int, int]] = set()
    alarms, end = 0, 0
    while end < len(order):
        begin = end
        while end < len(order) and ranked[end] == ranked[begin]:  # equal scores are flagged together
            row = order[end]
            alarms += _change(flagged, int(scored.first[row]), int(scored.place[row]))
            end += 1
        if alarms > most:
            return float(ranked[begin])
    return float(ranked[-1])


def _change(flagged: set[tuple[int, int]], series: int, place: int) -> int:
    """Flag a row; return how the number of alarms changes: 1 where it stands alone, -1 where it joins two."""
    near = range(1, TOGETHER + 2)
    before = next((place - away for away in near if (series, place - away) in flagged), None)
    after = next((place + away for away in near if (series, place + away) in flagged), None)
    flagged.add((series, place))
    if before is None and after is None:
        return 1
    if before is None or after is None:
        return 0
    return 0 if after - before <= TOGETHER + 1 else -1


def _rows_per_span(budget: Budget, every_s: float) -> float:
    return 1000.0 if budget.per == "thousand-rows" else SPAN_S[budget.per] / every_s
