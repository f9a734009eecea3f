"""Waiting for a database that is away: it restarts, its disk is full, another transaction was in the way.

A change whose answer was lost with the connection may have been made all the same. Whoever repeats one is told so, and
looks first (`Ledger.claim`, `Ledger.complete`, `Ledger.give_back`).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

import sqlalchemy as sa

from sanmaru.database import CONFLICTS, driver_codes
from sanmaru.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 10.0
_SQLITE = ("locked", "busy", "full", "disk i/o", "unable to open")
_SERVER = {"57p01", "57p02", "57p03", "08006", "08001", "08003", "1040", "1053", "1205", "1114", "3024", *CONFLICTS}
"""PostgreSQL: shutting down, crashed, starting, connection lost; MySQL: too many connections, shutting down, lock
timeout, table full, statement timeout; and transactions in each other's way."""


class StoppedError(UserError):
    """Somebody asked to stop while the database was away."""


class Patience:
    """How long a ledger waits for its database.

    Args:
        seconds: In all, for one question; 0 does not wait. Infinity waits until it is back.
        tell: Told of each wait, in a sentence.
    """

    def __init__(self, seconds: float = 0.0, tell: Callable[[str], None] | None = None) -> None:
        self.seconds = seconds
        self.tell = tell or (lambda text: None)
        self.stopped = threading.Event()
        """Set it, and nothing waits any longer."""
        self.forget: Callable[[], object] = lambda: None
        """Drops connections that were open when the database went away."""

    def through(self, ask: Callable[[bool], R]) -> R:
        """Return what `ask` returns, asking again while the database is away.

        Args:
            ask: Called with whether it was asked before, and its answer may have been lost.

        Raises:
            UserError: when the database stays away longer than this patience.
        """
        began, wait, again = time.monotonic(), FIRST_WAIT_S, False
        while True:
            try:
                answer = ask(again)
            except (sa.exc.DBAPIError, ConnectionError) as error:
                if not self.seconds or not passes(error):
                    raise
                self.forget()
                away = time.monotonic() - began
                why = _first_line(error)
                if away > self.seconds:
                    raise UserError(
                        f"the ledger's database has not answered for {away:.0f} s: {why}. What was completed stays "
                        "complete. Bring the database back, then start this again."
                    ) from error
                self.tell(f"the ledger's database does not answer, next try in {wait:.1f} s: {why}")
                if self.stopped.wait(wait):
                    raise StoppedError(f"stopped while the ledger's database was away: {why}") from error
                wait, again = min(wait * 2, LONGEST_WAIT_S), True
            else:
                if again:
                    self.tell("the ledger's database answers again")
                return answer


class _Patient(Protocol):
    patience: Patience


S = TypeVar("S", bound=_Patient)


def patient(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make a method of something with `patience` wait for the database; it may be called twice."""

    @functools.wraps(method)
    def waiting(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.patience.through(lambda again: method(self, *args, **kwargs))

    return cast("Callable[Concatenate[S, P], R]", waiting)


def passes(error: sa.exc.DBAPIError | ConnectionError) -> bool:
    """Return whether waiting may help: the database is away or busy, and the question was a good one."""
    if isinstance(error, ConnectionError):  # pg8000 lets some of the socket's own errors through
        return True
    text = str(error.orig).lower()
    if type(error.orig).__module__.startswith("sqlite3"):
        return isinstance(error, sa.exc.OperationalError) and any(word in text for word in _SQLITE)
    if error.connection_invalidated or isinstance(error, sa.exc.InterfaceError):
        return True
    codes = driver_codes(error)
    # MySQL's 20xx: there is no connection. An SQLSTATE has five characters.
    return bool(codes & _SERVER) or any(len(code) == 4 and code.startswith("20") for code in codes)


def _first_line(error: sa.exc.DBAPIError | ConnectionError) -> str:
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
