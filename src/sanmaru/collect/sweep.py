"""One collection of a span: every request with all of its pages, going on where an earlier one broke off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import polars as pl

from sanmaru.collect.base import Answer, BaseSource, CollectError, Parsed, Request, Span
from sanmaru.collect.client import Client
from sanmaru.collect.store import RawStore
from sanmaru.pipelines.context import NotReady

PAGE_TRIES = 3
"""How often a list is asked for again that has fewer rows than it says."""


@dataclass
class Swept:
    """What a collection brought."""

    parsed: list[tuple[Answer, Parsed]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Why something is not there yet, in the order in which it was noticed."""
    failure: CollectError | None = None
    """What ended the collection before its end."""


class Sweep:
    """Asks everything of one span.

    Args:
        name: Of the source.
        source: Knows requests and answers.
        client: Asks.
        store: Holds what was answered before.
        number: Of the collection in the catalogue.
        resumed: Whether it goes on with one that broke off.
    """

    def __init__(
        self, name: str, source: BaseSource, client: Client, store: RawStore, number: int, *, resumed: bool
    ) -> None:
        self._name, self._source, self._client, self._store = name, source, client, store
        self._number, self._resumed = number, resumed

    def run(
        self,
        span: Span,
        every: timedelta,
        tell: Callable[[int, int], None] | None = None,
        *,
        series: Sequence[str] = (),
    ) -> Swept:
        """Ask all requests of a span. A failure ends it; what came until then is returned with it.

        Args:
            span: What is collected.
            every: Between the rows of a series.
            series: All that the source should have rows of, where they are known. A kept answer to the only request of
                a span is asked for again while one of them is missing.
            tell: Called with the requests done and all of them.
        """
        swept = Swept()
        try:
            requests = self._source.requests(span)
        except NotReady as why:
            swept.waiting.append(str(why))
            return swept
        asked_together = frozenset(series) if len(requests) == 1 else frozenset()
        for done, request in enumerate(requests, start=1):
            try:
                self._list(request, span, every, swept, asked_together)
            except NotReady as why:
                swept.waiting.append(str(why))
            except CollectError as error:
                swept.failure = error
                return swept
            if tell is not None:
                tell(done, len(requests))
        return swept

    def _list(
        self, request: Request, span: Span, every: timedelta, swept: Swept, asked_together: frozenset[str]
    ) -> None:
        if self._resumed and (kept := self._kept(request)):
            parsed = [(answer, self._source.parse(answer)) for answer in kept]
            if _covers(parsed, span, every, asked_together):
                swept.parsed += parsed
                return
        for _ in range(PAGE_TRIES):
            answers = [self._client.ask(request, self._number)]
            answers += [self._client.ask(page, self._number) for page in self._source.more(answers[0])]
            short = self._short(answers)
            if not short:
                break
        swept.parsed += [(answer, self._source.parse(answer)) for answer in answers]
        if short:
            swept.waiting.append(f"{self._name}: {short}")

    def _kept(self, request: Request) -> list[Answer]:
        """Return the pages that this collection already has, all of them or none."""
        first = self._store.good(self._name, request, self._number)
        if first is None:
            return []
        rest = [self._store.good(self._name, page, self._number) for page in self._source.more(first)]
        found = [first, *(answer for answer in rest if answer is not None)]
        return found if len(found) == 1 + len(rest) and not self._short(found) else []

    def _short(self, answers: list[Answer]) -> str:
        """Say which rows are missing from a list; empty where none are."""
        totals = [total for total in map(self._source.total, answers) if total is not None]
        if not totals:
            return ""
        rows, wanted = sum(total[0] for total in totals), {total[1] for total in totals}
        if len(wanted) > 1:
            return f"the list changed between its pages (total {', '.join(map(str, sorted(wanted)))})"
        return f"{rows} of {max(wanted)} rows came" if rows < max(wanted) else ""


def _covers(
    parsed: list[tuple[Answer, Parsed]], span: Span, every: timedelta, wanted: frozenset[str] = frozenset()
) -> bool:
    """Tell whether answers have a row for every step of a span for each of their series, and all series wanted."""
    steps = max(1, round((span.end - span.start) / every))
    inside = pl.col("time").is_between(span.start, span.end, closed="left")
    rows = pl.concat([one.rows.filter(inside).select("series", "time") for _, one in parsed]).unique()
    found = set(rows["series"])
    return bool(found) and wanted <= found and rows.height >= steps * len(found)


def step_of(every: str, at: datetime) -> timedelta:
    """Return the length of a step."""
    from sanmaru.pipelines.intervals import Every

    interval = Every.parse(every).at(at)
    return interval.end - interval.start
