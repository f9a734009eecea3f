"""Quotients of two columns, named or found.

`auto` measures, inside the fold, how much each quotient tells of the target on rows it was not measured on, and keeps
those that tell more than both of their columns.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from sanmaru.tasks.tabular.features.config import RatiosConfig
from sanmaru.tasks.tabular.features.rows import Known, Places
from sanmaru.tasks.tabular.schema import Encoded
from sanmaru.tasks.tabular.strength import strengths

MOST_ROWS = 5000
"""Rows on which `auto` measures."""
MOST_COLUMNS = 15
"""Columns of which `auto` tries pairs, those that tell most."""
_CLEARLY = 0.01
"""Gain of strength over the better of both columns, below which a quotient is not kept."""


class Ratios:
    """The quotients of `RatiosConfig`. Division by zero gives no value (NaN)."""

    def __init__(self, config: RatiosConfig, places: Places) -> None:
        self._places = places
        self._most = config.most
        self._found = config.pairs == "auto"
        self._pairs = np.array(
            [] if config.pairs == "auto" else [[places.number(a), places.number(b)] for a, b in config.pairs],
            dtype=np.int64,
        ).reshape(-1, 2)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the quotients."""
        names = {self._places.of(name): name for name in self._places.features}
        return tuple(f"{names[a]} / {names[b]}" for a, b in self._pairs.tolist())

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        if self._found:
            self._pairs = self._find(matrix, known)
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        return divide(matrix[:, self._pairs[:, 0]], matrix[:, self._pairs[:, 1]])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        return {"pairs": self._pairs}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        self._pairs = arrays["pairs"]

    def _find(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        numbers = [self._places.of(n) for n, one in self._places.features.items() if one.kind == "number"]
        rows = np.sort(np.random.default_rng(known.seed).permutation(len(matrix))[:MOST_ROWS])
        matrix, targets = matrix[rows], known.targets[rows]
        if targets.shape[1] > 1:
            truth, n_classes = targets.argmax(axis=1).astype(np.int64), targets.shape[1]
        elif np.isin(targets, (0.0, 1.0)).all():
            truth, n_classes = targets[:, 0].astype(np.int64), 2
        else:
            truth, n_classes = targets[:, 0], 0
        alone = _strengths({(place, place): matrix[:, place] for place in numbers}, truth, n_classes)
        numbers = sorted(numbers, key=lambda place: -alone[place, place])[:MOST_COLUMNS]
        tried = {(a, b): divide(matrix[:, a], matrix[:, b]) for a, b in permutations(sorted(numbers), 2)}
        # A quotient with mostly no value says little, and its other way round may say all.
        tried = {pair: values for pair, values in tried.items() if np.isnan(values).mean() < 0.5}
        found = _strengths(tried, truth, n_classes)
        gains = {(a, b): found[a, b] - max(alone[a, a], alone[b, b]) for a, b in found}
        kept: list[tuple[int, int]] = []
        for pair in sorted(gains, key=lambda one: -gains[one]):
            if gains[pair] >= _CLEARLY and pair[::-1] not in kept and len(kept) < self._most:
                kept.append(pair)
        return np.array(kept, dtype=np.int64).reshape(-1, 2)


def divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above / below, NaN where below is 0 or the quotient is not finite."""
    with np.errstate(all="ignore"):
        out = np.where(below == 0.0, np.nan, above / np.where(below == 0.0, 1.0, below))
    return np.where(np.isfinite(out), out, np.nan)


def _strengths(
    columns: dict[tuple[int, int], np.ndarray], truth: np.ndarray, n_classes: int
) -> dict[tuple[int, int], float]:
    """How much each column tells of the target (see `strength`)."""
    if not columns:
        return {}
    names = {f"{a},{b}": (a, b) for a, b in columns}
    encoded = [Encoded(name=name, source=name) for name in names]
    found = strengths(np.stack(list(columns.values()), axis=1), encoded, truth, n_classes)
    return {names[name]: value for name, value in found.items()}
