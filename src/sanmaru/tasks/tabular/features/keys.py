"""Categories, and keys of several columns, as the numbers 0 ... n - 1; what was not learned is n."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sanmaru.errors import DataError

_MISSING = -np.inf
"""Stands for a missing value, which is a value of its own here; encoded rows never hold infinite numbers."""


class Lookup:
    """The values of one or several encoded columns, learned and looked up."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = tuple(places)
        self._values: list[np.ndarray] = []
        self._keys = np.empty(0, dtype=np.int64)

    @property
    def size(self) -> int:
        """Keys learned."""
        return len(self._keys)

    def fit(self, matrix: np.ndarray) -> np.ndarray:
        """Learn the keys of encoded rows float64 (n, width); return each row's, int64 (n,).

        Raises:
            DataError: when the columns have more possible keys than 64 bits tell apart.
        """
        self._values = [np.unique(_plain(matrix[:, place])) for place in self.places]
        if math.prod(len(values) + 1 for values in self._values) >= 2**63:
            raise DataError(
                f"a key of {len(self.places)} columns with so many values is too large. Name fewer columns."
            )
        joint = self._joint(matrix)
        self._keys, codes = np.unique(joint, return_inverse=True)
        return np.asarray(codes, dtype=np.int64)

    def codes(self, matrix: np.ndarray) -> np.ndarray:
        """Return each row's key, int64 (n,); `size` for one that was not learned."""
        if not self.size:
            return np.zeros(len(matrix), dtype=np.int64)
        return _found(self._keys, self._joint(matrix))

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned."""
        return {"keys": self._keys, **{f"values{place}": values for place, values in enumerate(self._values)}}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        self._keys = arrays["keys"]
        self._values = [arrays[f"values{place}"] for place in range(len(self.places))]

    def _joint(self, matrix: np.ndarray) -> np.ndarray:
        """One whole number per row: its columns' places among their values, as digits; -1 where one is unknown."""
        joint = np.zeros(len(matrix), dtype=np.int64)
        unknown = np.zeros(len(matrix), dtype=bool)
        for place, values in zip(self.places, self._values, strict=True):
            found = _found(values, _plain(matrix[:, place]))
            unknown |= found == len(values)
            joint = joint * (len(values) + 1) + found
        joint[unknown] = -1
        return joint


def _plain(column: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(column), _MISSING, column)


def _found(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Places of values among sorted known ones; len(known) for the others."""
    at = np.searchsorted(known, values)
    hit = known[np.minimum(at, len(known) - 1)] == values
    return np.where(hit, at, len(known)).astype(np.int64)
