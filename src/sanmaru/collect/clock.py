"""The clocks by which collectors wait: the machine's, and one that is set by hand."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time it is, and waiting."""

    def now(self) -> datetime:
        """Return the time, UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the time, UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


class SetClock:
    """A clock that stands still until it is moved; sleeping moves it.

    Args:
        moment: The time it shows, with a time zone.
    """

    def __init__(self, moment: datetime) -> None:
        self.moment = moment.astimezone(UTC)
        self.slept: list[float] = []
        """Every wait, in seconds."""

    def now(self) -> datetime:
        """Return the time it shows, UTC."""
        return self.moment

    def sleep(self, seconds: float) -> None:
        """Move on by so many seconds, at once."""
        self.slept.append(seconds)
        self.moment += timedelta(seconds=seconds)
