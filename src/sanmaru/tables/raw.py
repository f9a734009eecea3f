"""Files to untyped tables, whatever their form: csv, tsv, parquet, jsonl, or a folder of pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables import pictures, text
from sanmaru.tables.contract import Violation

Form = Literal["text", "jsonl", "parquet", "folder"]
FORMS: dict[str, Form] = {
    ".csv": "text",
    ".tsv": "text",
    ".tab": "text",
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Rows as the source holds them."""

    table: pl.DataFrame
    positions: np.ndarray
    """Position of each row in the source, int64 (n,), from 0, header not counted."""
    violations: tuple[Violation, ...] = ()
    """Rows that could not even be told apart into columns."""
    notes: tuple[str, ...] = ()


def form_of(path: Path) -> Form:
    """Return the form of a file or folder.

    Raises:
        DataError: when it is absent, naming the nearest name there, or of another form.
    """
    if path.is_dir():
        return "folder"
    if not path.exists():
        there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        where = f"{path.parent} is absent too." if not path.parent.is_dir() else nearest(path.name, there[:200])
        raise DataError(f"there is no file or folder {path}. {where}")
    form = FORMS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"{path}: {path.suffix or 'a file without ending'!r} is not a form of table that can be read. "
            f"Use {', '.join(FORMS)}, or a folder of pictures."
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    return form


def read_raw(path: Path, *, encoding: str = "utf-8", labelled: bool = True) -> Raw:
    """Read a whole file.

    Args:
        path: File or folder.
        encoding: Of text files.
        labelled: Whether a folder holds one folder per class.

    Raises:
        DataError: when it cannot be read.
    """
    match form_of(path):
        case "folder":
            listing = pictures.list_folder(path, labelled=labelled)
            return Raw(table=listing.table, positions=_count(listing.table), notes=_ignored(listing.ignored))
        case "parquet":
            table = _parquet(path)
            return Raw(table=table, positions=_count(table))
        case "jsonl":
            parts = list(jsonl_blocks(path, encoding))
        case "text":
            parts = list(text.blocks(path, text.survey(path, encoding), encoding))
    table = pl.concat([part.table for part in parts], how="vertical" if form_of(path) == "text" else "diagonal_relaxed")
    return Raw(
        table=table,
        positions=np.concatenate([part.positions for part in parts]),
        violations=tuple(violation for part in parts for violation in part.violations),
    )


def jsonl_blocks(path: Path, encoding: str = "utf-8", block_bytes: int = text.BLOCK_BYTES) -> Iterator[text.Block]:
    """Yield rows of a file with one JSON object per line, some megabytes at a time.

    Raises:
        DataError: when no line, or fewer than half of the lines of a block, hold an object.
    """
    row = 0
    for raw in text.whole_lines(path, encoding, block_bytes):
        violations: list[Violation] = []
        try:
            table = pl.read_ndjson(raw, infer_schema_length=None)
            positions = np.arange(row, row + len(table), dtype=np.int64)
        except (pl.exceptions.PolarsError, ValueError):
            objects, positions, violations = _objects(path, raw, row)
            table = _from_objects(objects)
        text.check_names(path, table.columns)
        row += len(positions) + len(violations)
        yield text.Block(table, positions, tuple(violations))
    if row == 0:
        raise DataError(f"{path} holds no row.")


def _objects(path: Path, raw: bytes, row: int) -> tuple[list[dict[str, Any]], np.ndarray, list[Violation]]:
    objects: list[dict[str, Any]] = []
    positions: list[int] = []
    violations: list[Violation] = []
    for line in filter(None, (line.strip() for line in raw.splitlines())):
        number = row + len(positions) + len(violations)
        try:
            value = json.loads(line)
            reason = f"row {number} is {type(value).__name__}, not an object"
        except ValueError as error:
            value, reason = None, f"row {number} is not JSON: {error}"
        if isinstance(value, dict):
            objects.append(value)
            positions.append(number)
        else:
            shown = line.decode("utf-8", "replace")[:200]
            violations.append(Violation(row=number, id=None, column="", value=shown, rule="not-json", reason=reason))
    if len(violations) > len(objects):
        raise DataError(f"{path} should hold one JSON object per line: {violations[0].reason}.")
    return objects, np.array(positions, dtype=np.int64), violations


def _from_objects(objects: Iterable[dict[str, Any]]) -> pl.DataFrame:
    rows = list(objects)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return pl.DataFrame([_one_type(name, values) for name, values in columns.items()])


def _one_type(name: str, values: list[Any]) -> pl.Series:
    """Make a series; values of several types become their JSON text, as if they stood in a csv."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds <= {int, float}:
        return pl.Series(name, values, strict=False)
    texts = [None if v is None else v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return pl.Series(name, texts, dtype=pl.String)


def _parquet(path: Path) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    if not len(table):
        raise DataError(f"{path} holds {len(table.columns)} columns and no row.")
    return table


def _count(table: pl.DataFrame) -> np.ndarray:
    return np.arange(len(table), dtype=np.int64)


def _ignored(paths: tuple[str, ...]) -> tuple[str, ...]:
    if not paths:
        return ()
    return (f"{len(paths):,} files are no pictures and were left out, e.g. {', '.join(paths[:3])}",)
