"""Labels as texts: how a column of classes is read, whatever type it came in."""

from __future__ import annotations

import polars as pl

POLARS = {"string": pl.String, "integer": pl.Int64, "boolean": pl.Boolean, "float": pl.Float64}
"""The type in which labels are given back, by the name that an `Output` keeps."""


def dtype_name(dtype: pl.DataType) -> str:
    """Return the name of a column's type: `string`, `integer`, `boolean` or `float`."""
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_integer():
        return "integer"
    return "float" if dtype.is_float() else "string"


def label_texts(labels: pl.Series, dtype: str) -> pl.Series:
    """Return labels as the texts that classes are kept as, for a target of type `dtype`.

    A column that was read in another type is brought to the target's own first: 1.0 becomes "1" for an integer.
    """
    if dtype == "integer" and labels.dtype.is_float():
        labels = labels.cast(pl.Int64, strict=False)
    elif dtype == "float" and labels.dtype != pl.Float64:
        labels = labels.cast(pl.Float64, strict=False)
    elif dtype == "boolean" and labels.dtype.is_numeric():
        labels = labels.cast(pl.Boolean)
    return labels.cast(pl.String)


def typed_labels(name: str, texts: tuple[str, ...], dtype: str) -> pl.Series:
    """Return labels kept as texts in the target's own type, as a series called `name`."""
    series = pl.Series(name, list(texts), dtype=pl.String)
    return series == "true" if dtype == "boolean" else series.cast(POLARS[dtype])
