"""Tables at the border of the Python interface: polars, pandas and Arrow come in, the caller's own kind goes out."""

from __future__ import annotations

from typing import Any

import polars as pl

from sanmaru.errors import DataError


def to_polars(frame: Any) -> pl.DataFrame:
    """Return a polars table from a polars, pandas or Arrow table, a mapping of columns or a list of mappings.

    A pandas index is left out unless it has a name. Nothing is copied where the types allow it.

    Raises:
        DataError: for anything else.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if _is_pandas(frame):
        repeated = frame.columns[frame.columns.duplicated()]
        if len(repeated):
            raise DataError(f"the pandas frame has the column {repeated[0]!r} more than once. Rename one.")
        if frame.index.name is not None and frame.index.name not in frame.columns:
            frame = frame.reset_index()
        frame = frame.rename(columns=str)
        try:
            return pl.DataFrame(pl.from_pandas(frame))
        except Exception as error:  # pyarrow's own errors, which differ by version
            raise DataError(f"the pandas frame has a column of mixed types: {error}") from error
    if hasattr(frame, "__arrow_c_stream__"):
        return pl.DataFrame(frame)
    if isinstance(frame, dict) or (isinstance(frame, list | tuple) and all(isinstance(row, dict) for row in frame)):
        try:
            return pl.DataFrame(frame, infer_schema_length=None)
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(f"the rows do not make a table: {error}") from error
    kind = f"{type(frame).__module__}.{type(frame).__name__}"
    raise DataError(f"expected a polars or pandas table, or a list of mappings, got {kind}.")


def like(frame: Any, table: pl.DataFrame) -> Any:
    """Return `table` in the kind of `frame`: pandas for pandas (with its index), else polars."""
    if not _is_pandas(frame):
        return table
    out = table.to_pandas()
    if len(out) == len(frame):
        out.index = frame.index
    return out


def _is_pandas(frame: Any) -> bool:
    return type(frame).__module__.split(".")[0] == "pandas" and hasattr(frame, "columns")
