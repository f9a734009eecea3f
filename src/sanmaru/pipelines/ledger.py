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
from typing import Any, Literal

import sqlalchemy as sa

from sanmaru.pipelines.entries import (
    ATTEMPTS,
    COMPLETE,
    ENTRIES,
    Attempt,
    Entry,
    FencedError,
    State,
)
from sanmaru.pipelines.patience import patient
from sanmaru.pipelines.reads import BaseReads


def far_ahead(lease_s: float) -> float:
    """Return seconds: a lease that ends later than that was written before the clock was set back; it does not count.

    A worker that is alive after all is fenced, and its step is done again.
    """
    return 10 * max(lease_s, 60.0)


class Ledger(BaseReads):
    """The ledger of one pipeline.

    Args:
        engine: Of the database; tables are made where they are absent.
        pipeline: Name; several may share a database.
        patience: How long to wait while the database is away; not at all where absent.
    """

    @patient
    def expect(self, steps: Sequence[str], starts: Iterable[str]) -> int:
        """Make the rows of intervals that are due, where they are absent; return how many were made."""
        wanted = list(starts)
        if not wanted:
            return 0
        rows = sa.select(ENTRIES.c.step, ENTRIES.c.start).where(
            ENTRIES.c.pipeline == self.pipeline, ENTRIES.c.start >= min(wanted), ENTRIES.c.start <= max(wanted)
        )
        with self.engine.connect() as connection:
            known = {(row.step, row.start) for row in connection.execute(rows)}
        absent = [(step, start) for start in wanted for step in steps if (step, start) not in known]
        try:
            self._insert(absent)
        except sa.exc.IntegrityError:  # another runner made some of them a moment ago
            return sum(self._insert_one(place) for place in absent)
        return len(absent)

    def claim(self, entry: Entry, key: str, owner: str, lease_s: float) -> Attempt | None:
        """Take a step for `lease_s` seconds; None where another was quicker or still holds it.

        Args:
            entry: As it was read. It changes hands only if its attempt and marks are still the same: then the inputs
                read after it are the newest.
            key: Hash of code, settings and inputs.
            owner: Who takes it, for people to read.
            lease_s: Until then it is left alone; `renew` lengthens it.
        """
        return self.patience.through(lambda again: self._claim(entry, key, owner, lease_s, again))

    def _claim(self, entry: Entry, key: str, owner: str, lease_s: float, again: bool) -> Attempt | None:
        attempt = Attempt(
            pipeline=self.pipeline, step=entry.step, start=entry.start, number=entry.attempt + 1, key=key, owner=owner
        )
        with self.engine.begin() as connection:
            now = self._now(connection)
            taken = connection.execute(
                self._update(entry.step, entry.start)
                .where(
                    ENTRIES.c.attempt == entry.attempt,
                    ENTRIES.c.marks == entry.marks,
                    sa.or_(
                        ENTRIES.c.state != "running",
                        ENTRIES.c.lease_until < now,
                        ENTRIES.c.lease_until > now + far_ahead(lease_s),
                    ),
                )
                .values(
                    state="running", attempt=entry.attempt + 1, owner=owner, lease_until=now + lease_s, marks=0,
                    reason="",
                )
            )  # fmt: skip
            if taken.rowcount != 1:
                return attempt if again and self._witness(connection, attempt) == "running" else None
            if entry.state == "running":
                connection.execute(
                    self._attempt_row(entry.step, entry.start, entry.attempt)
                    .where(ATTEMPTS.c.ended.is_(None))
                    .values(ended=now, state="lost", reason=f"the lease of {entry.owner} ran out")
                )
            connection.execute(
                sa.insert(ATTEMPTS).values(
                    pipeline=self.pipeline, step=entry.step, start=entry.start, attempt=attempt.number, owner=owner,
                    step_key=key, began=now, ended=None, state="running", reason="",
                )
            )  # fmt: skip
        return attempt

    @patient
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
        entry = {
            "state": state, "inputs": _text(inputs), "outputs": _text(outputs), "outputs_hash": outputs_hash,
            "seconds": seconds, "reason": reason,
        }  # fmt: skip
        wanted = list(dependents)
        return self.patience.through(lambda again: self._complete(attempt, entry, wanted, again))

    def _complete(
        self, attempt: Attempt, entry: dict[str, Any], dependents: list[tuple[str, str]], again: bool
    ) -> bool:
        with self.engine.begin() as connection:
            now = self._now(connection)
            before = connection.execute(
                sa.select(ENTRIES.c.outputs_hash).where(*self._place(attempt.step, attempt.start))
            ).scalar_one()
            kept = connection.execute(
                self._held(attempt).values(
                    tries=0, next_try=0.0, done_key=attempt.key, ended=now, lease_until=0.0, **entry
                )
            )
            if kept.rowcount != 1:
                if again and self._witness(connection, attempt) == entry["state"]:
                    return True  # it was recorded; only the answer was lost
                raise FencedError(self._fenced(attempt))
            self._close(connection, attempt, now, entry["state"], entry["reason"])
            changed = bool(before != entry["outputs_hash"])
            if changed and before:
                for step, start in dependents:
                    connection.execute(
                        self._update(step, start).values(marks=ENTRIES.c.marks + 1, next_try=0.0, tries=0)
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
        return self.patience.through(
            lambda again: self._give_back(attempt, reason, failed, retries, wait_s, again=again)
        )

    def _give_back(
        self, attempt: Attempt, reason: str, failed: bool, retries: int, wait_s: float, *, again: bool
    ) -> State:
        with self.engine.begin() as connection:
            now = self._now(connection)
            tries = connection.execute(
                sa.select(ENTRIES.c.tries).where(*self._place(attempt.step, attempt.start))
            ).scalar_one() + int(failed)
            state: State = "failed" if failed and tries > retries else "waiting"
            kept = connection.execute(
                self._held(attempt).values(
                    state=state, tries=tries, next_try=now + wait_s, reason=reason, lease_until=0.0, ended=now
                )
            )
            ended = "failed" if failed else "waiting"
            if kept.rowcount != 1:
                if again and self._witness(connection, attempt) == ended:
                    return state
                raise FencedError(self._fenced(attempt))
            self._close(connection, attempt, now, ended, reason)
        return state

    @patient
    def unchanged(self, entry: Entry) -> bool:
        """Take the mark off an entry whose inputs turned out to be the same; false where it changed meanwhile."""
        with self.engine.begin() as connection:
            kept = connection.execute(
                self._update(entry.step, entry.start)
                .where(
                    ENTRIES.c.attempt == entry.attempt,
                    ENTRIES.c.marks == entry.marks,
                    ENTRIES.c.state.in_(COMPLETE),
                )
                .values(marks=0, reason="its inputs did not change")
            )
        return bool(kept.rowcount == 1)

    @patient
    def mark(self, step: str, start: str) -> None:
        """Mark a complete step: it is looked at again, and done again where its key has changed."""
        with self.engine.begin() as connection:
            connection.execute(
                self._update(step, start).where(ENTRIES.c.state.in_(COMPLETE)).values(marks=ENTRIES.c.marks + 1)
            )

    @patient
    def ask_again(
        self, steps: Sequence[str], starts: Sequence[str] | None, reason: str, *, failed_only: bool, span: bool = False
    ) -> int:
        """Let steps run again and return how many will.

        Args:
            steps: Their names.
            starts: Intervals; all where absent.
            reason: For people.
            failed_only: Only those that were given up, not complete ones.
            span: Every interval from the first to the last of `starts`, instead of only these.
        """
        change = (
            sa.update(ENTRIES)
            .where(
                ENTRIES.c.pipeline == self.pipeline,
                ENTRIES.c.step.in_(list(steps)),
                ENTRIES.c.state.in_(["failed"]) if failed_only else ENTRIES.c.state.in_(["failed", *COMPLETE]),
            )
            .values(state="waiting", tries=0, next_try=0.0, done_key="", reason=reason)
        )
        if starts is not None and span:
            change = change.where(ENTRIES.c.start >= min(starts), ENTRIES.c.start <= max(starts))
        elif starts is not None:
            change = change.where(ENTRIES.c.start.in_(list(starts)))
        with self.engine.begin() as connection:
            return int(connection.execute(change).rowcount)

    def _insert(self, places: Sequence[tuple[str, str]]) -> None:
        """Make rows of (step, interval), all or none."""
        blank = {
            "pipeline": self.pipeline, "state": "waiting", "attempt": 0, "tries": 0, "marks": 0, "owner": "",
            "lease_until": 0.0, "next_try": 0.0, "done_key": "", "inputs": "{}", "outputs": "{}", "outputs_hash": "",
            "ended": 0.0, "seconds": 0.0, "reason": "",
        }  # fmt: skip
        if places:
            with self.engine.begin() as connection:
                connection.execute(sa.insert(ENTRIES), [{**blank, "step": step, "start": at} for step, at in places])

    def _insert_one(self, place: tuple[str, str]) -> bool:
        try:
            self._insert([place])
        except sa.exc.IntegrityError:
            return False
        return True

    def _place(self, step: str, start: str) -> tuple[sa.ColumnElement[bool], ...]:
        return ENTRIES.c.pipeline == self.pipeline, ENTRIES.c.step == step, ENTRIES.c.start == start

    def _update(self, step: str, start: str) -> sa.Update:
        return sa.update(ENTRIES).where(*self._place(step, start))

    def _held(self, attempt: Attempt) -> sa.Update:
        """The entry, as long as this attempt holds it."""
        return self._update(attempt.step, attempt.start).where(
            ENTRIES.c.attempt == attempt.number, ENTRIES.c.state == "running"
        )

    def _attempt_row(self, step: str, start: str, number: int) -> sa.Update:
        return sa.update(ATTEMPTS).where(
            ATTEMPTS.c.pipeline == self.pipeline,
            ATTEMPTS.c.step == step,
            ATTEMPTS.c.start == start,
            ATTEMPTS.c.attempt == number,
        )

    def _close(self, connection: sa.Connection, attempt: Attempt, now: float, state: str, reason: str) -> None:
        connection.execute(
            self._attempt_row(attempt.step, attempt.start, attempt.number).values(ended=now, state=state, reason=reason)
        )

    def _witness(self, connection: sa.Connection, attempt: Attempt) -> str | None:
        """The state of this very attempt: whether a change whose answer was lost was made."""
        rows = sa.select(ATTEMPTS.c.state).where(
            ATTEMPTS.c.pipeline == self.pipeline,
            ATTEMPTS.c.step == attempt.step,
            ATTEMPTS.c.start == attempt.start,
            ATTEMPTS.c.attempt == attempt.number,
            ATTEMPTS.c.owner == attempt.owner,
        )
        state: str | None = connection.execute(rows).scalar_one_or_none()
        return state

    def _fenced(self, attempt: Attempt) -> str:
        return (
            f"attempt {attempt.number} at {attempt.step} of {attempt.start} lost its lease: another attempt took over"
        )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
