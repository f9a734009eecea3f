"""The runner: does what the ledger says is to be done, as soon as its inputs are complete.

It keeps nothing that the ledger does not know. It may be killed at any moment, and several may run at once, on several
machines: each step is taken by one of them, and what a dead one held is taken over when its lease runs out.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import wait as wait_any
from typing import Any

from sanmaru.errors import UserError
from sanmaru.pipelines.context import StepContext
from sanmaru.pipelines.ledger import Attempt, Entry, FencedError, Ledger
from sanmaru.pipelines.plan import Plan, inputs_of
from sanmaru.pipelines.work import Result, Task, Worker, moment

Told = Callable[[str, Entry, str], None]
"""Called with what happened (`begun`, `done`, `nothing`, `unchanged`, `waiting`, `failed`, `lost`), to which entry,
and a sentence."""

LOOK_S = 0.5
"""Seconds between looks at the workers while nothing ends."""


@dataclass
class Summary:
    """What a call of `Runner.run` did."""

    done: int = 0
    nothing: int = 0
    unchanged: int = 0
    failed: int = 0
    """Attempts that failed."""
    lost: int = 0
    next_try: float | None = None
    """Ledger time at which something may be tried again; None where nothing is left that time alone would bring."""
    blocked: dict[str, str] = field(default_factory=dict)
    """`step@interval` to why it cannot go on: what it waits for, or why it was given up."""


@dataclass
class _Held:
    """A step that this runner has taken."""

    entry: Entry
    attempt: Attempt
    inputs: dict[str, str]


@dataclass
class _Busy(_Held):
    """A step under way."""

    worker: Worker
    renewed: float


class Runner:
    """Does a pipeline's steps in worker processes.

    Args:
        plan: The pipeline.
        ledger: Its ledger.
        workers: Steps done at once; the config's where absent.
        tell: Told of everything that happens.
    """

    def __init__(self, plan: Plan, ledger: Ledger, *, workers: int | None = None, tell: Told | None = None) -> None:
        self.plan = plan
        self.ledger = ledger
        self.tell = tell or (lambda what, entry, text: None)
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self._idle = [Worker() for _ in range(workers or plan.config.workers)]
        self._busy: list[_Busy] = []

    def close(self) -> None:
        """End the worker processes; a step under way is cut off, and done again after its lease."""
        for worker in [*self._idle, *(busy.worker for busy in self._busy)]:
            worker.stop()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(self, *, since: datetime | None = None, until: datetime | None = None, check: bool = False) -> Summary:
        """Do everything that can be done now for the intervals that have ended, and return.

        Args:
            since: The first interval is the one that holds it; the pipeline's first where absent.
            until: Intervals that end later are left out; now where absent.
            check: Look at complete steps too, whether code, settings or inputs have changed since.
        """
        end = moment(self.ledger.now()) if until is None else until
        starts = list(self.plan.due(since, end))
        self.ledger.expect(self.plan.order, starts)
        if not starts:
            return Summary()
        if check:
            self._mark_changed(starts)
        window = (starts[0], self.plan.every.after(self.plan.interval(starts[-1])).name)
        summary = Summary()
        ready: deque[Entry] = deque()
        while True:
            if not ready and not self._busy:
                ready.extend(self._snapshot(window, summary))
                if not ready:
                    return summary
            while ready and self._idle:
                self._start(ready.popleft(), summary, ready)
            if self._busy:
                self._look(summary, ready)

    def _mark_changed(self, starts: list[str]) -> None:
        """Mark complete steps whose key is no longer the one they were done with; what needs them follows by itself."""
        entries = {(e.step, e.start): e for e in self.ledger.entries(since=starts[0])}
        for start in starts:
            for step in self.plan.order:
                entry = entries[step, start]
                if not entry.complete:
                    continue
                inputs = inputs_of(self.plan.needs(step, start), entries)
                if isinstance(inputs, dict) and self._key(step, inputs)[0] != entry.done_key:
                    self.ledger.mark(step, start)

    def _snapshot(self, window: tuple[str, str], summary: Summary) -> list[Entry]:
        """Return what may be started, earliest interval first; note what may not, and why."""
        now = self.ledger.now()
        summary.blocked.clear()
        summary.next_try = None
        found = []
        for entry in self.ledger.open_entries(since=window[0], until=window[1]):
            if entry.step not in self.plan.rank:
                continue
            place = f"{entry.step}@{entry.start}"
            if entry.state == "failed" and not entry.marks:
                summary.blocked[place] = f"given up: {entry.reason}"
                continue
            later = max(entry.next_try, self._not_before(entry))
            if entry.state == "running" and entry.lease_until > now:
                later = entry.lease_until
                summary.blocked[place] = f"{entry.owner} is at it"
            if later > now:
                summary.blocked.setdefault(place, entry.reason or "its time has not come")
                summary.next_try = min(later, summary.next_try or later)
                continue
            waits = self._inputs(entry)
            if isinstance(waits, str):
                summary.blocked[place] = waits
                continue
            found.append(entry)
        return sorted(found, key=lambda entry: (entry.start, self.plan.rank[entry.step]))

    def _not_before(self, entry: Entry) -> float:
        delay = self.plan.step(entry.step).delay
        return self.plan.interval(entry.start).end.timestamp() + delay if delay else 0.0

    def _inputs(self, entry: Entry) -> dict[str, str] | str:
        needed = self.plan.needs(entry.step, entry.start)
        return inputs_of(needed, self._needed(needed))

    def _needed(self, needed: list[tuple[str, str]]) -> dict[tuple[str, str], Entry]:
        if not needed:
            return {}
        steps, starts = {step for step, _ in needed}, [start for _, start in needed]
        rows = self.ledger.entries(steps=sorted(steps), since=min(starts), until=max(starts) + "~")
        return {(row.step, row.start): row for row in rows}

    def _start(self, entry: Entry, summary: Summary, ready: deque[Entry]) -> None:
        needed = self.plan.needs(entry.step, entry.start)
        rows = self._needed(needed)
        inputs = inputs_of(needed, rows)
        if isinstance(inputs, str):
            return
        key, wrong = self._key(entry.step, inputs)
        if entry.state in ("done", "nothing") and key == entry.done_key:
            if self.ledger.unchanged(entry):
                summary.unchanged += 1
                self.tell("unchanged", entry, "its inputs did not change")
                ready.extendleft(self._freed(entry)[::-1])
            return
        attempt = self.ledger.claim(entry, key, self.owner, self.plan.config.lease_s)
        if attempt is None:
            return
        if wrong:
            result = Result(state="failed", outputs={}, reason=wrong)
            ready.extendleft(self._book(_Held(entry, attempt, inputs), result, summary))
            return
        own = [rows[place] for place in needed if place[1] == entry.start]
        if own and all(row.state == "nothing" for row in own):
            idle = Result(state="nothing", outputs={}, reason="its inputs have nothing new")
            ready.extendleft(self._book(_Held(entry, attempt, inputs), idle, summary)[::-1])
            return
        interval = self.plan.interval(entry.start)
        config = self.plan.step(entry.step)
        given: dict[str, dict[str, Any]] = {need.step: {} for need in config.needs}
        for step, start in needed:
            given[step][start] = rows[step, start].outputs
        context = StepContext(
            folder=self.plan.folder, pipeline=self.plan.name, step=entry.step, start=interval.start, end=interval.end,
            inputs=given, settings=config.settings, attempt=attempt.number,
        )  # fmt: skip
        worker = self._idle.pop()
        self._busy.append(_Busy(entry, attempt, inputs, worker, time.monotonic()))
        self.tell("begun", entry, f"attempt {attempt.number}")
        worker.begin(Task(context=context, call=config.call, command=config.command), config.timeout_s)

    def _key(self, step: str, inputs: dict[str, str]) -> tuple[str, str]:
        """Return the key of a step, or why it has none: its function cannot be found."""
        try:
            return self.plan.key(step, inputs), ""
        except UserError as error:
            return "", str(error)

    def _look(self, summary: Summary, ready: deque[Entry]) -> None:
        """Wait a moment for a step to end; book those that have, and renew the leases of the others."""
        wait_any([busy.worker.pipe for busy in self._busy], timeout=LOOK_S)
        for busy in list(self._busy):
            result = busy.worker.result(self.plan.step(busy.entry.step).timeout_s)
            if result is not None:
                self._busy.remove(busy)
                self._idle.append(busy.worker)
                ready.extendleft(self._book(busy, result, summary)[::-1])
            elif time.monotonic() - busy.renewed > self.plan.config.lease_s / 3:
                try:
                    self.ledger.renew(busy.attempt, self.plan.config.lease_s)
                    busy.renewed = time.monotonic()
                except FencedError as error:
                    self._busy.remove(busy)
                    busy.worker.stop()
                    self._idle.append(busy.worker)
                    summary.lost += 1
                    self.tell("lost", busy.entry, str(error))

    def _book(self, held: _Held, result: Result, summary: Summary) -> list[Entry]:
        """Write how a step went into the ledger; return what may start because of it."""
        entry, attempt = held.entry, held.attempt
        config = self.plan.step(entry.step)
        try:
            if result.state in ("done", "nothing"):
                self.ledger.complete(
                    attempt, state=result.state, inputs=held.inputs, outputs=result.outputs,  # type: ignore[arg-type]
                    outputs_hash=result.outputs_hash or NOTHING_HASH, seconds=result.seconds, reason=result.reason,
                    dependents=self.plan.dependents(entry.step, entry.start),
                )  # fmt: skip
                setattr(summary, result.state, getattr(summary, result.state) + 1)
                self.tell(result.state, entry, result.reason or f"{result.seconds:.2f} s")
                return self._freed(entry)
            failed = result.state == "failed"
            wait_s = min(config.retry_wait_s * 2**entry.tries, 86400.0) if failed else config.poll_s
            state = self.ledger.give_back(
                attempt, reason=result.reason, failed=failed, retries=config.retries, wait_s=wait_s
            )
            summary.failed += failed
            after = "given up" if state == "failed" else f"again in {wait_s:g} s"
            self.tell("failed" if failed else "waiting", entry, f"{result.reason} ({after})")
        except FencedError as error:
            summary.lost += 1
            self.tell("lost", entry, str(error))
        return []

    def _freed(self, entry: Entry) -> list[Entry]:
        """Return the steps of the same interval that may start now that `entry` is complete."""
        freed = []
        now = self.ledger.now()
        rows = {row.step: row for row in self.ledger.entries(starts=[entry.start])}
        for step in self.plan.order:
            row = rows.get(step)
            wants = any(need.step == entry.step for need in self.plan.step(step).needs)
            if row is None or not wants or row.complete or row.state in ("running", "failed"):
                continue
            if max(row.next_try, self._not_before(row)) <= now and isinstance(self._inputs(row), dict):
                freed.append(row)
        return freed


NOTHING_HASH = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: the outputs of a step that had nothing to do."""
