"""Tables written batch by batch, to a file that appears whole: csv, tsv, jsonl or parquet by its extension."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.files import whole

if TYPE_CHECKING:
    import polars as pl

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def check_extension(path: Path) -> None:
    """Refuse an output whose extension names no format.

    Raises:
        DataError: naming the known extensions.
    """
    if path.suffix.lower() not in EXTENSIONS:
        got = path.suffix or "none"
        raise DataError(f"the output {path} should end with one of {', '.join(EXTENSIONS)}, got {got!r}.")


class Sink:
    """An open table file to which batches of the same columns are written."""

    def __init__(self, path: Path, extension: str) -> None:
        self.rows = 0
        self._extension = extension
        self._handle = path.open("wb")
        self._parquet: Any = None
        self._started = False

    def write(self, batch: pl.DataFrame) -> None:
        """Append a batch. An empty one still writes the header."""
        match self._extension:
            case ".parquet":
                import pyarrow.parquet as pq

                # Arrow's older string type is what every Parquet reader knows.
                table = batch.to_arrow(compat_level=_oldest())
                if self._parquet is None:
                    self._parquet = pq.ParquetWriter(self._handle, table.schema, compression="zstd")
                self._parquet.write_table(table.cast(self._parquet.schema))
            case ".csv" | ".tsv":
                separator = "\t" if self._extension == ".tsv" else ","
                batch.write_csv(self._handle, include_header=not self._started, separator=separator)
            case _:
                batch.write_ndjson(self._handle)
        self._started = True
        self.rows += len(batch)

    def close(self) -> None:
        """Write what is still held back."""
        if self._parquet is not None:
            self._parquet.close()
        self._handle.close()


@contextlib.contextmanager
def open_sink(path: Path) -> Iterator[Sink]:
    """Open a file for batches; it appears whole when the block ends, and not at all when it fails."""
    check_extension(path)
    with whole(path) as beside:
        sink = Sink(beside, path.suffix.lower())
        try:
            yield sink
        finally:
            sink.close()


def _oldest() -> Any:
    import polars as pl

    return pl.CompatLevel.oldest()
