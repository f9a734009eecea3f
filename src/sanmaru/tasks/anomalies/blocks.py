"""Which past rows are learned from, which set the threshold, and which check it.

The last fifth of time checks, as use will: it comes after all the others. The time before is cut into blocks, and every
fourth block sets the threshold; blocks in time, for neighbouring hours are too alike to be divided at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tasks.anomalies.series import Indexes, SeriesRows

CHECKED = 0.2
"""Fraction of the time, the last one, that checks."""
_BLOCKS = 48
_EVERY = 4
_FEWEST = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Places of rows in the order of series and time."""

    learn: Indexes
    threshold: Indexes
    check: Indexes


def divide(rows: SeriesRows) -> Parts:
    """Divide past rows by time, all series at the same moments.

    Raises:
        DataError: when a part would have too few rows.
    """
    times = np.sort(rows.time_s)
    if len(times) < 5 * _FEWEST:
        raise DataError(
            f"{len(times)} past rows are too few: {5 * _FEWEST} are needed to learn from some, set a threshold by "
            "others and check it on a third part."
        )
    border = times[int((1 - CHECKED) * len(times))]
    edges = np.quantile(times[times < border], np.linspace(0, 1, _BLOCKS + 1)[1:-1])
    block = np.searchsorted(edges, rows.time_s, side="right")
    late = rows.time_s >= border
    sets = ~late & (block % _EVERY == _EVERY - 2)
    parts = Parts(learn=np.flatnonzero(~late & ~sets), threshold=np.flatnonzero(sets), check=np.flatnonzero(late))
    for name, found in (("learn from", parts.learn), ("set the threshold", parts.threshold), ("check", parts.check)):
        if len(found) < _FEWEST:
            raise DataError(
                f"only {len(found)} rows are left to {name}; at least {_FEWEST} are needed. Give more past."
            )
    return parts
