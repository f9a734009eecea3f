"""A file as a long table: `series`, `time`, numbers. Nothing is left out: repeated rows are what is looked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.anomalies.config import LongDataConfig
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
    "%Y%m%d",
)


def read_long(data: LongDataConfig, folder: Path, file: str | None = None) -> pl.DataFrame:
    """Read rows.

    Args:
        data: Columns and their roles.
        folder: That paths are relative to.
        file: Another file in the same form; `data.train` where absent.

    Returns:
        `series` (String; `all` where the file names none), `time` (Datetime[us, UTC]), and every watched
        column as Float64; in the order of the file.

    Raises:
        DataError: when the file or a column is absent, a time cannot be read, or a cell of a watched column is neither
            a number nor a known marker of "no value".
    """
    path = (folder / Path(file or data.train).expanduser()).resolve()
    table = _read(path, data)
    for name in (data.time, data.series, *data.columns, *data.counters):
        if name is not None and name not in table.columns:
            raise DataError(f"{path} has no column {name!r}. {nearest(name, table.columns)}")
    roles = {data.time, data.series}
    columns = list(data.columns) or [
        name for name in table.columns if name not in roles and _all_numbers(table[name], data)
    ]
    if not columns:
        raise DataError(f"{path} has no column of numbers to watch beside {data.time!r}.")
    alone = pl.Series(SERIES, ["all"] * table.height, dtype=pl.String)
    series = alone if data.series is None else table[data.series].cast(pl.String).alias(SERIES)
    return pl.DataFrame(
        [
            series,
            _times(table[data.time], data, path).alias(TIME),
            *(_numbers(table[name], data, path) for name in columns),
        ]
    )


def _read(path: Path, data: LongDataConfig) -> pl.DataFrame:
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
            encoding="utf8" if data.encoding.lower() in ("utf-8", "utf8") else data.encoding,
        )
    except (pl.exceptions.ComputeError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{path} cannot be read as {data.encoding}: {error}. Set data.encoding.") from error


def _times(texts: pl.Series, data: LongDataConfig, path: Path) -> pl.Series:
    if isinstance(texts.dtype, pl.Datetime):
        times = texts
    elif texts.dtype == pl.Date:
        times = texts.cast(pl.Datetime("us"))
    else:
        texts = texts.cast(pl.String).str.strip_chars()
        times = _parsed(texts, data)
        wrong = (times.is_null()).arg_true()
        if len(wrong):
            at = int(wrong[0])
            raise DataError(
                f"{path} row {at + 1}: {data.time!r} is {texts[at]!r}, not a time"
                f"{f' of the form {data.time_format}' if data.time_format else ''}. Set data.time_format."
            )
    if times.dtype.time_zone is None:  # type: ignore[attr-defined]
        # The hour that a clock goes through twice is taken as its first one; one that it leaves out does not exist.
        times = times.dt.replace_time_zone(data.zone, ambiguous="earliest", non_existent="null")
    return times.dt.convert_time_zone("UTC").dt.cast_time_unit("us")


def _parsed(texts: pl.Series, data: LongDataConfig) -> pl.Series:
    for one in (data.time_format,) if data.time_format else _FORMATS:
        if "%H" in one and "%M" not in one:  # polars asks for minutes where there are hours
            times = (texts + "00").str.to_datetime(one + "%M", strict=False, time_unit="us")
        else:
            times = texts.str.to_datetime(one, strict=False, time_unit="us")
        if times.null_count() == texts.null_count() and times.null_count() < max(1, len(times)):
            return times
    return times


def _numbers(texts: pl.Series, data: LongDataConfig, path: Path) -> pl.Series:
    if texts.dtype.is_numeric():
        return texts.cast(pl.Float64)
    cells = texts.cast(pl.String).str.strip_chars()
    cells = cells.set(cells.is_in(list(data.missing)), None)
    numbers = cells.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & cells.is_not_null()).arg_true()
    if len(wrong):
        at = int(wrong[0])
        raise DataError(
            f"{path} row {at + 1}: {texts.name!r} is {texts[at]!r}, not a number ({len(wrong)} such cells). If it "
            "means no value, add it to data.missing; else leave the column out of data.columns."
        )
    return numbers


def _all_numbers(texts: pl.Series, data: LongDataConfig) -> bool:
    if texts.dtype.is_numeric():
        return True
    cells = texts.cast(pl.String).str.strip_chars()
    cells = cells.set(cells.is_in(list(data.missing)), None)
    return cells.null_count() < len(cells) and cells.cast(pl.Float64, strict=False).null_count() == cells.null_count()
