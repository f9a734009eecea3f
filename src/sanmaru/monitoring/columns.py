"""Which columns are watched, and their values in order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sanmaru.errors import DataError, nearest
from sanmaru.monitoring.config import MonitorConfig

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["data", "prediction", "residual", "error"]
MOST_CATEGORIES = 50
"""Further categories of the reference, the rarest, count as one."""
OTHER = "(other)"
HOUR_US = 3_600_000_000


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A column of one series, or of a table without series."""

    name: str
    kind: Kind
    series: str | None = None
    categories: tuple[str, ...] | None = None
    """Of a column of texts, as the reference has them; None for numbers."""

    @property
    def key(self) -> str:
        """Name within everything that is watched, such as `pm25@Jongno`."""
        return self.name if self.series is None else f"{self.name}@{self.series}"


@dataclass(frozen=True)
class Values:
    """One watched column in order of time.

    Attributes:
        at: int64 (n,), microseconds since 1970 UTC, rising; equal times stay in the table's order.
        month: int64 (n,), 0 to 11, on the local clock.
        hour: int64 (n,), 0 to 23, on the local clock.
        values: float64 (n,), NaN where missing; codes of categories for texts.
    """

    at: np.ndarray
    month: np.ndarray
    hour: np.ndarray
    values: np.ndarray

    def known_since(self) -> Values:
        """Return what begins with the first value that is there: a column may have begun later than its table."""
        known = np.flatnonzero(np.isfinite(self.values))
        begin = int(known[0]) if len(known) else 0
        return Values(self.at[begin:], self.month[begin:], self.hour[begin:], self.values[begin:])

    def between(self, start: int, stop: int) -> Values:
        """Return the part with `start` <= time < `stop`, in microseconds."""
        place = slice(*np.searchsorted(self.at, [start, stop], "left"))
        return Values(self.at[place], self.month[place], self.hour[place], self.values[place])

    @property
    def days(self) -> float:
        """From the first value to the last."""
        return float(self.at[-1] - self.at[0]) / HOUR_US / 24 if len(self.at) else 0.0


def with_times(table: pl.DataFrame, config: MonitorConfig, name: str) -> pl.DataFrame:
    """Return the table sorted by time, which is UTC microseconds; times without a zone are the config's.

    Args:
        table: With `config.time`, a date, a datetime, or text that reads as one.
        config: Of the monitor.
        name: Of the table, for messages.

    Raises:
        DataError: when the column is absent or holds something else.
    """
    import polars as pl

    if config.time not in table.columns:
        raise DataError(
            f"the {name} table has no column {config.time!r} (monitor.time). {nearest(config.time, table.columns)}"
        )
    time = table[config.time]
    if time.dtype == pl.String:
        try:
            time = time.str.to_datetime(time_unit="us")
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"column {config.time!r} of the {name} table holds texts that are no times ({str(error)[:120]}). "
                "Write them as 2026-11-21 09:00."
            ) from None
    if not time.dtype.is_temporal() or time.dtype in (pl.Time, pl.Duration):
        raise DataError(f"column {config.time!r} of the {name} table should hold times, got {time.dtype}.")
    time = time.cast(pl.Datetime("us", getattr(time.dtype, "time_zone", None)))
    if getattr(time.dtype, "time_zone", None) is None:
        time = time.dt.replace_time_zone(config.zone, ambiguous="earliest", non_existent="null")
    table = table.with_columns(time.dt.convert_time_zone("UTC").alias(config.time))
    return table.filter(pl.col(config.time).is_not_null()).sort(config.time, maintain_order=True)


def watched(reference: pl.DataFrame, config: MonitorConfig) -> list[Watched]:
    """Return what is watched.

    Raises:
        DataError: when a named column is absent, or an error or residual is no number.
    """
    import polars as pl

    named: list[tuple[str, Kind]] = [
        *((name, "data") for name in config.data),
        *((name, "prediction") for name in config.predictions),
        *((name, "residual") for name in config.residuals),
        *((name, "error") for name in config.errors),
    ]
    if not any((config.data, config.predictions, config.residuals, config.errors)):
        named = [(name, "data") for name in reference.columns if name not in (config.time, config.series)]
    for name in [*(name for name, _ in named), *([config.series] if config.series else [])]:
        if name not in reference.columns:
            raise DataError(
                f"the reference has no column {name!r} (monitor section). {nearest(name, reference.columns)}"
            )
    parts: list[tuple[str | None, pl.DataFrame]] = [(None, reference)]
    if config.series:
        parts = [(str(key), part) for (key,), part in reference.group_by(config.series, maintain_order=True)]
        parts.sort(key=lambda pair: str(pair[0]))
    found = []
    for name, kind in named:
        number = reference[name].dtype.is_numeric() or reference[name].dtype == pl.Boolean
        if kind in ("residual", "error") and not number:
            raise DataError(f"column {name!r} is watched as {kind} and should hold numbers: {reference[name].dtype}.")
        for series, part in parts:
            if part[name].null_count() == len(part):
                continue  # a station that does not measure this
            categories = None if number else _names(part[name])
            found.append(Watched(name=name, kind=kind, series=series, categories=categories))
    return found


def values_of(table: pl.DataFrame, one: Watched, config: MonitorConfig) -> Values:
    """Return a watched column of a table that `with_times` returned."""
    import polars as pl

    if one.name not in table.columns:
        raise DataError(f"the current table lacks the watched column {one.name!r}. {nearest(one.name, table.columns)}")
    if one.series is not None:
        table = table.filter(pl.col(config.series or "").cast(pl.String) == one.series)
    column = table[one.name]
    if one.categories is not None:
        codes = {name: code for code, name in enumerate(one.categories)}
        column = column.cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
        new = column.is_null() & table[one.name].is_not_null()
        column = column.set(new, float(codes[OTHER]))
    values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().copy()
    values[~np.isfinite(values)] = np.nan
    local = table[config.time].dt.convert_time_zone(config.zone)
    return Values(
        table[config.time].dt.timestamp("us").to_numpy(),
        local.dt.month().to_numpy().astype(np.int64) - 1,
        local.dt.hour().to_numpy().astype(np.int64),
        values,
    )


def _names(column: pl.Series) -> tuple[str, ...]:
    import polars as pl

    counted = column.drop_nulls().cast(pl.String).value_counts(sort=True)[column.name]
    return (*sorted(counted[:MOST_CATEGORIES].to_list()), OTHER)
