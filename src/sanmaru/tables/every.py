"""Regular steps of time: which step a moment is, and which moment a step.

Steps shorter than a day are equal stretches of UTC. Days and months are those of a calendar in a time zone: a day is
one step though a change of clocks makes it 23 or 25 hours long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sanmaru.errors import DataError

Unit = Literal["us", "d", "mo"]
DAY_US = 86_400_000_000
_FIXED = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_WRITTEN = re.compile(r"^([1-9]\d*)(s|m|h|d|w|mo)$")
_AVERAGE = {"us": 1.0, "d": float(DAY_US), "mo": 30.436875 * DAY_US}


@dataclass(frozen=True, kw_only=True)
class Every:
    """The distance of steps, and where they lie."""

    count: int
    """Microseconds, days or months of a step."""
    unit: Unit
    zone: str = "UTC"
    """Where days begin."""
    phase: int = 0
    """Microseconds from the beginning of a stretch (since 1970; of the local day or month) to its step."""

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Every:
        """Read `1h`, `30m`, `1d`, `1w` or `1mo`.

        Raises:
            DataError: when it is not written so.
        """
        found = _WRITTEN.match(text)
        if found is None:
            raise DataError(f"{text!r} is no distance of time. Write a whole number and s, m, h, d, w or mo, as in 1h.")
        count, unit = int(found[1]), found[2]
        if unit in _FIXED:
            return cls(count=count * _FIXED[unit], unit="us", zone=zone)
        if unit == "mo":
            return cls(count=count, unit="mo", zone=zone)
        return cls(count=count * (7 if unit == "w" else 1), unit="d", zone=zone)

    @property
    def text(self) -> str:
        """As `parse` reads it."""
        if self.unit != "us":
            return f"{self.count}{self.unit}"
        for name in ("h", "m", "s"):
            if self.count % _FIXED[name] == 0:
                return f"{self.count // _FIXED[name]}{name}"
        return f"{self.count}us"

    @property
    def us(self) -> float:
        """Length of a step in microseconds; of months on average."""
        return self.count * _AVERAGE[self.unit]

    @property
    def per_day(self) -> int | None:
        """Steps of a day, where a day is a whole number of them and more than one."""
        return DAY_US // self.count if self.unit == "us" and DAY_US % self.count == 0 and self.count < DAY_US else None

    def steps(self, value: int | str, what: str) -> int:
        """Return a number of steps, given as such or as a duration.

        Raises:
            DataError: when a duration is not a whole number of steps.
        """
        if isinstance(value, int):
            return value
        other = Every.parse(value)
        span, own = other.us, self.us
        if other.unit == self.unit:
            span, own = float(other.count), float(self.count)
        if other.unit == "mo" and self.unit != "mo":
            own, span = self.us / DAY_US, 30.0 * other.count  # months of days are taken as 30
        if span < own or abs(span / own - round(span / own)) > 1e-9:
            raise DataError(f"{what}: {value!r} is not a whole number of steps of {self.text}. Give a number of steps.")
        return round(span / own)

    def index(self, times: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the step of each time int64 (n,), and whether it lies exactly on it.

        Args:
            times: Datetime without missing values, in UTC.
        """
        us, months = self._counted(times)
        if self.unit == "mo":
            return months // self.count, us == self.phase
        size = self.count * (DAY_US if self.unit == "d" else 1)
        shifted = us - self.phase
        return shifted // size, shifted % size == 0

    def time(self, steps: NDArray[np.int64]) -> pl.Series:
        """Return the moments of steps: Datetime[us, UTC] (n,)."""
        steps = np.asarray(steps, dtype=np.int64)
        if self.unit == "us":
            us = steps * self.count + self.phase
            return pl.Series("time", us).cast(pl.Datetime("us", "UTC"))
        if self.unit == "d":
            local = pl.Series("time", steps * self.count * DAY_US + self.phase).cast(pl.Datetime("us"))
        else:
            first = (steps * self.count).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
            local = pl.Series("time", first + self.phase).cast(pl.Datetime("us"))
        found = local.dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        later = local.dt.offset_by("1h").dt.replace_time_zone(self.zone, ambiguous="earliest", non_existent="null")
        return found.fill_null(later).dt.convert_time_zone("UTC")

    def aligned(self, times: pl.Series) -> Every:
        """Return the same distance with the phase that most times have."""
        us, _ = self._counted(times)
        size = {"us": self.count, "d": self.count * DAY_US, "mo": None}[self.unit]
        phases = us if size is None else us % size
        values, counts = np.unique(phases, return_counts=True)
        return Every(count=self.count, unit=self.unit, zone=self.zone, phase=int(values[counts.argmax()]))

    def _counted(self, times: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Microseconds of each time (since 1970 in UTC, local for days, since the month's beginning for months), and
        its local month since 1970."""
        if self.unit == "us":
            us = times.dt.replace_time_zone(None).cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
            return us, np.zeros(len(us), dtype=np.int64)
        local = local_times(times, self.zone)
        us = local.cast(pl.Int64).to_numpy()
        months = us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        if self.unit == "mo":
            us = us - months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
        return us, months

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Every:
        """Rebuild from `to_json`."""
        return cls(**value)


def local_times(times: pl.Series, zone: str) -> pl.Series:
    """Return times in UTC (with or without saying so) as naive times of a zone, Datetime[us]."""
    aware = times.cast(pl.Datetime("us")) if times.dtype.time_zone is None else times  # type: ignore[attr-defined]
    if aware.dtype.time_zone is None:  # type: ignore[attr-defined]
        aware = aware.dt.replace_time_zone("UTC")
    return aware.dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(pl.Datetime("us"))


def find_every(series: pl.Series, times: pl.Series, zone: str) -> Every:
    """Tell the distance of steps from times: the most frequent one between neighbours of a series.

    Args:
        series: Name of the series of each row.
        times: Datetime in UTC, without missing values.
        zone: Where days begin.

    Raises:
        DataError: when no series has two times.
    """
    table = pl.DataFrame({"series": series, "utc": times, "local": local_times(times, zone)}).unique(["series", "utc"])
    table = table.sort("series", "utc").with_columns(
        pl.col("utc", "local").diff().over("series").dt.total_microseconds().name.suffix("_us")
    )
    apart = table.filter(pl.col("utc_us") > 0)
    if not len(apart):
        raise DataError("no series has two different times, so the distance of steps cannot be told.")
    local = cast(int, apart["local_us"].mode().min())
    if local >= 28 * DAY_US and local <= 31 * DAY_US and _monthly(apart["local"]):
        return Every(count=1, unit="mo", zone=zone).aligned(times)
    if local >= DAY_US and local % DAY_US == 0:
        return Every(count=local // DAY_US, unit="d", zone=zone).aligned(times)
    return Every(count=cast(int, apart["utc_us"].mode().min()), unit="us", zone=zone).aligned(times)


def _monthly(local: pl.Series) -> bool:
    """Whether nearly all times are of one day of the month."""
    days = local.dt.day()
    return float((days == days.mode().min()).mean()) > 0.9  # type: ignore[arg-type]
