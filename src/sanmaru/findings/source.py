"""What the general sections look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from sanmaru.tables.contract import Column, Quarantine
from sanmaru.tables.odd import Oddity
from sanmaru.tables.roles import Roles


@dataclass(frozen=True, kw_only=True)
class Source:
    """Train and test tables as `tables.read.read_data` gives them, with what was set aside."""

    train: pl.DataFrame
    test: pl.DataFrame | None = None
    roles: Roles
    columns: Sequence[Column] = ()
    quarantine: Quarantine = field(default_factory=Quarantine)
    test_quarantine: Quarantine = field(default_factory=Quarantine)
    split: str = "random"
    """Kind of the split, as the project file names it."""
    about: str = ""
    """What the project says of its problem."""
    train_name: str = "train"
    oddities: Sequence[Oddity] = ()
    """How the cells of the training table were written, where that is not plain."""
    classes: bool | None = None
    """Whether the target is a class rather than a number; told from its type where absent."""

    def features(self) -> list[str]:
        """The features without the picture, as far as the training table has them."""
        return [name for name in self.roles.features if name in self.train.columns and name != self.roles.image]

    def target_is_class(self) -> bool:
        """Whether the first target is a class."""
        if self.classes is not None:
            return self.classes
        target = self.train[self.roles.targets[0]]
        return not target.dtype.is_numeric() or (target.dtype.is_integer() and target.n_unique() <= 20)
