"""The ledger: which step of which pipeline is complete for which data interval. It is the authority; runners only ask.

One row per (pipeline, step, interval) says how things stand; one row per attempt says what happened. Every change is a
single conditional UPDATE that names the attempt it belongs to, so that of two runners one wins without locks, and a
worker that was thought dead and comes back (its lease ran out, another took over) is told so and changes nothing.
Times are the database's own, so that machines need not agree on the clock.

Works on SQLite, PostgreSQL and MySQL/MariaDB.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

State = Literal["waiting", "running", "done", "nothing", "failed"]
"""`nothing`: complete, and there was nothing new to do. `failed`: given up until somebody asks for a retry."""
COMPLETE = ("done", "nothing")

_METADATA = sa.MetaData()
_ENTRIES = sa.Table(
    "sanmaru_ledger",
    _METADATA,
    sa.Column("pipeline", sa.String(80), primary_key=True),
    sa.Column("step", sa.String(80), primary_key=True),
    sa.Column("start", sa.String(20), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("marks", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("next_try", sa.Double, nullable=False),
    sa.Column("done_key", sa.String(64), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("outputs_hash", sa.String(64), nullable=False),
    sa.Column("ended", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("sanmaru_ledger_open", "pipeline", "state", "start"),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
_ATTEMPTS = sa.Table(
    "sanmaru_attempts",
    _METADATA,
    sa.Column("pipeline", sa.String(80), primary_key=True),
    sa.Column("step", sa.String(80), primary_key=True),
    sa.Column("start", sa.String(20), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("step_key", sa.String(64), nullable=False),
    sa.Column("began", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)


class FencedError(Exception):
    """This attempt is no longer the one that counts: its lease ran out and the step was given to another."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How one step stands for one interval."""

    step: str
    start: str
    """Name of the interval."""
    state: State = "waiting"
    attempt: int = 0
    """Number of the newest attempt; a worker's fence."""
    tries: int = 0
    """Failures since the last success."""
    marks: int = 0
    """How often an input changed since it was begun; while there are marks it is looked at again."""
    owner: str = ""
    lease_until: float = 0.0
    next_try: float = 0.0
    done_key: str = ""
    """Hash of code, settings and inputs that the outputs belong to; empty while there are none."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What it was made from: `step@interval` to the hash of its outputs."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    outputs_hash: str = ""
    ended: float = 0.0
    seconds: float = 0.0
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether what depends on it may start."""
        return self.state in COMPLETE and not self.marks


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The right to do a step, until the lease runs out."""

    pipeline: str
    step: str
    start: str
    number: int
    key: str
    owner: str


class Ledger:
    """The ledger of one pipeline.

    Args:
        engine: Of the database; tables are made where they are absent.
        pipeline: Name; several may share a database.
    """

    def __init__(self, engine: sa.Engine, pipeline: str) -> None:
        self.engine = engine
        self.pipeline = pipeline
        _METADATA.create_all(engine)

    def now(self) -> float:
        """Return the database's time, in seconds since 1970."""
        with self.engine.connect() as connection:
            return self._now(connection)

    def expect(self, steps: Sequence[str], starts: Iterable[str]) -> int:
        """Make the rows of intervals that are due, where they are absent; return how many were made."""
        wanted = list(starts)
        if not wanted:
            return 0
        rows = sa.select(_ENTRIES.c.step, _ENTRIES.c.start).where(
            _ENTRIES.c.pipeline == self.pipeline, _ENTRIES.c.start >= min(wanted), _ENTRIES.c.start <= max(wanted)
        )
        with self.engine.connect() as connection:
            known = {(row.step, row.start) for row in connection.execute(rows)}
        absent = [(step, start) for start in wanted for step in steps if (step, start) not in known]
        try:
            self._insert(absent)
        except sa.exc.IntegrityError:  # another runner made some of them a moment ago
            return sum(self._insert_one(place) for place in absent)
        return len(absent)

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
        rows = sa.select(_ENTRIES).where(_ENTRIES.c.pipeline == self.pipeline)
        for column, wanted in ((_ENTRIES.c.step, steps), (_ENTRIES.c.start, starts), (_ENTRIES.c.state, states)):
            if wanted is not None:
                rows = rows.where(column.in_(list(wanted)))
        if since is not None:
            rows = rows.where(_ENTRIES.c.start >= since)
        if until is not None:
            rows = rows.where(_ENTRIES.c.start < until)
        with self.engine.connect() as connection:
            return [_entry(row) for row in connection.execute(rows.order_by(_ENTRIES.c.start, _ENTRIES.c.step))]

    def open_entries(self, *, since: str = "", until: str = "9", limit: int = 5000) -> list[Entry]:
        """Return what is not complete, earliest intervals first: waiting, running, given up, or marked.

        Args:
            since: First interval.
            until: The interval before which to stop.
            limit: At most so many.
        """
        rows = sa.select(_ENTRIES).where(
            _ENTRIES.c.pipeline == self.pipeline,
            sa.or_(_ENTRIES.c.state.in_(["waiting", "running", "failed"]), _ENTRIES.c.marks > 0),
            _ENTRIES.c.start >= since,
            _ENTRIES.c.start < until,
        )
        rows = rows.order_by(_ENTRIES.c.start, _ENTRIES.c.step).limit(limit)
        with self.engine.connect() as connection:
            return [_entry(row) for row in connection.execute(rows)]

    def claim(self, entry: Entry, key: str, owner: str, lease_s: float) -> Attempt | None:
        """Take a step for `lease_s` seconds; None where another was quicker or still holds it.

        Args:
            entry: As it was read. It changes hands only if its attempt and marks are still the same: then the inputs
                read after it are the newest.
            key: Hash of code, settings and inputs.
            owner: Who takes it, for people to read.
            lease_s: Until then it is left alone; `renew` lengthens it.
        """
        with self.engine.begin() as connection:
            now = self._now(connection)
            taken = connection.execute(
                self._update(entry.step, entry.start)
                .where(
                    _ENTRIES.c.attempt == entry.attempt,
                    _ENTRIES.c.marks == entry.marks,
                    sa.or_(_ENTRIES.c.state != "running", _ENTRIES.c.lease_until < now),
                )
                .values(
                    state="running", attempt=entry.attempt + 1, owner=owner, lease_until=now + lease_s, marks=0,
                    reason="",
                )
            )  # fmt: skip
            if taken.rowcount != 1:
                return None
            number = entry.attempt + 1
            if entry.state == "running":
                connection.execute(
                    self._attempt_row(entry.step, entry.start, entry.attempt)
                    .where(_ATTEMPTS.c.ended.is_(None))
                    .values(ended=now, state="lost", reason=f"the lease of {entry.owner} ran out")
                )
            connection.execute(
                sa.insert(_ATTEMPTS).values(
                    pipeline=self.pipeline, step=entry.step, start=entry.start, attempt=number, owner=owner,
                    step_key=key, began=now, ended=None, state="running", reason="",
                )
            )  # fmt: skip
        return Attempt(pipeline=self.pipeline, step=entry.step, start=entry.start, number=number, key=key, owner=owner)

    def renew(self, attempt: Attempt, lease_s: float) -> None:
        """Lengthen the lease: the heartbeat of a worker that is still at it.

        Raises:
            FencedError: when the step was given to another.
        """
        with self.engine.begin() as connection:
            now = self._now(connection)
            kept = connection.execute(self._held(attempt).values(lease_until=now + lease_s))
        if kept.rowcount != 1:
            raise FencedError(self._fenced(attempt))

    def complete(
        self,
        attempt: Attempt,
        *,
        state: Literal["done", "nothing"],
        inputs: Mapping[str, str],
        outputs: Mapping[str, Any],
        outputs_hash: str,
        dependents: Iterable[tuple[str, str]],
        seconds: float,
        reason: str = "",
    ) -> bool:
        """Record that a step is complete. Where its outputs changed, what was made from the old ones is marked.

        Args:
            attempt: Of the worker.
            state: `done`, or `nothing` where there was nothing new.
            inputs: `step@interval` to outputs hash of what it was made from.
            outputs: Plain values that say what was made.
            outputs_hash: Of their content.
            dependents: (step, interval) of what uses these outputs.
            seconds: How long it took.
            reason: In a sentence, for people.

        Returns:
            Whether the outputs differ from those of before.

        Raises:
            FencedError: when the step was given to another; nothing is changed then.
        """
        with self.engine.begin() as connection:
            now = self._now(connection)
            before = connection.execute(
                sa.select(_ENTRIES.c.outputs_hash).where(*self._place(attempt.step, attempt.start))
            ).scalar_one()
            kept = connection.execute(
                self._held(attempt).values(
                    state=state, tries=0, next_try=0.0, done_key=attempt.key, inputs=_text(inputs),
                    outputs=_text(outputs), outputs_hash=outputs_hash, ended=now, seconds=seconds, reason=reason,
                    lease_until=0.0,
                )
            )  # fmt: skip
            if kept.rowcount != 1:
                raise FencedError(self._fenced(attempt))
            self._close(connection, attempt, now, state, reason)
            changed = bool(before != outputs_hash)
            if changed and before:
                for step, start in dependents:
                    connection.execute(
                        self._update(step, start).values(marks=_ENTRIES.c.marks + 1, next_try=0.0, tries=0)
                    )
        return changed

    def give_back(
        self,
        attempt: Attempt,
        *,
        reason: str,
        failed: bool,
        retries: int = 0,
        wait_s: float = 0.0,
    ) -> State:
        """Record that a step could not be done, or must wait.

        Args:
            attempt: Of the worker.
            reason: In a sentence.
            failed: Whether it counts as a failure; false where its data is merely not there yet.
            retries: Failures after which it is tried again.
            wait_s: Until the next try.

        Returns:
            `waiting`, or `failed` where its retries are spent.

        Raises:
            FencedError: when the step was given to another.
        """
        with self.engine.begin() as connection:
            now = self._now(connection)
            tries = connection.execute(
                sa.select(_ENTRIES.c.tries).where(*self._place(attempt.step, attempt.start))
            ).scalar_one() + int(failed)
            state: State = "failed" if failed and tries > retries else "waiting"
            kept = connection.execute(
                self._held(attempt).values(
                    state=state, tries=tries, next_try=now + wait_s, reason=reason, lease_until=0.0, ended=now
                )
            )
            if kept.rowcount != 1:
                raise FencedError(self._fenced(attempt))
            self._close(connection, attempt, now, "failed" if failed else "waiting", reason)
        return state

    def unchanged(self, entry: Entry) -> bool:
        """Take the mark off an entry whose inputs turned out to be the same; false where it changed meanwhile."""
        with self.engine.begin() as connection:
            kept = connection.execute(
                self._update(entry.step, entry.start)
                .where(
                    _ENTRIES.c.attempt == entry.attempt,
                    _ENTRIES.c.marks == entry.marks,
                    _ENTRIES.c.state.in_(COMPLETE),
                )
                .values(marks=0, reason="its inputs did not change")
            )
        return bool(kept.rowcount == 1)

    def mark(self, step: str, start: str) -> None:
        """Mark a complete step: it is looked at again, and done again where its key has changed."""
        with self.engine.begin() as connection:
            connection.execute(
                self._update(step, start).where(_ENTRIES.c.state.in_(COMPLETE)).values(marks=_ENTRIES.c.marks + 1)
            )

    def ask_again(self, steps: Sequence[str], starts: Sequence[str] | None, reason: str, *, failed_only: bool) -> int:
        """Let steps run again: given up ones (`failed_only`), or whatever their state. Returns how many."""
        change = (
            sa.update(_ENTRIES)
            .where(
                _ENTRIES.c.pipeline == self.pipeline,
                _ENTRIES.c.step.in_(list(steps)),
                _ENTRIES.c.state.in_(["failed"]) if failed_only else _ENTRIES.c.state.in_(["failed", *COMPLETE]),
            )
            .values(state="waiting", tries=0, next_try=0.0, done_key="", reason=reason)
        )
        if starts is not None:
            change = change.where(_ENTRIES.c.start.in_(list(starts)))
        with self.engine.begin() as connection:
            return int(connection.execute(change).rowcount)

    def attempts(self, step: str, start: str) -> list[dict[str, Any]]:
        """Return every attempt at a step of an interval, oldest first."""
        rows = (
            sa.select(_ATTEMPTS)
            .where(_ATTEMPTS.c.pipeline == self.pipeline, _ATTEMPTS.c.step == step, _ATTEMPTS.c.start == start)
            .order_by(_ATTEMPTS.c.attempt)
        )
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(rows)]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of entries by step and state; complete entries that are marked count as waiting."""
        marked = sa.func.sum(sa.case((_ENTRIES.c.marks > 0, 1), else_=0))
        rows = (
            sa.select(_ENTRIES.c.step, _ENTRIES.c.state, sa.func.count(), marked)
            .where(_ENTRIES.c.pipeline == self.pipeline)
            .group_by(_ENTRIES.c.step, _ENTRIES.c.state)
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

    def _insert(self, places: Sequence[tuple[str, str]]) -> None:
        """Make rows of (step, interval), all or none."""
        blank = {
            "pipeline": self.pipeline, "state": "waiting", "attempt": 0, "tries": 0, "marks": 0, "owner": "",
            "lease_until": 0.0, "next_try": 0.0, "done_key": "", "inputs": "{}", "outputs": "{}", "outputs_hash": "",
            "ended": 0.0, "seconds": 0.0, "reason": "",
        }  # fmt: skip
        if places:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(_ENTRIES), [{**blank, "step": step, "start": at} for step, at in places])

    def _insert_one(self, place: tuple[str, str]) -> bool:
        try:
            self._insert([place])
        except sa.exc.IntegrityError:
            return False
        return True

    def _place(self, step: str, start: str) -> tuple[sa.ColumnElement[bool], ...]:
        return _ENTRIES.c.pipeline == self.pipeline, _ENTRIES.c.step == step, _ENTRIES.c.start == start

    def _update(self, step: str, start: str) -> sa.Update:
        return sa.update(_ENTRIES).where(*self._place(step, start))

    def _held(self, attempt: Attempt) -> sa.Update:
        """The entry, as long as this attempt holds it."""
        return self._update(attempt.step, attempt.start).where(
            _ENTRIES.c.attempt == attempt.number, _ENTRIES.c.state == "running"
        )

    def _attempt_row(self, step: str, start: str, number: int) -> sa.Update:
        return sa.update(_ATTEMPTS).where(
            _ATTEMPTS.c.pipeline == self.pipeline,
            _ATTEMPTS.c.step == step,
            _ATTEMPTS.c.start == start,
            _ATTEMPTS.c.attempt == number,
        )

    def _close(self, connection: sa.Connection, attempt: Attempt, now: float, state: str, reason: str) -> None:
        connection.execute(
            self._attempt_row(attempt.step, attempt.start, attempt.number).values(ended=now, state=state, reason=reason)
        )

    def _fenced(self, attempt: Attempt) -> str:
        return (
            f"attempt {attempt.number} at {attempt.step} of {attempt.start} lost its lease: another attempt took over"
        )

    def _now(self, connection: sa.Connection) -> float:
        match self.engine.dialect.name:
            case "sqlite":
                text = "SELECT (julianday('now') - 2440587.5) * 86400.0"
            case "postgresql":
                text = "SELECT extract(epoch FROM clock_timestamp())"
            case _:
                text = "SELECT unix_timestamp(sysdate(6))"
        return float(connection.execute(sa.text(text)).scalar_one())


def _entry(row: sa.Row[Any]) -> Entry:
    values = dict(row._mapping)
    values.pop("pipeline")
    for name in ("inputs", "outputs"):
        values[name] = json.loads(values[name])
    return Entry(**values)


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
