"""Rows to a float64 matrix: one encoder for tables, one for the mappings of an online request, with equal results.

Numbers stay as they are; categories become codes 0 ... n_codes - 1, most frequent first, n_codes for every value that
training did not know (or knew once); dates become days and calendar numbers; NaN is "no value" everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.tabular import cells
from sanmaru.tasks.tabular.schema import Feature, Schema, check_plain

Read = Callable[[Any], float]


class Encoder:
    """Turns rows into the matrix of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        missing = frozenset(schema.missing)
        self._readers = {feature.name: _readers(feature, missing) for feature in schema.features}
        self._moments = {
            feature.name: cells.moment(missing, feature.date_format)
            for feature in schema.features
            if feature.kind == "date"
        }
        self._plan = [self._row_reader(feature) for feature in schema.features]
        self.width = len(schema.encoded)
        self._names = frozenset(feature.name for feature in schema.features)

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Encode a table, float64 (n, width). A column that is absent is a column of missing values.

        Raises:
            DataError: when no feature is there at all, or naming the row and column of a value of the wrong type.
        """
        if not self._names.intersection(table.columns):
            raise DataError(self._unknown("the table", table.columns))
        matrix = np.full((table.height, self.width), np.nan)
        place = 0
        for feature in self.schema.features:
            width = len(feature.encoded())
            if feature.name in table.columns:
                series = table[feature.name]
                check_plain(series)
                if feature.kind == "date":
                    matrix[:, place : place + width] = _date_columns(
                        read_dates(series, self._moments[feature.name]), feature
                    )
                else:
                    for offset, read in enumerate(self._readers[feature.name]):
                        matrix[:, place + offset] = read_column(series, read, numbers=feature.kind == "number")
            place += width
        return matrix

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Encode mappings, float64 (n, width). A missing key is a missing value.

        Raises:
            DataError: naming the row (from 0) and column of a value of the wrong type, or a row without any feature.
        """
        values: list[float] = []
        append, extend, plan = values.append, values.extend, self._plan
        name, row = "", None
        try:
            for row in rows:
                get = row.get
                for name, read, several in plan:
                    if several:
                        extend(read(get(name)))
                    else:
                        append(read(get(name)))
        except cells.WrongCellError as error:
            raise DataError(f"row {len(values) // self.width}, column {name!r}: {error}.") from None
        except AttributeError as error:
            if isinstance(row, Mapping):
                raise
            position = len(values) // self.width
            raise DataError(
                f"row {position} should be a mapping of column names to values, got {row!r:.80}."
            ) from error
        matrix = np.array(values).reshape(len(rows), self.width)
        if any(map(math.isnan, values[:: self.width])):
            self._check_empty(rows, matrix)
        return matrix

    def _check_empty(self, rows: Sequence[Mapping[str, Any]], matrix: np.ndarray) -> None:
        """Refuse rows that name no feature at all: they are a mistake in the keys, not missing values."""
        for position in np.flatnonzero(np.isnan(matrix).all(axis=1)).tolist():
            if not self._names.intersection(rows[position]):
                raise DataError(self._unknown(f"row {position}", list(rows[position])))

    def _unknown(self, what: str, found: Sequence[str]) -> str:
        hint = nearest(str(found[0]), self._names) if found else "Known: " + ", ".join(sorted(self._names)) + "."
        shown = ", ".join(repr(name) for name in found[:10]) or "none"
        return f"{what} has none of the model's columns (it has {shown}). {hint}"

    def _row_reader(self, feature: Feature) -> tuple[str, Callable[[Any], Any], bool]:
        """The feature's name, a function of its cell, and whether that gives several numbers."""
        if feature.kind == "date":
            return feature.name, _date_reader(feature, self._moments[feature.name]), True
        readers = self._readers[feature.name]
        if len(readers) == 1:
            return feature.name, readers[0], False
        return feature.name, lambda value: [read(value) for read in readers], True


def read_column(series: pl.Series, read: Read, *, numbers: bool) -> np.ndarray:
    """Apply a cell function to a column, float64 (n,).

    Args:
        series: The column.
        read: One of the functions of `cells`.
        numbers: Whether it is `cells.number`, which has a vectorised equal for numeric columns.

    Raises:
        DataError: naming the first row (from 0) of a value of the wrong type.
    """
    dtype = series.dtype
    if numbers and dtype.is_numeric() and not dtype.is_decimal():
        values = series.cast(pl.Float64).fill_null(math.nan).to_numpy(writable=True)
        values[np.isinf(values)] = np.nan
        return values
    plain, found = _distinct(series)
    try:
        mapped = pl.Series([read(value) for value in found.to_list()], dtype=pl.Float64)
    except cells.WrongCellError:
        raise _located(plain, found, read) from None
    if not len(found):
        return np.full(len(series), np.nan)
    looked_up = plain.replace_strict(found, mapped, default=None, return_dtype=pl.Float64)
    return looked_up.fill_null(math.nan).to_numpy(writable=True)


def read_dates(series: pl.Series, read: Callable[[Any], datetime | None]) -> pl.Series:
    """Return a column as datetimes in microseconds without zone (UTC where it had one).

    Raises:
        DataError: naming the first row (from 0) of a value that is no date.
    """
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.dt.cast_time_unit("us")
    if dtype == pl.Date:
        return series.cast(pl.Datetime("us"))
    plain, found = _distinct(series)
    try:
        dates = [read(value) for value in found.to_list()]
    except cells.WrongCellError:
        raise _located(plain, found, read) from None
    target = pl.Datetime("us")
    if not len(found):
        return pl.Series(series.name, [None] * len(series), dtype=target)
    return plain.replace_strict(found, pl.Series(dates, dtype=target), default=None, return_dtype=target)


def read_texts(series: pl.Series, missing: frozenset[str]) -> pl.Series:
    """Return a column as the texts under which its values are counted as categories, null for missing."""
    plain, found = _distinct(series)
    texts = [text if text not in missing else None for text in map(cells.cell_text, found.to_list())]
    if not len(found):
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    return plain.replace_strict(found, pl.Series(texts, dtype=pl.String), default=None, return_dtype=pl.String).rename(
        series.name
    )


def _distinct(series: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The column in a type whose values can be looked up, NaN as null, and its distinct values without null."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)
    elif series.dtype.is_decimal() or series.dtype == pl.Float32:
        series = series.cast(pl.Float64)
    if series.dtype.is_float():
        series = series.fill_nan(None)
    return series, series.drop_nulls().unique(maintain_order=True)


def _located(plain: pl.Series, found: pl.Series, read: Callable[[Any], Any]) -> DataError:
    """The error of the first value, in the order of the rows, that cannot be read."""
    for value in found.to_list():
        try:
            read(value)
        except cells.WrongCellError as error:
            row = int((plain == value).arg_max() or 0)
            return DataError(f"row {row}, column {plain.name!r}: {error}.")
    raise AssertionError("a value that could not be read can be read")


def _readers(feature: Feature, missing: frozenset[str]) -> tuple[Read, ...]:
    """The cell functions of a feature's columns, in the order of `Feature.encoded`; none for dates."""
    match feature.kind:
        case "number":
            return (cells.number(missing, feature.unit),)
        case "boolean":
            return (cells.boolean(missing),)
        case "date":
            return ()
    codes = {category: float(code) for code, category in enumerate(feature.categories)}
    readers = [cells.lookup(codes, float(len(codes)), missing)]
    if feature.kind == "category":
        return tuple(readers)
    # Values known once and unknown ones are alike: log(1 + 1) for both.
    logs = {text: math.log1p(n) for text, n in zip(feature.categories, feature.counts, strict=True)}
    readers.append(cells.lookup(logs, math.log1p(1), missing))
    if not codes:
        readers.clear()
    if feature.kind == "text":
        readers.append(cells.text_number(lambda text: float(len(text)), missing))
        readers.append(cells.text_number(lambda text: float(len(text.split())), missing))
    return tuple(readers)


def _date_columns(dates: pl.Series, feature: Feature) -> np.ndarray:
    """Calendar numbers of a column of datetimes, float64 (n, parts)."""
    reference = datetime.fromisoformat(feature.reference or "")
    start = (reference - cells.EPOCH) // timedelta(microseconds=1)
    calendar = {
        "year": dates.dt.year,
        "month": dates.dt.month,
        "day": dates.dt.day,
        "weekday": dates.dt.weekday,
        "hour": dates.dt.hour,
    }
    out = np.empty((len(dates), len(feature.parts)))
    for place, part in enumerate(feature.parts):
        numbers = dates.dt.epoch("us") - start if part == "days" else calendar[part]()
        out[:, place] = numbers.cast(pl.Float64).fill_null(math.nan).to_numpy()
        if part == "days":
            # NumPy divides; Polars multiplies by the reciprocal, which differs from the row encoder in the last bit.
            out[:, place] /= cells.MICROSECONDS_PER_DAY
    return out


def _date_reader(feature: Feature, read: Callable[[Any], datetime | None]) -> Callable[[Any], Sequence[float]]:
    reference = datetime.fromisoformat(feature.reference or "")
    parts = [cells.DATE_PARTS[part] for part in feature.parts]
    empty = [math.nan] * len(parts)

    def numbers(value: Any) -> Sequence[float]:
        moment = read(value)
        return empty if moment is None else [part(moment, reference) for part in parts]

    return numbers
