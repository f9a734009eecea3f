"""What can be told of a table's columns before anyone said what they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sanmaru.tables import pictures, types
from sanmaru.tables.contract import Column, Kind

_ORDER_SHARE = 0.99


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One column of a table."""

    name: str
    place: int
    """From 0."""
    column: Column
    values: pl.Series
    """Typed; null where the cell is empty or does not fit."""
    rows: int
    missing: int
    """Empty cells."""
    odd: tuple[str, ...]
    """Up to three cells that do not fit the column's kind, and set their rows aside."""
    odd_rows: int
    distinct: int
    """Different values, the missing one not counted."""

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return self.column.kind

    @property
    def unique(self) -> bool:
        """Whether every row has a value of its own."""
        return self.missing == 0 and self.odd_rows == 0 and self.distinct == self.rows

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers."""
        return self.kind in ("number", "integer")

    @property
    def missing_share(self) -> float:
        """Fraction of empty cells."""
        return self.missing / self.rows


def profile(table: pl.DataFrame, missing: tuple[str, ...]) -> dict[str, Profile]:
    """Return a profile per column that can be learned from (lists and structs are left out)."""
    out = {}
    for place, name in enumerate(table.columns):
        cells = types.clean(table[name], missing)
        if not types.supported(cells.dtype):
            continue
        column = types.detect(cells)
        converted = types.convert(cells, column.kind, column.form)
        odd = cells.filter(converted.bad)
        out[name] = Profile(
            name=name,
            place=place,
            column=column,
            values=converted.series,
            rows=len(cells),
            missing=cells.null_count(),
            odd=tuple(str(cell) for cell in odd.head(3).to_list()),
            odd_rows=len(odd),
            distinct=0 if cells.dtype == pl.Binary else converted.series.drop_nulls().n_unique(),
        )
    return out


def in_order(values: pl.Series) -> str | None:
    """Return `up` or `down` where (nearly) every step of a column that is one goes that way, else None."""
    if values.null_count() > (1 - _ORDER_SHARE) * len(values) or not (
        values.dtype.is_numeric() or values.dtype == pl.Datetime
    ):
        return None
    steps = values.drop_nulls().to_physical().cast(pl.Float64).diff().drop_nulls()
    up, down = int((steps > 0).sum()), int((steps < 0).sum())
    if up + down < 3 or max(up, down) < _ORDER_SHARE * (up + down):
        return None
    return "up" if up >= down else "down"


def counts_on(values: pl.Series) -> bool:
    """Whether a column of whole numbers counts on by one from row to row."""
    return values.dtype == pl.Int64 and values.null_count() == 0 and bool((values.diff().drop_nulls() == 1).all())


def holds_pictures(column: Profile) -> bool:
    """Whether a column's texts are paths of pictures."""
    if column.kind not in ("category", "text"):
        return False
    cells = column.values.drop_nulls().head(50).to_list()
    fitting = sum(Path(cell.replace("\\", "/")).suffix.lower() in pictures.SUFFIXES for cell in cells)
    return len(cells) > 0 and fitting >= 0.9 * len(cells)


def words(name: str) -> set[str]:
    """Return the words of a column's name, lower case: `patientId` and `patient_id` have the same two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return {word for word in re.split(r"[^0-9a-z가-힣]+", spaced.lower()) if word}
