"""What passes between sources, the client and the store: requests, answers, problems, parsed rows."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from sanmaru.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tables.contract import Quarantine


class CollectError(UserError):
    """A source cannot be collected: it refused, or answered again and again with something else than data."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing to ask of a source. It carries no key: the client adds that, and it is kept nowhere."""

    url: str
    params: Mapping[str, str]
    page: int = 1
    """Of a list that comes in pages, from 1."""

    @property
    def key(self) -> str:
        """Names the request: equal for equal url and parameters."""
        text = json.dumps([self.url, sorted(self.params.items()), self.page], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, as it came."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes
    fetched_at: datetime
    """UTC."""
    id: int = 0
    """Number in the store, once kept."""

    def text(self) -> str:
        """Return the body as UTF-8 text; what is not UTF-8 is marked, as the parsers then quarantine it."""
        return self.body.decode("utf-8-sig", errors="replace")


@dataclass(frozen=True)
class Problem:
    """Why an answer is no data.

    `retry`: may pass within seconds. `later`: the data is not there yet, or the day's requests are used up.
    `refused`: will not pass by itself.
    """

    kind: Literal["retry", "later", "refused"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The rows of one answer."""

    rows: pl.DataFrame
    """Long table: series, time (Datetime[us, UTC]), a Float64 column per value, `NAME.flag` String where known."""
    quarantine: Quarantine
    ahead: pl.DataFrame | None = None
    """Rows of the same columns that lie after the moment of fetching: known-future covariates."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What is collected: the half-open interval from `start` up to `end`, asked at `now`; all UTC."""

    start: datetime
    end: datetime
    now: datetime


class BaseSource(ABC):
    """One kind of source: knows its requests and its answers, and nothing of networks, stores or tables."""

    @abstractmethod
    def expected(self) -> Sequence[str]:
        """Return the series of which every interval should have rows; empty where only the answers tell."""

    @abstractmethod
    def requests(self, span: Span) -> list[Request]:
        """Return the first request of each list that is needed for a span.

        Raises:
            sanmaru.pipelines.context.NotReady: when it is plain without asking that the data cannot be there yet.
            CollectError: when the source cannot give this span at all.
        """

    @abstractmethod
    def parse(self, answer: Answer) -> Parsed:
        """Return the rows of an answer that has no problem. Needs no network, no clock and no key."""

    def secret(self) -> Mapping[str, str]:
        """Return parameters that are added to every request and written nowhere."""
        return {}

    def problem(self, answer: Answer) -> Problem | None:
        """Return why an answer holds no usable data, whatever its status says, or None."""
        return None

    def total(self, answer: Answer) -> tuple[int, int] | None:
        """Return the rows of an answer, and the rows of all its pages together; None where it does not say."""
        return None

    def more(self, answer: Answer) -> list[Request]:
        """Return the requests of the following pages that the answer to a first page asks for."""
        return []

    def local(self, request: Request, now: datetime) -> Answer | None:
        """Return the answer itself where the source is no server, else None."""
        return None

    def time(self, now: datetime) -> datetime:
        """Return what time it is where the source is: the given one, unless the source replays another."""
        return now
