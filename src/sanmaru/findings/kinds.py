"""What each column of a table holds, as the reports treat it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from sanmaru.tables.contract import Column, Kind
from sanmaru.tables.roles import Roles


def column_kinds(table: pl.DataFrame, columns: Sequence[Column]) -> dict[str, Kind]:
    """Return the kind of every column of the table: as its record says, else by its type."""
    recorded = {column.name: column.kind for column in columns}
    return {name: recorded.get(name) or _by_type(table.schema[name]) for name in table.columns}


def described(table: pl.DataFrame, roles: Roles, columns: Sequence[Column]) -> dict[str, Kind]:
    """Return the columns that distributions are shown of: features and time. Each task shows its own target."""
    kinds = column_kinds(table, columns)
    wanted = [*roles.features, *([roles.time] if roles.time else [])]
    left_out = {roles.id, roles.image, roles.group}
    return {
        name: kinds[name]
        for name in dict.fromkeys(wanted)
        if name in kinds and name not in left_out and kinds[name] != "image"
    }


def is_numeric(kind: Kind) -> bool:
    """Whether values of this kind have an order and a distance."""
    return kind in {"number", "integer"}


def _by_type(dtype: pl.DataType) -> Kind:
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "date"
    if dtype == pl.Binary:
        return "image"
    return "category"
