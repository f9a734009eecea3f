"""What each feature of a table is, learned once on the whole training table (never from the target).

Every fold and every model of a run shares one schema, so a row is encoded once for all of them. Nothing here looks at
the target, and so nothing of a validation row's answer can leak through it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.contract import Column, Kind
from sanmaru.tasks.tabular import cells

FeatureKind = Literal["number", "boolean", "category", "many", "text", "date"]

MOST_CATEGORIES = 255
"""A column with more distinct texts than this is `many`: its rare values share one code."""
MOST_CODES = 10_000
"""Codes of a `many` or `text` column, most frequent values first."""
MOST_SHOWN = 50
"""Categories that a form offers."""
_TEXT_LENGTH = 40
"""Mean characters from which mostly distinct strings are taken as sentences, not as names."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of the table and how it becomes numbers."""

    name: str
    kind: FeatureKind
    whole: bool = False
    """Whether only whole numbers were seen."""
    categories: tuple[str, ...] = ()
    """Known texts, most frequent first; their places are their codes."""
    counts: tuple[int, ...] = ()
    """Training rows per category, kind `many`."""
    parts: tuple[str, ...] = ()
    """Calendar numbers that differ between training rows, kind `date`."""
    reference: str | None = None
    """First date of training, ISO 8601: days are counted from it."""
    date_format: str | None = None
    unit: str | None = None
    """What may stand with a number in a text, kind `number`."""
    low: float | None = None
    high: float | None = None
    example: Any = None
    missing_fraction: float = 0.0

    def encoded(self) -> tuple[Encoded, ...]:
        """The columns of the matrix that this feature becomes."""
        match self.kind:
            case "number" | "boolean":
                return (Encoded(name=self.name, source=self.name),)
            case "category":
                return (Encoded(name=self.name, source=self.name, n_codes=len(self.categories)),)
            case "many" | "text":
                frequency = Encoded(name=f"{self.name} (frequency)", source=self.name)
                codes = Encoded(name=self.name, source=self.name, n_codes=len(self.categories))
                out = [codes, frequency] if self.categories else []
                if self.kind == "text":
                    out += [Encoded(name=f"{self.name} ({part})", source=self.name) for part in ("characters", "words")]
                return tuple(out)
            case "date":
                sizes = {"month": 12, "weekday": 7, "hour": 24}
                return tuple(
                    Encoded(name=f"{self.name} ({part})", source=self.name, cycle=sizes.get(part, 0))
                    for part in self.parts
                )

    def column(self) -> Column:
        """What the signature says of this feature."""
        kinds: dict[FeatureKind, Kind] = {
            "number": "integer" if self.whole else "number",
            "boolean": "boolean",
            "category": "category",
            "many": "category",
            "text": "text",
            "date": "date",
        }
        offered = self.kind in {"category", "many"}
        return Column(
            name=self.name,
            kind=kinds[self.kind],
            categories=self.categories[:MOST_SHOWN] if offered else None,
            low=self.low,
            high=self.high,
            example=self.example,
            date_format=self.date_format,
            unit=self.unit,
        )


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One column of the encoded matrix."""

    name: str
    source: str
    """Name of the table's column."""
    n_codes: int = 0
    """Known categories of a column of codes, in which n_codes stands for every other value; 0 for a number."""
    cycle: int = 0
    """Length of a calendar cycle (12 months), for a number that a linear model should take as categories."""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The features of a table, in the order of the matrix, and the texts that mean "no value"."""

    features: tuple[Feature, ...]
    missing: tuple[str, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    """(column, reason) of features that carry nothing."""

    @property
    def encoded(self) -> tuple[Encoded, ...]:
        """The columns of the matrix."""
        return tuple(column for feature in self.features for column in feature.encoded())

    def encoding(self) -> str:
        """Return a hash of everything that decides how a row becomes numbers."""
        content = json.dumps(self.to_json(), sort_keys=True, ensure_ascii=True, default=str)
        return "tabular-" + hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return {
            "features": [asdict(feature) for feature in self.features],
            "missing": list(self.missing),
            "dropped": [list(pair) for pair in self.dropped],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """Rebuild a schema from `to_json`."""
        return cls(
            features=tuple(_feature(feature) for feature in value["features"]),
            missing=tuple(value["missing"]),
            dropped=tuple((name, reason) for name, reason in value["dropped"]),
        )


def _feature(value: Mapping[str, Any]) -> Feature:
    content: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    return Feature(**content)


def learn_schema(table: pl.DataFrame, columns: Sequence[Column], *, missing: Sequence[str] = ()) -> Schema:
    """Decide for each feature what it is and which values it knows.

    Args:
        table: The training rows.
        columns: The features, with what reading the table told of them.
        missing: Cell texts that mean "no value".

    Raises:
        DataError: when a feature is absent or holds lists or other nested values, or none carries anything.
    """
    features: list[Feature] = []
    dropped: list[tuple[str, str]] = []
    for column in columns:
        if column.name not in table.columns:
            raise DataError(f"the table has no column {column.name!r}. It has: {', '.join(table.columns)}.")
        learned = _learn(table[column.name], column, frozenset(missing))
        if isinstance(learned, str):
            dropped.append((column.name, learned))
        else:
            features.append(learned)
    if not features:
        told = "; ".join(f"{name!r}: {reason}" for name, reason in dropped) or "no features are named"
        raise DataError(f"no feature is left to learn from ({told}). Check data.features and data.drop.")
    return Schema(features=tuple(features), missing=tuple(missing), dropped=tuple(dropped))


def column_kind(series: pl.Series) -> Kind:
    """Return the kind of a column that nothing is known of but its type."""
    if series.dtype == pl.Boolean:
        return "boolean"
    if series.dtype.is_integer():
        return "integer"
    if series.dtype.is_numeric():
        return "number"
    return "date" if series.dtype in (pl.Date, pl.Datetime) else "category"


def _learn(series: pl.Series, column: Column, missing: frozenset[str]) -> Feature | str:
    """Return the feature, or the reason why the column carries nothing."""
    check_plain(series)
    if len(series) == 0:
        raise DataError("the table is empty: there are no rows to learn from.")
    if series.dtype == pl.Null:
        return "all values are missing"
    kind = _kind(series, column.kind)
    match kind:
        case "number" | "boolean":
            learned = _learn_number(series, kind, missing, column.unit)
        case "date":
            learned = _learn_date(series, column.date_format, missing)
        case _:
            learned = _learn_text(series, kind, missing)
    return learned


def check_plain(series: pl.Series) -> None:
    """Refuse columns of lists, mappings, bytes and spans of time.

    Raises:
        DataError: naming the column and its type.
    """
    dtype = series.dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Duration, pl.Time):
        raise DataError(
            f"column {series.name!r} holds {dtype}, and a table's features are numbers, texts, booleans or dates. "
            f"Make plain columns of it, or leave it out: data.drop: [{series.name}]"
        )


def _kind(series: pl.Series, told: Kind) -> FeatureKind:
    """The column's own type decides; what was told decides between what it leaves open."""
    if series.dtype == pl.Boolean:
        return "boolean"
    if series.dtype in (pl.Date, pl.Datetime):
        return "date"
    if told in {"category", "text"}:
        return "category" if told == "category" else "text"
    if series.dtype.is_numeric():
        return "boolean" if told == "boolean" else "number"
    wanted: dict[Kind, FeatureKind] = {"number": "number", "integer": "number", "boolean": "boolean", "date": "date"}
    return wanted.get(told, "category")


def _learn_number(series: pl.Series, kind: FeatureKind, missing: frozenset[str], unit: str | None) -> Feature | str:
    from sanmaru.tasks.tabular.encode import read_column

    read = cells.boolean(missing) if kind == "boolean" else cells.number(missing, unit)
    values = read_column(series, read, numbers=kind == "number")
    present = values[~np.isnan(values)]
    if not len(present):
        return "all values are missing"
    if len(present) == len(values) and present.min() == present.max():
        return f"every row holds {present[0]:g}"
    whole = bool((present == np.round(present)).all()) and not series.dtype.is_float()
    middle = float(np.sort(present)[len(present) // 2])
    return Feature(
        name=series.name,
        kind=kind,
        whole=whole,
        unit=unit,
        low=float(present.min()),
        high=float(present.max()),
        example=bool(middle) if kind == "boolean" else int(middle) if whole else middle,
        missing_fraction=1.0 - len(present) / len(values),
    )


def _learn_date(series: pl.Series, date_format: str | None, missing: frozenset[str]) -> Feature | str:
    from sanmaru.tasks.tabular.encode import read_dates

    dates = read_dates(series, cells.moment(missing, date_format)).drop_nulls()
    if not len(dates):
        return "all values are missing"
    first, last = dates.min(), dates.max()
    assert isinstance(first, datetime)
    assert isinstance(last, date)
    if len(dates) == len(series) and first == last:
        return f"every row holds {first.isoformat()}"
    calendar = {"year": dates.dt.year(), "month": dates.dt.month(), "day": dates.dt.day()}
    calendar |= {"weekday": dates.dt.weekday(), "hour": dates.dt.hour()}
    return Feature(
        name=series.name,
        kind="date",
        parts=("days", *(part for part, numbers in calendar.items() if numbers.n_unique() > 1)),
        reference=first.isoformat(),
        date_format=date_format,
        example=last.strftime(date_format) if date_format else last.isoformat(),
        missing_fraction=1.0 - len(dates) / len(series),
    )


def _learn_text(series: pl.Series, kind: FeatureKind, missing: frozenset[str]) -> Feature | str:
    from sanmaru.tasks.tabular.encode import read_texts

    texts = read_texts(series, missing).drop_nulls()
    if not len(texts):
        return "all values are missing"
    counted = texts.value_counts(name="n").sort(["n", texts.name], descending=[True, False])
    if len(texts) == len(series) and len(counted) == 1:
        return f"every row holds {texts[0]!r}"
    shared: dict[str, Any] = {"name": series.name, "missing_fraction": 1.0 - len(texts) / len(series)}
    if kind == "category" and len(counted) <= MOST_CATEGORIES:
        categories = tuple(counted[texts.name].to_list())
        return Feature(**shared, kind="category", categories=categories, example=categories[0])
    # A value seen once says nothing of another row; it shares the code of the values that were never seen.
    again = counted.filter(pl.col("n") > 1).head(MOST_CODES)
    mean_length = float(texts.str.len_chars().mean() or 0.0)  # type: ignore[arg-type]
    sentences = len(counted) > len(texts) / 2 and mean_length >= _TEXT_LENGTH
    return Feature(
        **shared,
        kind="text" if kind == "text" or sentences or not len(again) else "many",
        categories=tuple(again[texts.name].to_list()),
        counts=tuple(again["n"].to_list()),
        example=str(counted[texts.name][0])[:80],
    )
