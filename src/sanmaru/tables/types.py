"""What a column holds: told from its cells when training, and held to that ever after.

`detect` looks at a whole column and says what it is; `convert` turns cells into that kind and marks the ones that do
not fit. Reading uses both, streaming only the second, so that a file to predict is read as the training table was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import polars as pl

from sanmaru.tables import dates, quantities
from sanmaru.tables.contract import Column, Kind

NUMBER_SHARE = 0.95
"""A text column is a number (or date) column when at least this fraction of its cells reads as one."""
FEW_VALUES = 20
"""Columns with at most so many different numbers and repeated texts among them hold codes, not numbers."""
CATEGORIES_KEPT = 1000
"""A column with more different values keeps no list of them in its record."""
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_CODE = r"^[+-]?0\d{2,}"
YES_NO = (
    ("true", "false"),
    ("t", "f"),
    ("yes", "no"),
    ("y", "n"),
    ("o", "x"),
    ("예", "아니오"),
    ("예", "아니요"),
    ("네", "아니오"),
    ("네", "아니요"),
    ("참", "거짓"),
    ("유", "무"),
)
"""Pairs of words, lower case, that make a column of booleans where it holds both and nothing else."""
TRUE = frozenset({"1", *(yes for yes, _ in YES_NO)})
FALSE = frozenset({"0", *(no for _, no in YES_NO)})
"""What is read as yes or no in a column of booleans."""


@dataclass(frozen=True)
class Converted:
    """A column in its kind, and the cells that do not fit it."""

    series: pl.Series
    bad: pl.Series
    """Boolean (n,): cells that hold something, but not what the column holds. They are null in `series`."""
    rule: str = ""


def clean(series: pl.Series, missing: Sequence[str]) -> pl.Series:
    """Strip blanks around texts and turn markers of a missing value into null; other types stay, NaN becomes null."""
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        name = series.name
        stripped = series.str.strip_chars()
        return pl.select(pl.when(~stripped.is_in(list(missing))).then(stripped).alias(name)).to_series()
    if series.dtype.is_float():
        return series.fill_nan(None)
    return series


def detect(series: pl.Series, *, booleans: bool = True) -> Column:
    """Say what a cleaned column holds: its kind, the format of dates, the unit of numbers. `describe` adds the rest.

    Args:
        series: As `clean` returns it.
        booleans: Whether true/false texts make a boolean column. Not so for targets, whose labels are given back in
            the data's own spelling.
    """
    kind, form = _kind(series, booleans)
    is_date = kind == "date"
    return Column(name=series.name, kind=kind, date_format=form if is_date else None, unit=None if is_date else form)


def told(series: pl.Series, wanted: str) -> Column:
    """Return the record of a cleaned column whose kind the project file says (`data.types`).

    Args:
        series: As `clean` returns it.
        wanted: A kind, or a format of dates.
    """
    cells = series.drop_nulls() if series.dtype == pl.String else pl.Series(series.name, [], dtype=pl.String)
    if "%" in wanted:
        return Column(name=series.name, kind="date", date_format=wanted)
    if wanted == "date":
        return Column(name=series.name, kind="date", date_format=dates.find_format("date", cells, 0.5))
    unit = None
    if wanted in ("number", "integer"):
        sample = cells.gather_every(max(1, len(cells) // 1000))
        unit = quantities.find_unit(sample.filter(parse_numbers(sample).is_null()).to_list(), 0.5, sure=True)
    return Column(name=series.name, kind=cast(Kind, wanted), unit=unit)


def describe(column: Column, series: pl.Series) -> Column:
    """Return the column's record with what its values show: range, categories, an example."""
    present = series.drop_nulls()
    low = high = None
    categories = None
    if column.kind in ("number", "integer") and len(present):
        low, high = float(present.min()), float(present.max())  # type: ignore[arg-type]
    if column.kind == "category" and present.n_unique() <= CATEGORIES_KEPT:
        counts = present.value_counts().sort(["count", series.name], descending=[True, False])
        categories = tuple(counts[series.name].to_list())
    example: Any = None
    if categories:
        example = categories[0]
    elif low is not None:
        example = present.quantile(0.5, "nearest")
        example = int(example) if present.dtype.is_integer() else example
    elif len(present) and column.kind != "image":
        example = present[len(present) // 2]
        example = example.isoformat(sep=" ") if column.kind == "date" else example
    return Column(
        name=column.name,
        kind=column.kind,
        required=column.required,
        categories=categories,
        low=low,
        high=high,
        example=example,
        date_format=column.date_format,
        unit=column.unit,
    )


def supported(dtype: pl.DataType) -> bool:
    """Whether a column of this type can be learned from (lists and structs cannot)."""
    return not (dtype.is_nested() or dtype == pl.Object)


def convert(series: pl.Series, kind: Kind, form: str | None = None) -> Converted:
    """Turn a cleaned column into a kind.

    Integers become Int64 (Float64 where a cell has a fraction), numbers Float64, booleans Boolean, dates Datetime,
    categories and text String; pictures are left as they are. `form` is the format of dates or the unit of numbers.
    """
    match kind:
        case "number" | "integer":
            return _numbers(series, whole=kind == "integer", unit=form)
        case "boolean":
            return _booleans(series)
        case "date":
            return _dates(series, form)
        case "category" | "text":
            return Converted(_texts(series), _none(series))
        case "image":
            return Converted(series, _none(series))


def _kind(series: pl.Series, booleans: bool) -> tuple[Kind, str | None]:
    dtype = series.dtype
    if dtype == pl.Boolean:
        return "boolean", None
    if dtype.is_integer():
        form = dates.find_compact(series.name, series.drop_nulls().cast(pl.String), NUMBER_SHARE)
        return ("date", form) if form else ("integer", None)
    if dtype.is_numeric() or dtype in (pl.Duration, pl.Time):
        return "number", None
    if dtype in (pl.Date, pl.Datetime):
        return "date", None
    if dtype != pl.String:
        return ("image", None) if dtype == pl.Binary else ("category", None)
    return _kind_of_texts(series.drop_nulls(), booleans)


def _kind_of_texts(cells: pl.Series, booleans: bool) -> tuple[Kind, str | None]:
    if not len(cells):
        return "category", None
    sample = cells.gather_every(max(1, len(cells) // 1000))
    plain = 1 - parse_numbers(sample).null_count() / len(sample)
    unit = None
    if plain < NUMBER_SHARE:
        unit = quantities.find_unit(sample.to_list(), NUMBER_SHARE)
    if plain < 0.5 and unit is None:
        return _kind_of_words(cells, booleans)
    numbers = parse_numbers(cells, unit)
    share = float(numbers.is_not_null().mean())  # type: ignore[arg-type]
    if share >= NUMBER_SHARE and not cells.str.contains(_CODE).any():
        form = dates.find_compact(cells.name, cells, NUMBER_SHARE)
        if form:
            return "date", form
        odd = cells.filter(numbers.is_null())
        if len(odd) > odd.n_unique() and numbers.n_unique() <= FEW_VALUES + 1:
            return "category", None
        return ("integer" if _all_whole(numbers, cells if unit is None else None) else "number"), unit
    return _kind_of_words(cells, booleans)


def _kind_of_words(cells: pl.Series, booleans: bool) -> tuple[Kind, str | None]:
    if booleans and _is_yes_no(cells):
        return "boolean", None
    form = dates.find_format(cells.name, cells, NUMBER_SHARE)
    if form:
        return "date", form
    return ("text" if _is_prose(cells) else "category"), None


def _is_yes_no(cells: pl.Series) -> bool:
    words = set(cells.str.to_lowercase().unique().head(4).to_list())
    return words <= {"true", "false"} or any(words == set(pair) for pair in YES_NO)


def parse_numbers(cells: pl.Series, unit: str | None = None) -> pl.Series:
    """Read texts as Float64; thousands may be set off by commas, and the unit may stand with the number.

    What is no finite number becomes null.
    """
    if unit is not None or not cells.str.contains(r"^[\x00-\x7f]*$").all():
        found = cells.drop_nulls().unique()
        read = pl.Series([quantities.read(cell, unit) for cell in found.to_list()], dtype=pl.Float64)
        return _finite(cells.replace_strict(found, read, default=None, return_dtype=pl.Float64).alias(cells.name))
    numbers = cells.cast(pl.Float64, strict=False)
    if numbers.null_count() > cells.null_count() and cells.str.contains(_THOUSANDS).any():
        plain = pl.when(cells.str.contains(_THOUSANDS)).then(cells.str.replace_all(",", "")).otherwise(cells)
        numbers = pl.select(plain.alias(cells.name)).to_series().cast(pl.Float64, strict=False)
    return _finite(numbers)


def _finite(numbers: pl.Series) -> pl.Series:
    return pl.select(pl.when(numbers.is_finite()).then(numbers).alias(numbers.name)).to_series()


def _all_whole(numbers: pl.Series, cells: pl.Series | None) -> bool:
    """Whether all numbers are whole; where cells are given, also written so."""
    if not bool((numbers == numbers.floor()).all()):
        return False
    if cells is None:
        return _fits_int64(numbers)
    present = cells.filter(numbers.is_not_null())
    plain = present.str.replace_all(",", "").cast(pl.Int64, strict=False)
    return plain.null_count() == 0


def _is_prose(cells: pl.Series) -> bool:
    """Mostly different and several words long: sentences rather than names of things."""
    sample = cells.head(2000)
    words = float(sample.str.count_matches(r"\s+").mean()) + 1  # type: ignore[arg-type]
    length = float(sample.str.len_chars().mean())  # type: ignore[arg-type]
    return sample.n_unique() > 0.5 * len(sample) and (words >= 2.5 or length >= 40)


def _numbers(series: pl.Series, *, whole: bool, unit: str | None = None) -> Converted:
    dtype = series.dtype
    if dtype == pl.String:
        if whole:
            integers = series.cast(pl.Int64, strict=False)
            if integers.null_count() == series.null_count():
                return Converted(integers, _none(series))
        numbers = parse_numbers(series, unit)
    elif dtype == pl.Duration:
        numbers = series.dt.total_microseconds().cast(pl.Float64) / 1e6
    elif dtype == pl.Time:
        numbers = series.cast(pl.Int64).cast(pl.Float64) / 1e9
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        if whole and dtype.is_integer() and dtype != pl.UInt64:
            return Converted(series.cast(pl.Int64), _none(series))
        numbers = _finite(series.cast(pl.Float64))
    else:
        numbers = pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    bad = numbers.is_null() & series.is_not_null()
    if whole and bool(((numbers == numbers.round()) | numbers.is_null()).all()) and _fits_int64(numbers):
        numbers = numbers.cast(pl.Int64)
    return Converted(numbers, bad, "not-a-number")


def _fits_int64(numbers: pl.Series) -> bool:
    largest = numbers.abs().max()
    return largest is None or float(largest) < 2**53  # type: ignore[arg-type]


def _booleans(series: pl.Series) -> Converted:
    if series.dtype == pl.Boolean:
        return Converted(series, _none(series))
    lower = _texts(series).str.to_lowercase()
    value = pl.when(lower.is_in(list(TRUE))).then(True).when(lower.is_in(list(FALSE))).then(False).alias(series.name)
    values = pl.select(value).to_series().cast(pl.Boolean)
    return Converted(values, values.is_null() & series.is_not_null(), "not-a-boolean")


def _dates(series: pl.Series, form: str | None) -> Converted:
    if series.dtype in (pl.Date, pl.Datetime):
        if getattr(series.dtype, "time_zone", None) is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return Converted(series.cast(pl.Datetime("us")), _none(series))
    cells = _texts(series)
    values = dates.parse(cells, form) if form else pl.Series(series.name, [None] * len(cells), dtype=pl.Datetime("us"))
    for other in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        # A file to predict may be written more plainly than the training table: ISO is understood everywhere.
        if values.null_count() == cells.null_count():
            break
        values = values.zip_with(values.is_not_null(), dates.parse(cells, other))
    return Converted(values, values.is_null() & series.is_not_null(), "not-a-date")


def _texts(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    if series.dtype.is_float():
        # 3.0 and 3 are one category: a column with a gap turns into floats on its way through other tools.
        integers = series.cast(pl.Int64, strict=False)
        is_whole = bool(((series == series.round()) | series.is_null()).all())
        return (integers if is_whole and _fits_int64(series) else series).cast(pl.String)
    if series.dtype == pl.Binary or not supported(series.dtype):
        return pl.Series(series.name, [None] * len(series), dtype=pl.String)
    return series.cast(pl.String)


def _none(series: pl.Series) -> pl.Series:
    return pl.repeat(False, len(series), eager=True, dtype=pl.Boolean)
