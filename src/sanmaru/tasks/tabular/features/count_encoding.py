"""How often each category occurs among the training rows."""

from __future__ import annotations

import numpy as np

from sanmaru.tables.propose_features import MANY
from sanmaru.tasks.tabular.features.config import CountEncodingConfig
from sanmaru.tasks.tabular.features.keys import Lookup
from sanmaru.tasks.tabular.features.rows import Known, Places, named
from sanmaru.tasks.tabular.features.target_encoding import inside


class CountEncoding:
    """The counts of `CountEncodingConfig`, as log(1 + rows)."""

    def __init__(self, config: CountEncodingConfig, places: Places) -> None:
        keys = config.columns
        if keys is None:
            keys = tuple(name for name, one in places.features.items() if len(one.categories) > MANY)
        self._lookups = [Lookup([places.of(name) for name in columns]) for columns, _ in named(keys)]
        self._logs: list[np.ndarray] = []
        self.columns = tuple(f"rows with {name} (log)" for _, name in named(keys))

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        self._logs = []
        for lookup in self._lookups:
            codes = lookup.fit(matrix)
            self._logs.append(np.log1p(np.bincount(codes, minlength=lookup.size + 1)))
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        out = np.empty((len(matrix), len(self._lookups)))
        for place, (lookup, logs) in enumerate(zip(self._lookups, self._logs, strict=True)):
            out[:, place] = logs[lookup.codes(matrix)]
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        out: dict[str, np.ndarray] = {}
        for place, (lookup, logs) in enumerate(zip(self._lookups, self._logs, strict=True)):
            out |= {f"{place}.{name}": values for name, values in lookup.arrays().items()}
            out[f"{place}.logs"] = logs
        return out

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        for place, lookup in enumerate(self._lookups):
            lookup.restore(inside(arrays, place))
        self._logs = [arrays[f"{place}.logs"] for place in range(len(self._lookups))]
