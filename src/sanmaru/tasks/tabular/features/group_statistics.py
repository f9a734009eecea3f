"""What other columns are like in the training rows of the same group, and where a row stands among them."""

from __future__ import annotations

import numpy as np

from sanmaru.tasks.tabular.features.config import GroupStatisticsConfig
from sanmaru.tasks.tabular.features.keys import Lookup
from sanmaru.tasks.tabular.features.rows import Known, Places, named
from sanmaru.tasks.tabular.features.target_encoding import inside

_KEPT = ("mean", "std", "min", "median", "max")
"""Statistics that are kept per group; `rank` needs the values themselves."""


class GroupStatistics:
    """The statistics of `GroupStatisticsConfig`. A group that training did not know has none (NaN) and count 0."""

    def __init__(self, config: GroupStatisticsConfig, places: Places) -> None:
        keys = named(config.by)
        self._lookups = [Lookup([places.of(name) for name in columns]) for columns, _ in keys]
        self._of = [places.number(name) for name in config.of]
        self._statistics = config.statistics
        self._groups: list[list[_Values]] = []
        self.columns = tuple(
            f"{statistic} of {of} by {name}" for _, name in keys for of in config.of for statistic in config.statistics
        )

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        self._groups = []
        for lookup in self._lookups:
            codes = lookup.fit(matrix)
            self._groups.append([_Values.learn(matrix[:, place], codes, lookup.size) for place in self._of])
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        out = []
        for lookup, learned in zip(self._lookups, self._groups, strict=True):
            codes = lookup.codes(matrix)
            for place, values in zip(self._of, learned, strict=True):
                out += [values.statistic(name, codes, matrix[:, place]) for name in self._statistics]
        return np.stack(out, axis=1) if out else np.empty((len(matrix), 0))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        out: dict[str, np.ndarray] = {}
        for place, (lookup, learned) in enumerate(zip(self._lookups, self._groups, strict=True)):
            out |= {f"{place}.{name}": array for name, array in lookup.arrays().items()}
            for position, values in enumerate(learned):
                out[f"{place}.sorted{position}"], out[f"{place}.starts{position}"] = values.ordered, values.starts
        return out

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        self._groups = []
        for place, lookup in enumerate(self._lookups):
            own = inside(arrays, place)
            lookup.restore(own)
            self._groups.append([_Values(own[f"sorted{i}"], own[f"starts{i}"]) for i in range(len(self._of))])


class _Values:
    """The values of a column by group: sorted within each, group after group."""

    def __init__(self, ordered: np.ndarray, starts: np.ndarray) -> None:
        self.ordered = ordered
        self.starts = starts
        """Where each group begins, and the end of the last: int64 (n_groups + 1,)."""
        self._tables = {name: self._table(name) for name in _KEPT}

    @classmethod
    def learn(cls, column: np.ndarray, codes: np.ndarray, size: int) -> _Values:
        present = ~np.isnan(column)
        column, codes = column[present], codes[present]
        order = np.lexsort((column, codes))
        return cls(column[order], np.searchsorted(codes[order], np.arange(size + 1)).astype(np.int64))

    def statistic(self, name: str, codes: np.ndarray, column: np.ndarray) -> np.ndarray:
        if name == "count":
            return np.asarray(np.append(np.diff(self.starts), 0).astype(np.float64)[codes])
        if name == "rank":
            return self._rank(codes, column)
        if name == "difference":
            return np.asarray(column - self._tables["mean"][codes])
        return np.asarray(self._tables[name][codes])

    def _table(self, name: str) -> np.ndarray:
        """One number per group, and NaN for an unknown one and for one without values."""
        counts = np.diff(self.starts)
        filled = counts > 0
        out = np.full(len(counts) + 1, np.nan)
        if not filled.any():
            return out
        places = np.flatnonzero(filled)
        begin, n = self.starts[:-1][filled], counts[filled]
        match name:
            case "min":
                out[places] = self.ordered[begin]
            case "max":
                out[places] = self.ordered[begin + n - 1]
            case "median":
                out[places] = (self.ordered[begin + (n - 1) // 2] + self.ordered[begin + n // 2]) / 2
            case "mean":
                out[places] = np.add.reduceat(self.ordered, begin) / n
            case _:
                mean = np.add.reduceat(self.ordered, begin) / n
                squares = (self.ordered - np.repeat(mean, n)) ** 2
                out[places] = np.sqrt(np.add.reduceat(squares, begin) / n)
        return out

    def _rank(self, codes: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Fraction of the group's values below the row's, ties counted half."""
        out = np.full(len(codes), np.nan)
        known = np.flatnonzero((codes < len(self.starts) - 1) & ~np.isnan(column))
        for row in known.tolist():
            code = codes[row]
            group = self.ordered[self.starts[code] : self.starts[code + 1]]
            if len(group):
                below, upto = group.searchsorted(column[row]), group.searchsorted(column[row], "right")
                out[row] = (below + upto) / (2 * len(group))
        return out
