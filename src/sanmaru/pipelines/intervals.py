"""Data intervals: the half-open spans of time that a pipeline works on, one after another.

An interval is named by its start, in UTC, as text (`2026-11-21T05:00Z`), which sorts as time does and is the same in
every database. Minutes and hours are counted from the epoch; days and weeks begin at midnight (weeks on Monday) of the
pipeline's time zone, so that a day has 23 or 25 hours where clocks change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EVERY = re.compile(r"(\d+)\s*(min|h|d|w)")
_MINUTES = {"min": 1, "h": 60}
FORM = "%Y-%m-%dT%H:%MZ"


@dataclass(frozen=True)
class Interval:
    """One span of data: from `start` up to, and without, `end`; both UTC."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """The start as text, which names the interval."""
        return self.start.strftime(FORM)


@dataclass(frozen=True)
class Every:
    """How long intervals are, and where they begin.

    Args:
        count: Of units.
        unit: `min`, `h`, `d` or `w`.
        zone: Name of the time zone in which days begin.
    """

    count: int
    unit: str
    zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, zone: str = "UTC") -> Every:
        """Read texts such as `15min`, `1h`, `1d`, `2w`.

        Raises:
            ValueError: for another text, or an unknown time zone.
        """
        found = _EVERY.fullmatch(text.strip())
        if not found or int(found[1]) == 0:
            raise ValueError(f"{text!r} is no length of time. Write a number and min, h, d or w, such as 1h or 15min.")
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"unknown time zone {zone!r}. Write a name such as Asia/Seoul or UTC.") from None
        return cls(int(found[1]), found[2], zone)

    def at(self, moment: datetime) -> Interval:
        """Return the interval that holds a moment (with a time zone)."""
        if self.unit in _MINUTES:
            length = timedelta(minutes=_MINUTES[self.unit] * self.count)
            epoch = datetime(1970, 1, 1, tzinfo=UTC)
            start = epoch + (moment - epoch) // length * length
            return Interval(start.astimezone(UTC), (start + length).astimezone(UTC))
        day = self._first_day(moment.astimezone(ZoneInfo(self.zone)).date())
        return Interval(self._midnight(day), self._midnight(day + timedelta(days=self._days)))

    def after(self, interval: Interval, steps: int = 1) -> Interval:
        """Return the interval `steps` later; earlier where negative."""
        if self.unit in _MINUTES:
            length = (interval.end - interval.start) * steps
            return Interval(interval.start + length, interval.end + length)
        day = interval.start.astimezone(ZoneInfo(self.zone)).date() + timedelta(days=self._days * steps)
        return Interval(self._midnight(day), self._midnight(day + timedelta(days=self._days)))

    def between(self, start: datetime, end: datetime) -> Iterator[Interval]:
        """Yield the intervals that begin at or after the one that holds `start`, and have ended by `end`."""
        interval = self.at(start)
        while interval.end <= end:
            yield interval
            interval = self.after(interval)

    @property
    def _days(self) -> int:
        return self.count * (7 if self.unit == "w" else 1)

    def _first_day(self, day: date) -> date:
        monday = date(1970, 1, 5)  # spans of several days or weeks are counted from a Monday
        return monday + (day - monday) // timedelta(days=self._days) * timedelta(days=self._days)

    def _midnight(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


def parse_moment(text: str, zone: str = "UTC") -> datetime:
    """Read a date or a time; without a zone of its own it is one of `zone`.

    Raises:
        ValueError: for a text that is none.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no date or time. Write e.g. 2026-11-21 or 2026-11-21T05:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))


def interval_start(name: str) -> datetime:
    """Return the start of the interval that a text names."""
    return datetime.strptime(name, FORM).replace(tzinfo=UTC)
