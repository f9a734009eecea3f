"""Rows as a caller gives them, held against a signature."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables.contract import Column, Quarantine, Violation
from sanmaru.tables.types import clean, convert
from sanmaru.tasks.base import Signature


def typed_table(table: pl.DataFrame, signature: Signature) -> tuple[pl.DataFrame, Quarantine]:
    """Give a table the types of a signature.

    Returns:
        The id, where the table has one, and the inputs, all rows; and the cells that do not fit, which are null.

    Raises:
        DataError: when an input column is missing, naming the nearest column that is there.
    """
    absent = [column.name for column in signature.inputs if column.name not in table.columns]
    if absent:
        spare = [name for name in table.columns if name not in {column.name for column in signature.inputs}]
        hints = " ".join(f"{name!r} is missing. {nearest(name, spare)}" for name in absent[:3])
        raise DataError(
            f"{len(absent)} of the model's {len(signature.inputs)} input columns are not in the table: {hints}"
            + (f" Also missing: {', '.join(absent[3:13])}." if absent[3:] else "")
        )
    names = {column.name for column in signature.inputs}
    ids = table[signature.id] if signature.id in table.columns else None
    columns = [] if ids is None or signature.id in names else [ids]
    violations: list[Violation] = []
    for column in signature.inputs:
        series = clean(table[column.name], signature.missing)
        converted = convert(series, column.kind, column.form)
        columns.append(converted.series)
        bad = [(row, converted.rule, f"is not {_article(column.kind)}") for row in converted.bad.arg_true().to_list()]
        if column.required:
            bad += [(row, "missing-value", "is missing") for row in series.is_null().arg_true().to_list()]
        for row, rule, reason in bad:
            identifier = None if ids is None else str(ids[row])
            value = str(table[column.name][row])[:200]
            violations.append(
                Violation(row=row, id=identifier, column=column.name, value=value, rule=rule, reason=reason)
            )
    violations.sort(key=lambda violation: violation.row)
    return pl.DataFrame(columns), Quarantine(tuple(violations))


def table_of_rows(rows: Sequence[Mapping[str, Any]], signature: Signature) -> pl.DataFrame:
    """Make a typed table of plain rows; a missing key is a missing value.

    Raises:
        DataError: naming the row and column of a value that does not fit.
    """
    columns = [_series(column, [row.get(column.name) for row in rows]) for column in signature.inputs]
    table, quarantine = typed_table(pl.DataFrame(columns), signature)
    for violation in quarantine.violations:
        raise DataError(f"row {violation.row}: {violation.column} {violation.value!r} {violation.reason}.")
    return table


def check_names(row: Mapping[str, Any], signature: Signature) -> None:
    """Refuse a row that lacks an input and has another key that looks like a slip for it.

    Raises:
        DataError: naming both.
    """
    inputs = [column.name for column in signature.inputs]
    spare = [name for name in row if name not in inputs and name != signature.id]
    for name in inputs:
        if name in row:
            continue
        slips = [other for other in spare if _folded(other) == _folded(name)]
        slips = slips or difflib.get_close_matches(name, spare, n=1, cutoff=0.8)
        if slips:
            raise DataError(f"unknown column {slips[0]!r} in a row that lacks {name!r}. Did you mean {name!r}?")
    if not any(name in row for name in inputs):
        raise DataError(f"a row has none of the model's inputs ({_listed(inputs)}); it has: {_listed(row)}.")


def _series(column: Column, values: list[Any]) -> pl.Series:
    if column.kind == "image":
        as_bytes = any(isinstance(value, bytes) for value in values)
        return pl.Series(column.name, values, dtype=pl.Binary if as_bytes else pl.String)
    plain = all(value is None or isinstance(value, int | float) for value in values)
    if plain and column.kind in ("number", "integer"):
        return pl.Series(column.name, values, dtype=pl.Float64, strict=False)
    return pl.Series(column.name, [_text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _folded(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return (", ".join(names[:8]) + (" ..." if names[8:] else "")) or "nothing"
