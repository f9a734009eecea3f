"""How often a host is asked: a pace and a daily count that all processes of a project share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sanmaru.collect.catalogue import Catalogue


def take_turn(catalogue: Catalogue, host: str, now: datetime, *, per_s: float, burst: int) -> float:
    """Take the next turn at a host and return the seconds to wait before it.

    A token bucket kept as one number, the time at which it would be full again (the generic cell rate algorithm of
    ITU-T I.371): turns taken by other processes push it on, so that all of them together keep the pace.

    Args:
        catalogue: Where the number is kept.
        host: Name of the host.
        now: The time.
        per_s: Turns per second.
        burst: Turns that may follow each other at once.
    """
    at = now.timestamp()
    step = 1.0 / per_s
    with catalogue.changing() as connection:
        found = connection.execute("SELECT until FROM pace WHERE host = ?", (host,)).fetchone()
        until = float(found["until"]) if found else 0.0
        if until - at > 24 * 3600:  # a clock that was set back would otherwise stop everything
            until = 0.0
        full = max(until, at) + step
        connection.execute("INSERT OR REPLACE INTO pace VALUES (?, ?)", (host, full))
    return max(0.0, full - burst * step - at)


def push_back(catalogue: Catalogue, host: str, until: datetime, *, per_s: float, burst: int) -> None:
    """Let nobody ask a host before a moment, as its `Retry-After` wants it; pace and burst as for `take_turn`."""
    with catalogue.changing() as connection:
        connection.execute(
            "INSERT INTO pace VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET until = max(until, excluded.until)",
            (host, until.timestamp() + (burst - 1) / per_s),
        )


def left_today(catalogue: Catalogue, url: str, now: datetime, *, daily: int, zone: str) -> tuple[int, datetime]:
    """Return how many requests the day still allows for an address, and when the next day begins (UTC)."""
    day = now.astimezone(ZoneInfo(zone)).date()
    begin = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=ZoneInfo(zone))
    return max(0, daily - catalogue.asked_since(url, begin.astimezone(UTC))), end.astimezone(UTC)
