"""What is odd about the cells of a table as it was written, and how it was read: told, never silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sanmaru.tables.contract import Column
from sanmaru.tables.roles import Roles

_THOUSANDS = r"^[^\d]*\d{1,3}(,\d{3})+"
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """One way of writing in one column, and how many cells have it."""

    column: str
    kind: str
    """`missing-marker`, `unit`, `thousands`, `words` (yes and no) or `date-format`."""
    what: str
    """The marker, the unit, the words, the format."""
    cells: int


def oddities(raw: pl.Series, column: Column, missing: Sequence[str]) -> list[Oddity]:
    """Look at a column's cells as they were written.

    Args:
        raw: Before blanks were stripped and markers became null.
        column: What the column was found to hold.
        missing: Cell texts that mean "no value".
    """
    if raw.dtype != pl.String:
        return []
    cells = raw.str.strip_chars()
    markers = cells.filter(cells.is_in([text for text in missing if text])).value_counts(sort=True)
    out = [
        Oddity(column=column.name, kind="missing-marker", what=text, cells=count) for text, count in markers.iter_rows()
    ]
    present = len(cells) - cells.null_count() - sum(one.cells for one in out)
    if column.kind in ("number", "integer"):
        if column.unit is not None:
            out.append(Oddity(column=column.name, kind="unit", what=column.unit, cells=present))
        commas = int(cells.str.contains(_THOUSANDS).sum())
        if commas:
            out.append(Oddity(column=column.name, kind="thousands", what=",", cells=commas))
    elif column.kind == "boolean":
        words = sorted(set(cells.drop_nulls().unique().to_list()) - set(missing))
        if {word.lower() for word in words} - {"true", "false", "0", "1"}:
            out.append(Oddity(column=column.name, kind="words", what=", ".join(words), cells=present))
    elif column.kind == "date" and column.date_format and not column.date_format.startswith("%Y-%m-%d"):
        out.append(Oddity(column=column.name, kind="date-format", what=column.date_format, cells=present))
    return out


_TOLD = {
    "missing-marker": "{cells:,} cells {what!r} were taken as no value ({columns})",
    "unit": "numbers with the unit {what} were read without it ({columns})",
    "thousands": "{cells:,} numbers have thousands set off by commas ({columns})",
    "words": "{what} were read as yes and no ({columns})",
    "date-format": "dates are written as {what} ({columns})",
}


def told(found: Sequence[Oddity]) -> list[str]:
    """Return one sentence, without full stop, per way of writing, with the columns that have it."""
    groups: dict[tuple[str, str], list[Oddity]] = {}
    for one in found:
        groups.setdefault((one.kind, one.what), []).append(one)
    out = []
    for (kind, what), members in groups.items():
        names = ", ".join(one.column for one in members[:_MOST_NAMED])
        more = f" and {len(members) - _MOST_NAMED} more" if len(members) > _MOST_NAMED else ""
        total = sum(one.cells for one in members)
        out.append(_TOLD[kind].format(cells=total, what=what, columns=names + more))
    return out


def twins(table: pl.DataFrame, roles: Roles) -> pl.Series:
    """Tell which rows equal another in every column but the id, as a number per set of equal rows; null for the rest.

    Pictures are compared by path, so this is for tables.
    """
    names = [name for name in table.columns if name != roles.id]
    if not names:
        return pl.Series("twin", [None] * len(table), dtype=pl.Int64)
    rows = table.select(pl.struct(names).alias("row"))["row"]
    same = rows.is_duplicated()
    if not same.any():
        return pl.Series("twin", [None] * len(table), dtype=pl.Int64)
    groups = table.with_row_index("#place").group_by(names, maintain_order=True).agg("#place").with_row_index("#set")
    placed = groups.explode("#place").sort("#place")["#set"].cast(pl.Int64)
    return pl.select(pl.when(same).then(placed).alias("twin")).to_series()


def twin_note(table: pl.DataFrame, roles: Roles, fold: np.ndarray) -> str | None:
    """Say how many rows equal an earlier one, and how many sets of equal rows the folds tear apart; None for none.

    Args:
        table: The usable rows.
        roles: Name the id column.
        fold: int64 (n,), each row's fold.
    """
    found = twins(table, roles)
    present = found.is_not_null()
    if not present.any():
        return None
    sets = pl.DataFrame({"twin": found, "fold": fold}).filter(present).group_by("twin")
    n_folds = sets.agg(pl.col("fold").n_unique())["fold"]
    copies, torn = int(present.sum()) - len(n_folds), int((n_folds > 1).sum())
    apart = f"; {torn:,} sets of equal rows lie in several folds, where one tells the other" if torn else ""
    return f"{copies:,} rows equal an earlier one in every column but the id{apart} (data.duplicates: drop)"
