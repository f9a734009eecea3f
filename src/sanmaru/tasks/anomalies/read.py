"""A file as a long table: `series`, `time`, numbers. Nothing is left out: repeated rows are what is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables.config import MISSING_MARKERS, DataConfig, TimeConfig
from sanmaru.tasks.anomalies.series import SERIES, TIME

_FORMATS = (
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M",
    "%Y%m%d%H%M",
    "%Y%m%d%H",
    "%Y %m %d %H",
    "%Y %m %d",
    "%Y-%m-%d %H",
    "%Y%m%d %H",
    "%Y%m%d",
)


@dataclass(frozen=True, kw_only=True)
class LongColumns:
    """Which columns of a file play which role."""

    time: tuple[str, ...]
    """One column of times, or several whose cells are joined by blanks, such as a date and an hour."""
    time_format: str | None = None
    """Of the cells so joined, such as "%d/%m/%Y %H"; found out where absent."""
    series: str | None = None
    """One series, called `all`, where absent."""
    columns: tuple[str, ...] = ()
    """To watch; all that hold numbers where empty."""
    missing: tuple[str, ...] = MISSING_MARKERS
    """Cell texts that mean "no value"."""
    zone: str = "UTC"
    """Of times without a zone."""
    encoding: str = "utf-8"

    @classmethod
    def of(cls, data: DataConfig, *, zone: str = "UTC", columns: Sequence[str] = ()) -> LongColumns:
        """Take the roles from the section `data` of a project file.

        Raises:
            DataError: when it names no time.
        """
        if data.time is None:
            raise DataError("anomalies are told apart in time, and data.time names no column.")
        when = TimeConfig(columns=(data.time,)) if isinstance(data.time, str) else data.time
        return cls(
            time=when.columns,
            time_format=when.format,
            series=data.series,
            columns=tuple(columns) or tuple(data.features or ()),
            missing=data.missing,
            zone=zone,
            encoding=data.encoding,
        )


def read_long(path: Path, roles: LongColumns) -> pl.DataFrame:
    """Read rows.

    Args:
        path: csv, tsv or parquet.
        roles: Its columns.

    Returns:
        `series` (String), `time` (Datetime[us, UTC]), and every watched column as Float64; in the order of the file.

    Raises:
        DataError: when the file or a column is absent, a time cannot be read, or a cell of a watched column is neither
            a number nor a known marker of "no value".
    """
    table = _read(path, roles)
    for name in (*roles.time, roles.series, *roles.columns):
        if name is not None and name not in table.columns:
            raise DataError(f"{path} has no column {name!r}. {nearest(name, table.columns)}")
    others = [name for name in table.columns if name not in (*roles.time, roles.series)]
    columns = list(roles.columns) or [name for name in others if _all_numbers(table[name], roles)]
    if not columns:
        raise DataError(f"{path} has no column of numbers to watch beside {', '.join(roles.time)}.")
    alone = pl.Series(SERIES, ["all"] * table.height, dtype=pl.String)
    series = alone if roles.series is None else table[roles.series].cast(pl.String).alias(SERIES)
    times = _times(table, roles, path).alias(TIME)
    return pl.DataFrame([series, times, *(_numbers(table[name], roles, path) for name in columns)])


def _read(path: Path, roles: LongColumns) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} is absent (data.train). Paths are relative to the project folder.")
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix not in (".csv", ".tsv"):
        raise DataError(f"{path} should be csv, tsv or parquet, got {path.suffix or 'no suffix'}.")
    try:
        return pl.read_csv(
            path,
            infer_schema=False,
            separator="\t" if path.suffix == ".tsv" else ",",
            encoding="utf8" if roles.encoding.lower() in ("utf-8", "utf8") else roles.encoding,
        )
    except (pl.exceptions.ComputeError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path} cannot be read as {roles.encoding}: {error}. Set data.encoding.") from error


def _times(table: pl.DataFrame, roles: LongColumns, path: Path) -> pl.Series:
    alone = table[roles.time[0]]
    if len(roles.time) == 1 and isinstance(alone.dtype, pl.Datetime):
        times = alone
    elif len(roles.time) == 1 and alone.dtype == pl.Date:
        times = alone.cast(pl.Datetime("us"))
    else:
        cells = [pl.col(name).cast(pl.String).str.strip_chars() for name in roles.time]
        texts = table.select(pl.concat_str(cells, separator=" ").alias(TIME)).to_series()
        times = _parsed(texts, roles)
        wrong = times.is_null().arg_true()
        if len(wrong):
            at = int(wrong[0])
            form = f" of the form {roles.time_format!r}" if roles.time_format else ""
            raise DataError(
                f"{path} row {at + 1}: {' '.join(roles.time)!r} is {texts[at]!r}, which is no time{form}. Say how it "
                'is written: data.time: {columns: [...], format: "%Y-%m-%d %H:%M"}.'
            )
    if times.dtype.time_zone is None:  # type: ignore[attr-defined]
        # The hour that a clock goes through twice is taken as its first one.
        times = times.dt.replace_time_zone(roles.zone, ambiguous="earliest", non_existent="null")
        if times.null_count():
            at = int(times.is_null().arg_true()[0])
            raise DataError(
                f"{path} row {at + 1}: its time does not exist in the zone {roles.zone}. Set the right zone."
            )
    return times.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _parsed(texts: pl.Series, roles: LongColumns) -> pl.Series:
    times = pl.Series(TIME, [None] * len(texts), dtype=pl.Datetime("us"))
    for one in (roles.time_format,) if roles.time_format else _FORMATS:
        if "%H" in one and "%M" not in one:  # polars asks for minutes where there are hours
            found = (texts + " 00").str.to_datetime(one + " %M", strict=False, time_unit="us")
        else:
            found = texts.str.to_datetime(one, strict=False, time_unit="us")
        if found.null_count() < times.null_count():
            times = found
        if not times.null_count():
            break
    return times


def _numbers(texts: pl.Series, roles: LongColumns, path: Path) -> pl.Series:
    if texts.dtype.is_numeric():
        return texts.cast(pl.Float64)
    cells = texts.cast(pl.String).str.strip_chars()
    cells = cells.set(cells.is_in(list(roles.missing)), None)
    numbers = cells.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & cells.is_not_null()).arg_true()
    if len(wrong):
        at = int(wrong[0])
        raise DataError(
            f"{path} row {at + 1}: {texts.name!r} is {texts[at]!r}, not a number ({len(wrong)} such cells). If it "
            "means no value, add it to data.missing; else leave the column out of data.columns."
        )
    return numbers


def _all_numbers(texts: pl.Series, roles: LongColumns) -> bool:
    if texts.dtype.is_numeric():
        return True
    cells = texts.cast(pl.String).str.strip_chars()
    cells = cells.set(cells.is_in(list(roles.missing)), None)
    return cells.null_count() < len(cells) and cells.cast(pl.Float64, strict=False).null_count() == cells.null_count()
