"""What feature steps see: encoded rows, where each column of the table stands in them, and what is known of fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.tabular.features.config import Key, StepConfig
from sanmaru.tasks.tabular.schema import Feature, Schema


class Places:
    """Where each feature of a table stands in its encoded rows."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.features: dict[str, Feature] = {feature.name: feature for feature in schema.features}
        self._first: dict[str, int] = {}
        place = 0
        for feature in schema.features:
            self._first[feature.name] = place
            place += len(feature.encoded())
        self.width = place

    def of(self, name: str) -> int:
        """The place of a column's number, code or, for a date, days.

        Raises:
            DataError: when the table has no such feature, naming the nearest.
        """
        return self._first[self.feature(name).name]

    def feature(self, name: str) -> Feature:
        """What is known of a column.

        Raises:
            DataError: when the table has no such feature, naming the nearest.
        """
        if name not in self.features:
            for dropped, reason in self.schema.dropped:
                if dropped == name:
                    raise DataError(f"a feature step names column {name!r}, which carries nothing: {reason}.")
            raise DataError(
                f"a feature step names column {name!r}, which is not among the features. "
                f"{nearest(name, self.features)} Check features and data.drop in the project file."
            )
        return self.features[name]

    def number(self, name: str) -> int:
        """The place of a column of numbers.

        Raises:
            DataError: when it is unknown or holds something else.
        """
        feature = self.feature(name)
        if feature.kind not in ("number", "boolean"):
            raise DataError(
                f"a feature step takes column {name!r} for numbers, but it holds a {feature.kind}. Where it is one, "
                f"say so: data.types: {{{name}: number}}"
            )
        return self.of(name)

    def date(self, name: str) -> Feature:
        """A column of dates.

        Raises:
            DataError: when it is unknown or holds something else.
        """
        feature = self.feature(name)
        if feature.kind != "date":
            raise DataError(
                f"a feature step takes column {name!r} for dates, but it holds a {feature.kind}. Where it holds dates, "
                f'say how they are written: data.types: {{{name}: "%Y-%m-%d"}}'
            )
        return feature


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of the training rows of a fit."""

    targets: np.ndarray
    """float64 (n, m): the number; for two classes whether it is the second; for more one column per class."""
    names: tuple[str, ...]
    """What each column of `targets` is."""
    number: bool
    """Whether the target is a number."""
    groups: np.ndarray | None
    """int64 (n,): rows of one group never learn from each other; None where every row stands for itself."""
    seed: int

    def parts(self, count: int) -> np.ndarray:
        """Divide the rows into inner folds of about the same size, int64 (n,) in 0 ... count - 1."""
        generator = np.random.default_rng(self.seed)
        if self.groups is None:
            return generator.permutation(len(self.targets)) % count
        return np.asarray((generator.permutation(int(self.groups.max()) + 1) % count)[self.groups])


class Step(Protocol):
    """A feature step of one kind. Constructed from its config and the places; names its columns once it is fitted."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns it makes."""
        ...

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn from encoded rows float64 (n, width); return these rows' columns float64 (n, len(columns))."""
        ...

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of encoded rows, float64 (n, len(columns)); a row's are the same in any batch."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, as plain arrays."""
        ...

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what `arrays` gave."""
        ...


def named(keys: Sequence[Key]) -> list[tuple[tuple[str, ...], str]]:
    """Each key's columns and its name."""
    out = []
    for key in keys:
        columns = (key,) if isinstance(key, str) else tuple(key)
        out.append((columns, " × ".join(columns)))
    return out


def check_steps(steps: Sequence[StepConfig], schema: Schema) -> None:
    """Refuse steps that name columns the table does not have.

    Raises:
        DataError: naming the column and the nearest one.
    """
    places = Places(schema)
    for step in steps:
        for name in step.used():
            places.feature(name)
