"""When the rows of a long table are: cells of one or several columns to moments in UTC.

Times without a zone are local to the project's. What a change of clocks makes of them is counted: an hour that does
not exist is no time; of an hour that is there twice, the first row of a series is the earlier one, the second the
later. Hour 24 is midnight of the next day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables import types
from sanmaru.tables.config import TimeConfig
from sanmaru.tables.dates import parse

_SIZES: tuple[str, ...] = ("year", "month", "day", "hour", "minute", "second")
_HOUR_24 = r"^(.*\d[ T]+)24((?::00){0,2})$"
_HOUR_24_COMPACT = r"^(\d{8})24((?:00){0,2})$"
_OFFSET = r":\d{2}(\.\d+)?\s?(Z|[+-]\d{2}:?\d{2})$"


@dataclass(frozen=True, kw_only=True)
class Times:
    """Moments, and why some cells are none."""

    utc: pl.Series
    """Datetime[us, UTC] (n,), null where there is none."""
    local: pl.Series
    """Naive, as written."""
    nonexistent: pl.Series
    """Boolean (n,): local times that the clock left out."""
    counts: dict[str, int] = field(default_factory=dict)
    """`hour-24`, `ambiguous-time`, `nonexistent-time`: how many rows each concerned."""


def read_times(
    table: pl.DataFrame, config: TimeConfig, *, series: pl.Series, zone: str, missing: Sequence[str] = ()
) -> Times:
    """Read when rows are.

    Args:
        table: With the columns that `config` names.
        config: The columns, and how they are written.
        series: Name of the series of each row, for hours that are there twice.
        zone: In which times without a zone were written.
        missing: Cell texts that mean "no value".

    Raises:
        DataError: when a column is absent, or hardly a cell can be read.
    """
    for name in config.columns:
        if name not in table.columns:
            raise DataError(f"the table has no column {name!r} (data.time). {nearest(name, table.columns)}")
    cells = [types.clean(table[name], missing) for name in config.columns]
    counts: dict[str, int] = {}
    if len(cells) == 1 and cells[0].dtype == pl.Datetime and cells[0].dtype.time_zone is not None:  # type: ignore[attr-defined]
        utc = cells[0].cast(pl.Datetime("us", cells[0].dtype.time_zone)).dt.convert_time_zone("UTC")  # type: ignore[attr-defined]
        return Times(utc=utc, local=utc.dt.replace_time_zone(None), nonexistent=_none(utc), counts=counts)
    if config.format is not None:
        local = _formatted(cells, config, counts)
    elif len(cells) == 1:
        if cells[0].dtype == pl.String and bool(cells[0].drop_nulls().str.contains(_OFFSET).all()):
            utc = _one(cells[0], counts).dt.replace_time_zone("UTC")
            if utc.null_count() < len(utc):
                return Times(utc=utc, local=utc.dt.replace_time_zone(None), nonexistent=_none(utc), counts=counts)
        local = _one(cells[0], counts)
    else:
        local = _parts(cells, counts)
    present = pl.DataFrame(cells).select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    if present.sum() and local.null_count() > len(local) - present.sum() / 2:
        example = [str(cell.filter(present)[0]) for cell in cells]
        raise DataError(
            f"most cells of {', '.join(map(repr, config.columns))} (data.time) are no times, "
            f"e.g. {' '.join(example)!r}. "
            'Say how they are written: data.time: {columns: [...], format: "%Y-%m-%d %H:%M"}.'
        )
    return _in_zone(local, series, zone, counts)


def _one(cells: pl.Series, counts: dict[str, int]) -> pl.Series:
    """One column of whole times."""
    if cells.dtype in (pl.Date, pl.Datetime):
        return cells.cast(pl.Datetime("us"))
    if cells.dtype.is_integer():
        cells = cells.cast(pl.String)
    if cells.dtype != pl.String:
        raise DataError(f"column {cells.name!r} (data.time) holds {cells.dtype}, not times.")
    plain, late = _without_24(cells, counts)
    column = types.detect(plain, booleans=False)
    form = column.date_format if column.kind == "date" else None
    found = types.convert(plain, "date", form).series
    return _a_day_later(found, late)


def _parts(cells: Sequence[pl.Series], counts: dict[str, int]) -> pl.Series:
    """Several columns: year, month, day ..., or a date and then hour, minute, second."""
    first, *rest = cells
    plain = types.convert(first, "integer").series
    is_year = plain.null_count() == first.null_count() and bool(plain.drop_nulls().is_between(1000, 9999).all())
    if is_year:
        base, rest, sizes = None, list(cells), _SIZES[:]
    else:
        base, sizes = _one(first, counts), _SIZES[3:]
    if len(rest) > len(sizes):
        raise DataError(f"data.time names {len(cells)} columns; at most {', '.join(sizes)} can follow each other.")
    numbers = {size: types.convert(cell, "integer").series for size, cell in zip(sizes, rest, strict=False)}
    frame = pl.DataFrame({size: column.cast(pl.Int64, strict=False) for size, column in numbers.items()})
    present = frame.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    fits = {"month": (1, 12), "day": (1, 31), "hour": (0, 24), "minute": (0, 59), "second": (0, 59)}
    checks = [pl.col(size).is_between(*fits[size]) for size in numbers if size in fits]
    good = present & frame.select(pl.all_horizontal(checks)).to_series() if checks else present
    if base is None:
        dated = frame.with_columns(
            pl.concat_str(
                pl.col("year"),
                *(
                    pl.col(size).cast(pl.String).str.zfill(2) if size in frame.columns else pl.lit("01")
                    for size in ("month", "day")
                ),
                separator="-",
            ).alias("date")
        )["date"]
        base = dated.str.to_datetime("%Y-%m-%d", strict=False, time_unit="us")  # 31 February becomes null
    if "hour" in frame.columns:
        late = (frame["hour"] == 24).fill_null(False)
        if late.any():
            counts["hour-24"] = int(late.sum())
    parts: dict[str, Any] = {f"{size}s": pl.col(size) for size in frame.columns if size in _SIZES[3:]}
    span = pl.duration(**parts)
    whole = frame.with_columns(base.alias("base"), good.alias("good"))
    sums = pl.col("base") + span if any(size in frame.columns for size in _SIZES[3:]) else pl.col("base")
    return whole.select(pl.when("good").then(sums).alias("time")).to_series().cast(pl.Datetime("us"))


def _formatted(cells: Sequence[pl.Series], config: TimeConfig, counts: dict[str, int]) -> pl.Series:
    texts = [cell.cast(pl.String) if cell.dtype != pl.String else cell for cell in cells]
    form = str(config.format)
    padded = [text.str.zfill(2) if text.str.len_chars().max() == 2 else text for text in texts]
    joined = pl.DataFrame(padded).select(pl.concat_str(pl.all(), separator=" ").alias("time")).to_series()
    plain, late = _without_24(joined, counts) if "%H" in form else (joined, _none(joined))
    if "%M" not in form and "%H" in form:
        plain, form = plain + ":00", form + ":%M"  # an hour alone is not enough for the parser
    return _a_day_later(parse(plain, form), late)


def _without_24(cells: pl.Series, counts: dict[str, int]) -> tuple[pl.Series, pl.Series]:
    """Texts with hour 24 as hour 00, and which ones they were."""
    late = (cells.str.contains(_HOUR_24) | cells.str.contains(_HOUR_24_COMPACT)).fill_null(False)
    if not late.any():
        return cells, late
    changed = cells.str.replace(_HOUR_24, "${1}00${2}").str.replace(_HOUR_24_COMPACT, "${1}00${2}")
    counts["hour-24"] = int(late.sum())
    return pl.select(pl.when(late).then(changed).otherwise(cells).alias(cells.name)).to_series(), late


def _a_day_later(times: pl.Series, late: pl.Series) -> pl.Series:
    if not late.any():
        return times
    return pl.select(pl.when(late).then(times.dt.offset_by("1d")).otherwise(times)).to_series()


def _in_zone(local: pl.Series, series: pl.Series, zone: str, counts: dict[str, int]) -> Times:
    """Local times as moments; `ambiguous` and `nonexistent` ones are counted."""
    frame = pl.DataFrame({"local": local.cast(pl.Datetime("us")), "series": series})
    before, after = (
        frame["local"].dt.replace_time_zone(zone, ambiguous=which, non_existent="null")
        for which in ("earliest", "latest")
    )
    twice = (before != after).fill_null(False)
    nonexistent = before.is_null() & frame["local"].is_not_null()
    if twice.any():
        counts["ambiguous-time"] = int(twice.sum())
        frame = frame.with_columns(pl.int_range(pl.len()).over("series", "local").alias("nth"))
        before = pl.select(pl.when(twice & (frame["nth"] % 2 == 1)).then(after).otherwise(before)).to_series()
    if nonexistent.any():
        counts["nonexistent-time"] = int(nonexistent.sum())
    utc = before.dt.convert_time_zone("UTC").alias("time")
    return Times(utc=utc, local=local, nonexistent=nonexistent, counts=counts)


def _none(series: pl.Series) -> pl.Series:
    return pl.repeat(False, len(series), eager=True, dtype=pl.Boolean)
