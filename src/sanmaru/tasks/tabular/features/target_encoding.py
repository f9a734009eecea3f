"""Each category's mean target, drawn to the overall mean.

Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and prediction
problems", SIGKDD Explorations 3(1), 2001, with the m-estimate (sum + m · prior) / (rows + m). Training rows get theirs
from the rows of the other inner folds, as scikit-learn's `TargetEncoder` does; new rows from all of them. A category
that they lack has the prior, or is missing where `unknown` says so. `per` divides the target by a column of numbers
first, so that categories compare by what a unit of it costs.
"""

from __future__ import annotations

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tables.propose_features import MANY
from sanmaru.tasks.tabular.features.config import TargetEncodingConfig
from sanmaru.tasks.tabular.features.keys import Lookup
from sanmaru.tasks.tabular.features.rows import Known, Places, named


class TargetEncoding:
    """The encodings of `TargetEncodingConfig`."""

    def __init__(self, config: TargetEncodingConfig, places: Places) -> None:
        keys = config.columns
        if keys is None:
            keys = tuple(name for name, one in places.features.items() if len(one.categories) > MANY)
        self.keys = named(keys)
        self._lookups = [Lookup([places.of(name) for name in columns]) for columns, _ in self.keys]
        self._smoothing, self._parts = config.smoothing, config.parts
        self._unknown = config.unknown
        self._per = None if config.per is None else (config.per, places.number(config.per))
        self._means: list[np.ndarray] = []
        self.columns: tuple[str, ...] = ()

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        parts, targets = known.parts(self._parts), self._targets(matrix, known)
        unit = "" if self._per is None else f" per {self._per[0]}"
        self.columns = tuple(f"{target}{unit} by {name}" for _, name in self.keys for target in known.names)
        self._means, out = [], [np.empty((len(matrix), 0))]
        for lookup in self._lookups:
            codes = lookup.fit(matrix)
            held = np.empty_like(targets)
            for part in range(self._parts):
                rest, own = parts != part, parts == part
                if not rest.any():  # all rows are of one group
                    rest = own
                held[own] = self._encode(codes[rest], targets[rest], lookup.size)[codes[own]]
            self._means.append(self._encode(codes, targets, lookup.size))
            out.append(held)
        return np.concatenate(out, axis=1)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        found = [means[lookup.codes(matrix)] for lookup, means in zip(self._lookups, self._means, strict=True)]
        return np.concatenate([np.empty((len(matrix), 0)), *found], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was learned."""
        out: dict[str, np.ndarray] = {}
        for place, (lookup, means) in enumerate(zip(self._lookups, self._means, strict=True)):
            out |= {f"{place}.{name}": values for name, values in lookup.arrays().items()}
            out[f"{place}.means"] = means
        return out

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what was learned."""
        for place, lookup in enumerate(self._lookups):
            lookup.restore(inside(arrays, place))
        self._means = [arrays[f"{place}.means"] for place in range(len(self._lookups))]

    def _targets(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Return what is averaged, float64 (n, m); NaN where `per` says nothing of a row.

        Raises:
            DataError: when `per` goes with a target of classes, or is positive nowhere.
        """
        if self._per is None:
            return known.targets
        name, place = self._per
        if not known.number:
            raise DataError(f"features: target_encoding: per: {name!r} divides a number, and the target is of classes.")
        unit = matrix[:, place, None]
        if not (unit > 0).any():
            raise DataError(f"features: target_encoding: per: {name!r} is positive in no training row.")
        return np.where(unit > 0, known.targets / np.where(unit > 0, unit, 1.0), np.nan)

    def _encode(self, codes: np.ndarray, targets: np.ndarray, size: int) -> np.ndarray:
        """Smoothed mean targets per key, float64 (size + 1, m); the last is for unknown keys."""
        told = ~np.isnan(targets[:, 0])
        codes, targets = codes[told], targets[told]
        if not len(targets):
            return np.full((size + 1, targets.shape[1]), np.nan)
        prior = targets.mean(axis=0)
        counts = np.bincount(codes, minlength=size + 1).astype(np.float64)[:, None]
        sums = np.stack([np.bincount(codes, weights=column, minlength=size + 1) for column in targets.T], axis=1)
        weight = counts + self._smoothing
        means = (sums + self._smoothing * prior) / np.where(weight > 0, weight, 1.0)
        return np.asarray(np.where(counts > 0, means, prior if self._unknown == "mean" else np.nan))


def inside(arrays: dict[str, np.ndarray], place: int) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a place, without it."""
    start = f"{place}."
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}
