"""Several targets as one: the joint class of a row, and back from joint classes to each target.

The joint classes are the product of the targets' classes in the order given, the last target running fastest, whether
or not a combination occurs in the data. A number takes part through bands: the cut points [30, 60] give the bands
<30, 30-59 and >=60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.labels import dtype_name, label_texts, typed_labels
from sanmaru.tables.target_config import JointConfig, TargetConfig

MOST_CLASSES = 1000
"""Joint classes at most; a table of them would say nothing any more."""
MOST_BINS = 200
SEPARATOR = "/"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One of the targets, as the training table taught it."""

    name: str
    classes: tuple[str, ...]
    """Labels as predictions show them, in the order of their codes."""
    dtype: str = "string"
    """Type in which labels are given back."""
    values: tuple[str, ...] = ()
    """The text in the data of each class; empty for a number cut into bands."""
    cuts: tuple[float, ...] = ()
    """Cut points of the bands; a number on a cut point belongs to the band above it."""
    fine: tuple[float, ...] = ()
    """Edges of the finer bins that are learnt, one more than bins; empty where the bands themselves are."""
    map: Literal["expectation", "sum"] = "expectation"
    weight: float = 1.0

    @property
    def n_learnt(self) -> int:
        """Number of classes, or of finer bins, that a network gives logits for."""
        return len(self.fine) - 1 if self.fine else len(self.classes)

    def codes(self, column: pl.Series) -> np.ndarray:
        """Return the class of each row, int64 (n,).

        Raises:
            DataError: when a label is missing, unknown or, where bands are cut, not a number, with counts.
        """
        if self.cuts:
            return np.searchsorted(np.asarray(self.cuts), self._numbers(column), side="right").astype(np.int64)
        texts = label_texts(column, self.dtype if set(self.values) == set(self.classes) else dtype_name(column.dtype))
        places = {text: code for code, text in enumerate(self.values)}
        found = texts.replace_strict(places, default=None, return_dtype=pl.Int64)
        if found.null_count():
            unknown = texts.filter(found.is_null()).unique(maintain_order=True).head(5).to_list()
            shown = ", ".join("missing" if text is None else repr(text) for text in unknown)
            raise DataError(
                f"{found.null_count():,} of {len(found):,} labels in column {self.name!r} are none of the classes that "
                f"data.target names ({', '.join(self.values[:10])}): {shown}. Add them to `classes`, or mend them."
            )
        return found.to_numpy().astype(np.int64)

    def learnt_codes(self, column: pl.Series) -> np.ndarray:
        """Return the class, or where finer bins are learnt the bin, of each row, int64 (n,)."""
        if not self.fine:
            return self.codes(column)
        return np.searchsorted(np.asarray(self.fine[1:-1]), self._numbers(column), side="right").astype(np.int64)

    def labels_of(self, codes: np.ndarray) -> pl.Series:
        """Return the labels of class codes, in the target's own type."""
        return typed_labels(self.name, self.classes, self.dtype).gather(pl.Series(codes, dtype=pl.UInt32))

    def _numbers(self, column: pl.Series) -> np.ndarray:
        values = column.cast(pl.Float64, strict=False)
        broken = int((~values.is_finite().fill_null(False)).sum())
        if broken:
            raise DataError(
                f"{broken:,} of {len(values):,} values of the target {self.name!r} are missing or no numbers, and "
                "bands are cut from numbers. Mend the column, or name `classes` instead of `bands`."
            )
        return np.asarray(values.to_numpy(), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class JointTarget:
    """Several targets (or one that is cut into bands) and the one label that they make."""

    name: str
    targets: tuple[Target, ...]
    labels: Literal["text", "codes"] = "text"

    @property
    def names(self) -> tuple[str, ...]:
        """The targets' columns."""
        return tuple(target.name for target in self.targets)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Classes of each target."""
        return tuple(len(target.classes) for target in self.targets)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Joint labels as text, in the order of their codes."""
        return tuple(map(str, range(len(self.texts)))) if self.labels == "codes" else self.texts

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The targets' labels that make each joint class, in the order of their codes."""
        return tuple(SEPARATOR.join(labels) for labels in product(*(target.classes for target in self.targets)))

    @property
    def shown(self) -> tuple[str, ...]:
        """Joint labels as a report shows them: a code with what it stands for, such as `3 Wear/female/<30`."""
        if self.labels == "text":
            return self.texts
        return tuple(f"{code} {text}" for code, text in enumerate(self.texts))

    @property
    def dtype(self) -> str:
        """Type of the joint label."""
        if self.labels == "codes":
            return "integer"
        return self.targets[0].dtype if len(self.targets) == 1 else "string"

    def codes(self, table: pl.DataFrame) -> np.ndarray:
        """Return the joint class of each row, int64 (n,).

        Raises:
            DataError: as `Target.codes` does.
        """
        parts = [target.codes(table[target.name]) for target in self.targets]
        return np.asarray(np.ravel_multi_index(parts, self.sizes), dtype=np.int64)

    def column(self, table: pl.DataFrame) -> pl.Series:
        """Return the joint label of each row, in its own type."""
        typed = typed_labels(self.name, self.classes, self.dtype)
        return typed.gather(pl.Series(self.codes(table), dtype=pl.UInt32))

    def split(self, codes: np.ndarray) -> np.ndarray:
        """Return each target's class of joint classes (n,), int64 (n, n_targets)."""
        return np.stack(np.unravel_index(codes, self.sizes), axis=1).astype(np.int64)

    def marginals(self, probs: np.ndarray) -> list[np.ndarray]:
        """Return each target's probabilities (n, n_classes of it) of joint probabilities (n, n_joint)."""
        cube = probs.reshape(len(probs), *self.sizes)
        axes = range(1, cube.ndim)
        return [cube.sum(axis=tuple(other for other in axes if other != own)) for own in axes]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> JointTarget:
        """Rebuild it from `to_json`."""
        lists = ("classes", "values", "cuts", "fine")
        plain: list[dict[str, Any]] = [
            {key: tuple(one) if key in lists else one for key, one in target.items()} for target in value["targets"]
        ]
        targets = tuple(Target(**target) for target in plain)
        return cls(name=value["name"], targets=targets, labels=value["labels"])


def learn_joint(configs: Sequence[TargetConfig], joint: JointConfig, table: pl.DataFrame) -> JointTarget | None:
    """Learn from the training table what the targets' classes are.

    Args:
        configs: What the project file says of each target.
        joint: How the joint label is called and written.
        table: With the targets' columns, typed, none missing.

    Returns:
        None where there is one target of which nothing but the name is said.

    Raises:
        DataError: when a target has one class only, holds a label that its `classes` lack, or has bands and holds no
            numbers; when there are more than 1000 joint classes; when the joint label has no name of its own.
    """
    if len(configs) == 1 and configs[0].plain and joint == JointConfig():
        return None
    targets = tuple(_learn(config, table[config.name]) for config in configs)
    alone = len(targets) == 1
    name = joint.name or ("_".join(config.name for config in configs) + ("_band" if alone and targets[0].cuts else ""))
    found = JointTarget(name=name, targets=targets, labels=joint.labels)
    same = alone and name == configs[0].name and not targets[0].cuts and not configs[0].labels
    if name in table.columns and not (same and joint.labels == "text"):
        raise DataError(
            f"the joint label would be called {name!r}, and the table has a column of that name. Set data.joint.name."
        )
    n_joint = int(np.prod(found.sizes))
    if n_joint > MOST_CLASSES:
        raise DataError(
            f"the targets {', '.join(found.names)} make {n_joint:,} joint classes, more than {MOST_CLASSES:,}. Cut "
            "numbers into bands (data.target: [{name: age, bands: [30, 60]}]), or learn fewer targets."
        )
    if len(set(found.classes)) < n_joint:
        raise DataError(
            f"two joint classes of {', '.join(found.names)} would have the same text (labels hold {SEPARATOR!r}). Set "
            "data.joint.labels: codes, or give the targets other `labels`."
        )
    return found


def _learn(config: TargetConfig, column: pl.Series) -> Target:
    if config.bands:
        return _banded(config, column)
    dtype = dtype_name(column.dtype)
    values = config.classes or tuple(label_texts(column.drop_nulls().unique().sort(), dtype).to_list())
    if len(values) < 2:
        raise DataError(
            f"the target {config.name!r} has one class only ({values[0]!r} in all {len(column)} rows). Leave it out of "
            "data.target, or name its `classes`."
        )
    target = Target(
        name=config.name,
        classes=config.labels or values,
        dtype="string" if config.labels else dtype,
        values=values,
        weight=config.weight,
    )
    if config.classes:
        target.codes(column)  # refuses labels that are not among them
    return target


def _banded(config: TargetConfig, column: pl.Series) -> Target:
    if not column.dtype.is_numeric():
        raise DataError(
            f"the target {config.name!r} is cut into bands and holds no numbers (e.g. {column.head(3).to_list()}). "
            "Name its `classes` instead of `bands`."
        )
    whole = column.dtype.is_integer() and all(cut == int(cut) for cut in config.bands)
    target = Target(
        name=config.name,
        classes=config.labels or band_labels(config.bands, whole=whole),
        cuts=config.bands,
        map=config.map,
        weight=config.weight,
    )
    if len(np.unique(target.codes(column))) < 2:
        raise DataError(
            f"all {len(column):,} rows of the target {config.name!r} lie in one band of {list(config.bands)} (values "
            f"run from {column.min()!r} to {column.max()!r}). Choose other cut points."
        )
    if config.finer is None:
        return target
    edges = fine_edges(config.finer, config.bands, column)
    return Target(**{**asdict(target), "fine": edges})


def band_labels(cuts: Sequence[float], *, whole: bool) -> tuple[str, ...]:
    """Return readable names of the bands between cut points.

    >>> band_labels([30, 60], whole=True)
    ('<30', '30-59', '>=60')
    >>> band_labels([0.5, 1.25], whole=False)
    ('<0.5', '0.5 to 1.25', '>=1.25')
    """
    middle = [
        (f"{a:g}-{b - 1:g}" if b - 1 > a else f"{a:g}") if whole else f"{a:g} to {b:g}" for a, b in pairwise(cuts)
    ]
    return (f"<{cuts[0]:g}", *middle, f">={cuts[-1]:g}")


def fine_edges(finer: float | Sequence[float], bands: Sequence[float], column: pl.Series) -> tuple[float, ...]:
    """Return the edges of the finer bins: multiples of a width (or given cuts), and the bands' cut points.

    The outer edges close the bins around the numbers that were seen; predictions know no others. A whole number n
    fills [n, n + 1), as an age in full years does.

    Raises:
        DataError: when there would be more than 200 bins.
    """
    low = float(column.min())  # type: ignore[arg-type]
    high = float(column.max()) + (1.0 if column.dtype.is_integer() else 0.0)  # type: ignore[arg-type]
    if isinstance(finer, float | int):
        n_bins = (high - low) / finer
        if n_bins > MOST_BINS:
            raise DataError(
                f"finer: {finer:g} cuts {column.name!r} (from {low:g} to {high:g}) into {n_bins:,.0f} bins, more than "
                f"{MOST_BINS}. Take wider ones."
            )
        steps = np.arange(np.floor(low / finer), np.ceil(high / finer) + 1) * finer
        inner = sorted({*(float(step) for step in steps if low < step < high), *bands})
        usual = float(finer)
    else:
        inner = sorted({*finer, *bands})
        usual = float(np.median(np.diff(inner))) if len(inner) > 1 else 1.0
    first = low if low < inner[0] else inner[0] - usual
    last = high if high > inner[-1] else inner[-1] + usual
    return (first, *inner, last)
