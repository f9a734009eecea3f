"""Rows of a long table in the order of series and time, as arrays.

n rows, C channels (watched columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sanmaru.errors import DataError, nearest

Floats = NDArray[np.float64]
Indexes = NDArray[np.int64]

SERIES, TIME = "series", "time"
DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesRows:
    """Rows by series and time; those of equal time keep the order of the table."""

    channels: tuple[str, ...]
    names: tuple[str, ...]
    """Of the series that occur."""
    code: Indexes
    """Place in `names` of each row's series, (n,), rising."""
    time_s: Floats
    """Seconds since 1970 UTC, (n,)."""
    local_hour: Indexes
    """Hour of day in the zone, 0..23, (n,)."""
    local_month: Indexes
    """Month in the zone, 0..11, (n,)."""
    values: Floats
    """(n, C), NaN where missing or not finite."""
    order: Indexes
    """Row number in the table of each row here, (n,)."""

    def __len__(self) -> int:
        return len(self.code)

    @property
    def first(self) -> Indexes:
        """Place of the first row of each row's series, (n,)."""
        starts = np.flatnonzero(np.diff(self.code, prepend=-1))
        return np.asarray(starts[self.code], dtype=np.int64) if len(self) else np.zeros(0, dtype=np.int64)

    def steps_s(self) -> Floats:
        """Seconds since the row before of the same series, (n,); NaN for the first one."""
        steps = np.diff(self.time_s, prepend=np.nan)
        steps[self.first == np.arange(len(self))] = np.nan
        return np.asarray(steps)


def watched(table: pl.DataFrame, columns: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns to watch: those named, or all that hold numbers.

    Raises:
        DataError: when a named column is absent or holds no numbers, or there is none at all.
    """
    numbers = [
        name
        for name, dtype in table.schema.items()
        if name not in (SERIES, TIME) and (dtype.is_numeric() or dtype == pl.Null)
    ]
    for name in columns:
        if name not in table.columns:
            raise DataError(f"the table has no column {name!r} to watch. {nearest(name, numbers)}")
        if name not in numbers:
            raise DataError(f"the column {name!r} holds {table[name].dtype}, and only numbers are watched.")
    if not columns and not numbers:
        raise DataError(f"the table has no column of numbers to watch; it has {', '.join(table.columns)}.")
    return tuple(columns) or tuple(name for name in numbers if not name.startswith("anomaly"))


def series_rows(
    table: pl.DataFrame, channels: Sequence[str], *, zone: str = "UTC", counters: Sequence[str] = ()
) -> SeriesRows:
    """Sort a long table and make it arrays.

    Args:
        table: With `series` (String), `time` (Datetime; without a zone it is UTC) and the channels.
        channels: Columns of numbers.
        zone: Of hour and month.
        counters: Channels that add up and are set back: their values become what they grew by since the row before,
            the value itself after a reset.

    Raises:
        DataError: when `series` or `time` are absent, of the wrong type, or missing in a row.
    """
    for name in (SERIES, TIME, *channels):
        if name not in table.columns:
            raise DataError(f"the table has no column {name!r}; it has {', '.join(table.columns)}.")
    table = keyed(table)
    empty = table.filter(pl.col(SERIES).is_null() | pl.col(TIME).is_null()).height
    if empty:
        raise DataError(f"{empty} rows have no series or no time, and cannot be put in order. Leave them out.")
    local = pl.col(TIME).dt.convert_time_zone(zone)
    found = (
        table.select(
            SERIES,
            TIME,
            local.dt.hour().cast(pl.Int64).alias("hour"),
            (local.dt.month().cast(pl.Int64) - 1).alias("month"),
            *(pl.col(name).cast(pl.Float64).alias(f"v{place}") for place, name in enumerate(channels)),
        )
        .with_row_index("row")
        .sort(SERIES, TIME, maintain_order=True)
    )
    names, code = np.unique(found[SERIES].to_numpy(), return_inverse=True) if found.height else (np.array([]), [])
    columns = [found[f"v{place}"].fill_null(float("nan")).to_numpy() for place in range(len(channels))]
    values = np.column_stack(columns) if columns else np.zeros((found.height, 0))
    values[~np.isfinite(values)] = np.nan
    rows = SeriesRows(
        channels=tuple(channels),
        names=tuple(str(name) for name in names),
        code=np.asarray(code, dtype=np.int64),
        time_s=found[TIME].dt.epoch("us").to_numpy() / 1e6,
        local_hour=found["hour"].to_numpy(),
        local_month=found["month"].to_numpy(),
        values=values,
        order=found["row"].cast(pl.Int64).to_numpy(),
    )
    for name in counters:
        _to_growth(rows, rows.channels.index(name))
    return rows


def keyed(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with `series` as String and `time` as Datetime[us, UTC]; a time without a zone is UTC.

    Raises:
        DataError: when `time` is of another type.
    """
    dtype = table[TIME].dtype
    if not isinstance(dtype, pl.Datetime):
        raise DataError(f"`time` should hold dates and times, got {dtype}. Read it with sanmaru.tasks.anomalies.read.")
    time = pl.col(TIME) if dtype.time_zone else pl.col(TIME).dt.replace_time_zone("UTC")
    return table.with_columns(
        pl.col(SERIES).cast(pl.String), time.dt.convert_time_zone("UTC").dt.cast_time_unit("us").alias(TIME)
    )


def _to_growth(rows: SeriesRows, channel: int) -> None:
    values = rows.values[:, channel].copy()
    before = np.concatenate([[np.nan], values[:-1]])[: len(values)]
    before[rows.first == np.arange(len(rows))] = np.nan
    grown = np.where(values >= before, values - before, values)
    rows.values[:, channel] = np.where(np.isnan(before), np.nan, grown)
    # The first row of a series, or one after a gap, says nothing of growth, and is not missing either.
    unknown = np.isnan(before) & ~np.isnan(values)
    rows.values[unknown, channel] = 0.0
