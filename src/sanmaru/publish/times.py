"""Moments as people read them, in the project's time zone and both languages."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from sanmaru.publish.state import Words

_DAYS_EN = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS_KO = "월화수목금토일"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse(text: str) -> datetime:
    """Read a time of `forecast.json`, UTC."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local(moment: datetime, zone: str) -> datetime:
    """Return a moment on the clock of a zone."""
    return moment.astimezone(_zone(zone))


def when(moment: datetime, zone: str) -> Words:
    """Write a moment with its day.

    >>> when(parse("2022-12-31T06:00:00Z"), "Asia/Seoul")
    Words(en='Sat 31 Dec, 15:00', ko='12월 31일 (토) 15:00')
    """
    at = local(moment, zone)
    return Words(
        f"{_DAYS_EN[at.weekday()]} {at.day} {_MONTHS[at.month - 1]}, {at:%H:%M}",
        f"{at.month}월 {at.day}일 ({_DAYS_KO[at.weekday()]}) {at:%H:%M}",
    )


def date(moment: datetime, zone: str) -> Words:
    """Write the day of a moment with its year.

    >>> date(parse("2022-12-31T16:00:00Z"), "Asia/Seoul")
    Words(en='1 Jan 2023', ko='2023년 1월 1일')
    """
    at = local(moment, zone)
    return Words(f"{at.day} {_MONTHS[at.month - 1]} {at.year}", f"{at.year}년 {at.month}월 {at.day}일")


def short_day(moment: datetime, zone: str) -> Words:
    """Write the day of a moment for an axis."""
    at = local(moment, zone)
    return Words(f"{_DAYS_EN[at.weekday()]} {at.day}", f"{at.day}일 {_DAYS_KO[at.weekday()]}")
