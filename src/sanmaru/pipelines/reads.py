"""What the ledger can be asked, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sanmaru.pipelines.entries import ATTEMPTS, COMPLETE, ENTRIES, METADATA, Entry, entry_of
from sanmaru.pipelines.patience import Patience, patient


class BaseReads:
    """The questions; `Ledger` adds the changes."""

    def __init__(self, engine: sa.Engine, pipeline: str, patience: Patience | None = None) -> None:
        self.engine = engine
        self.pipeline = pipeline
        self.patience = patience or Patience()
        if engine.dialect.name != "sqlite":
            self.patience.forget = engine.dispose
        METADATA.create_all(engine)

    @patient
    def now(self) -> float:
        """Return the database's time, in seconds since 1970."""
        with self.engine.connect() as connection:
            return self._now(connection)

    @patient
    def entries(
        self,
        *,
        steps: Sequence[str] | None = None,
        starts: Sequence[str] | None = None,
        states: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Entry]:
        """Return entries, by interval and step name; of the given steps, intervals, states and span only."""
        rows = sa.select(ENTRIES).where(ENTRIES.c.pipeline == self.pipeline)
        for column, wanted in ((ENTRIES.c.step, steps), (ENTRIES.c.start, starts), (ENTRIES.c.state, states)):
            if wanted is not None:
                rows = rows.where(column.in_(list(wanted)))
        if since is not None:
            rows = rows.where(ENTRIES.c.start >= since)
        if until is not None:
            rows = rows.where(ENTRIES.c.start < until)
        with self.engine.connect() as connection:
            return [entry_of(row) for row in connection.execute(rows.order_by(ENTRIES.c.start, ENTRIES.c.step))]

    @patient
    def open_entries(self, *, since: str = "", until: str = "9", limit: int = 5000) -> list[Entry]:
        """Return what is not complete, earliest intervals first: waiting, running, given up, or marked.

        Args:
            since: First interval.
            until: The interval before which to stop.
            limit: At most so many.
        """
        rows = sa.select(ENTRIES).where(
            ENTRIES.c.pipeline == self.pipeline,
            sa.or_(ENTRIES.c.state.in_(["waiting", "running", "failed"]), ENTRIES.c.marks > 0),
            ENTRIES.c.start >= since,
            ENTRIES.c.start < until,
        )
        rows = rows.order_by(ENTRIES.c.start, ENTRIES.c.step).limit(limit)
        with self.engine.connect() as connection:
            return [entry_of(row) for row in connection.execute(rows)]

    @patient
    def attempts(self, step: str, start: str) -> list[dict[str, Any]]:
        """Return every attempt at a step of an interval, oldest first."""
        rows = (
            sa.select(ATTEMPTS)
            .where(ATTEMPTS.c.pipeline == self.pipeline, ATTEMPTS.c.step == step, ATTEMPTS.c.start == start)
            .order_by(ATTEMPTS.c.attempt)
        )
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(rows)]

    @patient
    def count_complete(self, first: str, last: str) -> dict[str, int]:
        """Return how many intervals of each step are complete, from the first to the last."""
        rows = (
            sa.select(ENTRIES.c.step, sa.func.count())
            .where(
                ENTRIES.c.pipeline == self.pipeline,
                ENTRIES.c.state.in_(COMPLETE),
                ENTRIES.c.marks == 0,
                ENTRIES.c.start >= first,
                ENTRIES.c.start <= last,
            )
            .group_by(ENTRIES.c.step)
        )
        with self.engine.connect() as connection:
            return {step: int(number) for step, number in connection.execute(rows)}

    @patient
    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of entries by step and state; complete entries that are marked count as waiting."""
        marked = sa.func.sum(sa.case((ENTRIES.c.marks > 0, 1), else_=0))
        rows = (
            sa.select(ENTRIES.c.step, ENTRIES.c.state, sa.func.count(), marked)
            .where(ENTRIES.c.pipeline == self.pipeline)
            .group_by(ENTRIES.c.step, ENTRIES.c.state)
        )
        found: dict[str, dict[str, int]] = {}
        with self.engine.connect() as connection:
            for step, state, number, again in connection.execute(rows):
                counts = found.setdefault(step, {})
                open_again = int(again) if state in COMPLETE else 0
                for shown, some in ((state, int(number) - open_again), ("waiting", open_again)):
                    if some:
                        counts[shown] = counts.get(shown, 0) + some
        return found

    def _now(self, connection: sa.Connection) -> float:
        match self.engine.dialect.name:
            case "sqlite":
                text = "SELECT (julianday('now') - 2440587.5) * 86400.0"
            case "postgresql":
                text = "SELECT extract(epoch FROM clock_timestamp())"
            case _:
                text = "SELECT unix_timestamp(sysdate(6))"
        return float(connection.execute(sa.text(text)).scalar_one())
