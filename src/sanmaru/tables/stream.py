"""Rows to predict, batch after batch, in memory that does not grow with the file.

Columns are held to a model's signature: a value of the wrong type sets its row aside and is counted, columns that the
signature does not know are not even converted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables import person_folders, pictures, text, types
from sanmaru.tables.contract import Column, Quarantine, Violation
from sanmaru.tables.raw import form_of, jsonl_blocks
from sanmaru.tables.read import as_key
from sanmaru.tables.roles import ROW_ID

_BLOCK_BYTES = 2 << 20


def stream_rows(
    path: Path,
    signature_inputs: Sequence[Column],
    *,
    id: str | None,
    missing: Sequence[str],
    images: Path | None = None,
    batch_rows: int = 20_000,
    encoding: str = "utf-8",
) -> Iterator[tuple[pl.DataFrame, Quarantine]]:
    """Yield batches of usable rows, and the rows of the same batch that are not.

    Args:
        path: csv, tsv, jsonl, parquet, or a folder of pictures.
        signature_inputs: What the model takes; a column `kind="image"` holds paths (or bytes).
        id: Column that names a row; where None, or `row` and absent, rows are numbered from 0 in a column `row`. In
            every batch it is Int64 where all ids of a text file are whole numbers, else text.
        missing: Cell texts that mean "no value".
        images: Folder that pictures' paths are relative to; the file's own folder, or `images` in it, where None.
        batch_rows: Rows of a batch, at most.
        encoding: Of text files.

    A table may lack the picture column (and the id) where another column holds names of pictures: that one is taken.

    Yields:
        The table, with the id column first and then the inputs in the signature's order, typed; and its quarantine,
        whose row numbers count through the whole file.

    Raises:
        DataError: when the file cannot be read or lacks a column, naming the nearest one it has.
    """
    path = path.resolve()
    reader = _Batches(path, tuple(signature_inputs), id, tuple(missing), images)
    for block in _blocks(path, reader, batch_rows, encoding):
        for start in range(0, max(len(block.table), 1), batch_rows):
            part = slice(start, start + batch_rows)
            last = start + batch_rows >= len(block.table)
            broken = block.violations if last else ()
            yield reader.typed(text.Block(block.table[part], block.positions[part], broken))


def _blocks(path: Path, reader: _Batches, batch_rows: int, encoding: str) -> Iterator[text.Block]:
    match form_of(path):
        case "folder":
            listing = pictures.list_folder(path, labelled=False)
            reader.images = path
            for start in range(0, len(listing.table), batch_rows):
                table = listing.table[start : start + batch_rows]
                yield text.Block(reader.as_signature(table), _numbered(start, table), ())
        case "parquet":
            yield from _parquet(path, reader, batch_rows)
        case "jsonl":
            yield from jsonl_blocks(path, encoding, _BLOCK_BYTES)
        case "text":
            layout = text.survey(path, encoding)
            reader.check(layout.names)
            if reader.id in layout.names:
                ids = text.blocks(path, layout, encoding, _BLOCK_BYTES, only=reader.id)
                reader.whole_ids = all(
                    as_key(types.clean(block.table[reader.id], reader.missing)).dtype == pl.Int64 for block in ids
                )
            yield from text.blocks(path, layout, encoding, _BLOCK_BYTES)


def _parquet(path: Path, reader: _Batches, batch_rows: int) -> Iterator[text.Block]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    with file:
        reader.check(file.schema_arrow.names)
        wanted = reader.wanted(file.schema_arrow.names)
        start = 0
        for batch in file.iter_batches(batch_size=batch_rows, columns=wanted or None):
            table = pl.DataFrame(pl.from_arrow(batch))
            yield text.Block(table, _numbered(start, table), ())
            start += len(table)


def _numbered(start: int, table: pl.DataFrame) -> np.ndarray:
    return np.arange(start, start + len(table), dtype=np.int64)


class _Batches:
    """Types batches by a signature."""

    def __init__(
        self, path: Path, inputs: tuple[Column, ...], id_: str | None, missing: tuple[str, ...], images: Path | None
    ) -> None:
        self.path, self.inputs, self.id, self.missing, self.images = path, inputs, id_ or ROW_ID, missing, images
        self._lost: tuple[str, ...] = ()
        """Picture and id columns that the file lacks, where another column may hold the pictures' names."""
        self.names = tuple(dict.fromkeys([self.id, *(column.name for column in inputs)]))
        self.whole_ids: bool | None = None
        """Whether every id is a whole number; told by the first batch where None."""
        self._checked = False

    def check(self, names: Sequence[str]) -> None:
        """Refuse a file that lacks columns, or has one of them twice."""
        text.check_names(self.path, names)
        lost = [name for name in self.names if name not in names and name != ROW_ID]
        alone = len(self.inputs) == 1 and self.inputs[0].kind == "image"
        if alone and self.inputs[0].name in lost and set(lost) <= set(self.names):
            self._lost = tuple(lost)
            return
        self._refuse(lost, names)

    def _refuse(self, lost: Sequence[str], names: Sequence[str]) -> None:
        if lost:
            others = f" and {len(lost) - 1} more ({', '.join(lost[1:6])})" if len(lost) > 1 else ""
            raise DataError(
                f"{self.path} has no column {lost[0]!r}{others}, which the model needs. {nearest(lost[0], names)}"
            )

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Return the columns of a file that have to be read; none for all."""
        return [] if self._lost else [name for name in self.names if name in names]

    def as_signature(self, listing: pl.DataFrame) -> pl.DataFrame:
        """Give the columns of a folder's listing the names that the signature has for picture and id."""
        image = next((column.name for column in self.inputs if column.kind == "image"), None)
        if image is None:
            raise DataError(f"{self.path} is a folder of pictures, and the model takes {', '.join(self.names[1:])}.")
        table = listing.select(listing[pictures.IMAGE].alias(image), listing[pictures.PATH].alias(self.id))
        if len(self.inputs) > 1:
            self.check(table.columns)
        return table

    def typed(self, block: text.Block) -> tuple[pl.DataFrame, Quarantine]:
        """Convert one batch."""
        table = block.table
        if not self._checked and len(table):
            # Later rows of a jsonl file may all leave out a key; a key that the first megabytes lack is refused.
            self.check(table.columns)
            self._checked = True
        if self._lost:
            found = person_folders.picture_column(table)
            if found is None:
                self._refuse(self._lost, table.columns)
            else:
                table = table.with_columns(table[found].alias(name) for name in self._lost)
                block = text.Block(table, block.positions, block.violations)
        ids = self._ids(block)
        out: dict[str, pl.Series] = {self.id: ids}
        usable = np.ones(len(ids), dtype=bool)
        broken = list(block.violations)

        def set_aside(bad: np.ndarray, raw: pl.Series, rule: str, reason: str) -> None:
            nonlocal usable
            usable &= ~bad
            for i in np.flatnonzero(bad):
                cell = raw[int(i)]
                value = "" if cell is None else str(cell)[:200]
                row, name = int(block.positions[i]), str(ids[int(i)])
                broken.append(
                    Violation(row=row, id=name, column=raw.name, value=value, rule=rule, reason=f"{value!r} {reason}")
                )

        for column in self.inputs:
            if column.name not in table.columns:
                table = table.with_columns(pl.lit(None, pl.String).alias(column.name))
            cells = types.clean(table[column.name], self.missing)
            if column.kind == "image":
                if self.images is None:
                    named = cells.dtype == pl.String and len(cells) > 0
                    self.images = person_folders.nearby(cells, self.path.parent) if named else self.path.parent
                if cells.dtype == pl.String:
                    cells, absent = pictures.resolve(cells, self.images)
                else:
                    absent = cells.is_null()
                set_aside(absent.to_numpy(), table[column.name], "missing-image", f"is no file in {self.images}")
                out[column.name] = cells
                continue
            converted = types.convert(cells, column.kind, column.form)
            out[column.name] = converted.series
            kind = {"integer": "number"}.get(column.kind, column.kind)
            set_aside(converted.bad.to_numpy(), table[column.name], converted.rule, f"is not a {kind}")
            if column.required:
                set_aside(cells.is_null().to_numpy(), table[column.name], "missing-value", "is missing and required")
        frame = pl.DataFrame(list(out.values())).filter(pl.Series(usable, dtype=pl.Boolean))
        return frame, Quarantine(tuple(sorted(broken, key=lambda violation: violation.row)))

    def _ids(self, block: text.Block) -> pl.Series:
        if self.id not in block.table.columns:
            return pl.Series(self.id, block.positions, dtype=pl.Int64)
        cells = types.clean(block.table[self.id], self.missing)
        ids = as_key(cells)
        if self.whole_ids is None and len(ids):
            self.whole_ids = ids.dtype == pl.Int64
        if self.whole_ids and ids.dtype != pl.Int64:
            raise DataError(
                f"{self.path}: the ids in {self.id!r} are whole numbers before row {int(block.positions[0]):,} and "
                "text from there on. Write them all as text."
            )
        return ids if self.whole_ids else cells.cast(pl.String)
