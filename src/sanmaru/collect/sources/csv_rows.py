"""Rows of csv files as cities publish them: any encoding, times in several columns, hour 24, blanks and dashes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from sanmaru.collect.base import CollectError
from sanmaru.collect.config import CityCsvConfig, ReplayConfig
from sanmaru.collect.values import MOMENT, Rows, moment, number
from sanmaru.errors import nearest
from sanmaru.tables.contract import Quarantine

CsvConfig = CityCsvConfig | ReplayConfig
TIME = "_time"


def decode(data: bytes, encoding: str | None) -> str:
    """Return bytes as text: of the given encoding, else UTF-8 (with or without mark), else cp949.

    Raises:
        CollectError: when they are of none of them.
    """
    for name in (encoding,) if encoding else ("utf-8-sig", "cp949"):
        try:
            return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    wanted = encoding or "UTF-8 or cp949"
    raise CollectError(f"the file is not text of encoding {wanted}. Name its encoding with encoding: (collect).")


def read_cells(data: bytes, config: CsvConfig) -> pl.DataFrame:
    """Return the cells of a csv file as text, with `_time`, their time in UTC; null where none could be read.

    Raises:
        CollectError: when it is no csv, or a column that the config names is absent.
    """
    text = decode(data, config.encoding)
    try:
        table = pl.read_csv(io.BytesIO(text.encode()), infer_schema=False, truncate_ragged_lines=True)
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError, pl.exceptions.ShapeError) as error:
        raise CollectError(f"no csv can be read here: {str(error).splitlines()[0]}") from None
    table = table.rename({name: name.strip() for name in table.columns})
    for name in (*config.time, *config.columns, *([config.series] if config.series else [])):
        if name not in table.columns:
            raise CollectError(
                f"the file has no column {name!r} (collect: time, columns, series). {nearest(name, table.columns)}"
            )
    times = _times(table, config)
    if times.null_count():
        times = _one_by_one(table, times, config)
    return table.with_columns(times.alias(TIME))


def to_rows(table: pl.DataFrame, config: CsvConfig) -> tuple[pl.DataFrame, Quarantine]:
    """Return cells as a long table, and what was set aside.

    Args:
        table: As of `read_cells`.
        config: Says which columns are what.
    """
    rows = Rows([column.name for column in config.columns.values()])
    for place, row in enumerate(table.iter_rows(named=True)):
        series = _series(row, config)
        if not series:
            rows.aside(place, config.series or "series", "", "unknown-series", "the row names no series")
            continue
        if row[TIME] is None:
            text = _time_text(row, config)
            why = f"{text!r} is no time of the form {config.form!r} in {config.zone}"
            rows.aside(place, config.time[0], text, "no-time", why, series)
            continue
        values: dict[str, float | None] = {}
        for name, column in config.columns.items():
            try:
                value = number(row[name], config.missing, config.missing_codes)
            except ValueError as error:
                rows.aside(place, name, row[name], "not-a-number", str(error), series)
                continue
            values[column.name] = None if value is None else value * column.scale + column.offset
        rows.add(place, series, row[TIME], values)
    return rows.finish()


def _times(table: pl.DataFrame, config: CsvConfig) -> pl.Series:
    text = table.select(
        pl.concat_str([pl.col(name).str.strip_chars() for name in config.time], separator=" ")
    ).to_series()
    form = config.form
    if "%H" in form and "%M" not in form:  # polars reads no hour without a minute
        text, form = text + " 00", f"{form} %M"
    elif "%H" not in form and "%I" not in form:
        text, form = text + " 00:00", f"{form} %H:%M"
    try:
        times = text.str.to_datetime(form.replace("%z", "%#z"), strict=False, time_unit="us")
    except pl.exceptions.ComputeError:  # a form that only Python knows
        return pl.Series(TIME, [None] * len(text), dtype=MOMENT)
    if times.dtype.time_zone is None:  # type: ignore[attr-defined]
        # Hours that clocks show twice or never are looked at one by one.
        times = times.dt.replace_time_zone(config.zone, ambiguous="null", non_existent="null")
    return times.dt.convert_time_zone("UTC").cast(MOMENT)


def _one_by_one(table: pl.DataFrame, times: pl.Series, config: CsvConfig) -> pl.Series:
    """Read the times that are left: hour 24, forms that only Python knows, and the hour that clocks show twice.

    Of two rows of a series in that hour, the first is of the first time and the second of the second.
    """
    zone, read = ZoneInfo(config.zone), times.to_list()
    seen: set[tuple[str, datetime]] = set()
    for place in times.is_null().arg_true().to_list():
        row = table.row(place, named=True)
        try:
            time = moment(_time_text(row, config), config.form, zone)
        except ValueError:
            continue
        place_of = (_series(row, config), time)
        read[place] = _second(time, zone) if place_of in seen else time
        seen.add(place_of)
    return pl.Series(TIME, read, dtype=MOMENT)


def _series(row: Mapping[str, str | None], config: CsvConfig) -> str:
    return (row[config.series] or "").strip() if config.series else config.series_name


def _time_text(row: Mapping[str, str | None], config: CsvConfig) -> str:
    return " ".join((row[name] or "").strip() for name in config.time)


def _second(time: datetime, zone: ZoneInfo) -> datetime:
    """Return the later moment at which clocks show what they show at `time`; the same where there is none."""
    local = time.astimezone(zone)
    return local.replace(fold=1).astimezone(UTC) if local.fold == 0 else time
