"""Encoded rows as a network takes them: float32, numbers on a normal scale, marks of missing ones, then levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from sanmaru.tasks.tabular.design import learn_layout
from sanmaru.tasks.tabular.schema import Encoded

KNOTS = 501
"""Quantiles kept of each number, at most."""
_EDGE = 1e-3
"""Values beyond the outermost quantiles stand where this share of a normal distribution lies beyond: 3.1 away."""


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """What was learned from a fold's training rows. N numbers, L columns of levels, M marks."""

    numbers: np.ndarray
    """Places of the numbers in the encoded matrix, int64 (N,)."""
    knots: np.ndarray
    """Rising values of all numbers, one after the other, float64."""
    normal: np.ndarray
    """What each knot becomes, float64, as long as `knots`."""
    starts: np.ndarray
    """Where each number's knots begin, int64 (N + 1,)."""
    marked: np.ndarray
    """Which numbers were missing in a training row, as places in `numbers`, int64 (M,)."""
    leveled: np.ndarray
    """Places of the columns of levels, int64 (L,)."""
    sizes: np.ndarray
    """Levels of each, with those for other and missing, int64 (L,)."""

    def rows(self, matrix: np.ndarray) -> np.ndarray:
        """Return float32 (n, N + M + L) of an encoded matrix float64 (n, n_columns)."""
        n_numbers, n_marks = len(self.numbers), len(self.marked)
        out = np.empty((len(matrix), n_numbers + n_marks + len(self.leveled)), dtype=np.float32)
        for place, column in enumerate(self.numbers.tolist()):
            own = slice(self.starts[place], self.starts[place + 1])
            out[:, place] = np.interp(matrix[:, column], self.knots[own], self.normal[own])
        missing = np.isnan(out[:, :n_numbers])
        out[:, n_numbers : n_numbers + n_marks] = missing[:, self.marked]
        out[:, :n_numbers][missing] = 0.0
        codes = matrix[:, self.leveled]
        out[:, n_numbers + n_marks :] = np.where(
            np.isnan(codes), self.sizes - 1, np.minimum(np.nan_to_num(codes), self.sizes - 2)
        )
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """What to save; `Prepare(**arrays)` is equal."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def learn_preparation(matrix: np.ndarray, columns: Sequence[Encoded]) -> Prepare:
    """Learn the quantiles of numbers and which of them go missing, from float64 (n, n_columns)."""
    from scipy.stats import norm

    layout = learn_layout(matrix, columns)
    knots, normal, sizes = [], [], [0]
    for column in layout.numbers.tolist():
        values = matrix[:, column]
        own, ranks = _ranks(values[~np.isnan(values)])
        knots.append(own)
        normal.append(norm.ppf(np.clip(ranks, _EDGE, 1 - _EDGE)))
        sizes.append(len(own))
    missing = np.isnan(matrix[:, layout.numbers]).any(axis=0)
    return Prepare(
        numbers=layout.numbers,
        knots=np.concatenate([np.empty(0), *knots]),
        normal=np.concatenate([np.empty(0), *normal]),
        starts=np.cumsum(sizes),
        marked=np.flatnonzero(missing),
        leveled=layout.leveled,
        sizes=layout.sizes,
    )


def _ranks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `KNOTS` rising values and their mid-ranks in (0, 1); a column without values stands at the middle."""
    if not len(values):
        return np.zeros(1), np.full(1, 0.5)
    distinct, counts = np.unique(values, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(values)
    if len(distinct) > KNOTS:
        # Evenly in rank and not in value, with both ends.
        chosen = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], KNOTS)))
        distinct, ranks = distinct[chosen], ranks[chosen]
    return distinct, ranks
