"""The runner: does what the ledger says is to be done, as soon as its inputs are complete.

It keeps nothing that the ledger does not know. It may be killed at any moment, and several may run at once, on several
machines: each step is taken by one of them, and what a dead one held is taken over when its lease runs out.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import wait as wait_any
from typing import Any

from sanmaru.errors import UserError
from sanmaru.pipelines.context import StepContext
from sanmaru.pipelines.entries import Attempt, Entry, FencedError
from sanmaru.pipelines.functions import call_of
from sanmaru.pipelines.ledger import Ledger, far_ahead
from sanmaru.pipelines.logs import log_path
from sanmaru.pipelines.plan import Plan, inputs_of
from sanmaru.pipelines.work import Result, Task, Worker, moment

Told = Callable[[str, Entry, str], None]
"""Called with what happened (`begun`, `done`, `nothing`, `unchanged`, `waiting`, `failed`, `lost`), to which entry,
and a sentence."""

LONGEST_WAIT_S = 86400.0
"""Between a failure and the next try."""
ASK_NOW_S = 5.0
"""Seconds between questions for the ledger's time where a rough one does."""
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
    handed_back: int = 0
    """Steps cut off because the runner was told to stop; they run again as if they had not begun."""
    not_ready: int = 0
    """Steps that said that their data is not there yet."""
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
        # Several containers may share a name and a process id.
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
        self.logs = plan.folder / plan.config.logs
        self._asked_now = float("-inf"), 0.0
        self._stop = threading.Event()
        self._stop_at = 0.0
        self._idle = [Worker() for _ in range(workers or plan.config.workers)]
        self._busy: list[_Busy] = []
        self._only = frozenset(plan.order)
        self._asked: set[tuple[str, str]] = set()
        """Steps and intervals that said in this `run` that their data is not there yet."""

    def stop(self, grace_s: float = 0.0) -> None:
        """Let `run` end: it begins nothing more, and cuts off and hands back what is not done after `grace_s`.

        May be called from a signal handler or another thread.
        """
        self._stop_at = time.monotonic() + grace_s
        self._stop.set()
        self.ledger.patience.stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> None:
        """Wait so long, or until it is told to stop."""
        self._stop.wait(seconds)

    def close(self) -> None:
        """End the worker processes; a step under way is cut off and handed back.

        Where the database does not answer, it is done again after its lease.
        """
        self.ledger.patience.stopped.set()
        with contextlib.suppress(Exception):
            self._hand_back(Summary())
        for worker in [*self._idle, *(busy.worker for busy in self._busy)]:
            worker.stop()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def run(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        check: bool = False,
        only: Collection[str] | None = None,
    ) -> Summary:
        """Do everything that can be done now for the intervals that have ended, and return.

        A step whose data is not there yet is asked once, however short its `poll_s`; the next `run` asks again.

        Args:
            since: The first interval is the one that holds it; the pipeline's first where absent.
            until: Intervals that end later are left out; now where absent.
            check: Look at complete steps too, whether code, settings or inputs have changed since.
            only: Names of the steps to do; all of them where absent.
        """
        end = moment(self.ledger.now()) if until is None else until
        self._only = frozenset(self.plan.order if only is None else only)
        self._asked.clear()
        starts = list(self.plan.due(since, end))
        self.ledger.expect(self.plan.order, starts)
        if not starts:
            return Summary()
        if check:
            self._mark_changed(starts)
        window = (starts[0], self.plan.every.after(self.plan.interval(starts[-1])).name)
        summary = Summary()
        ready: deque[Entry] = deque()
        while not self.stopped:
            if not ready and not self._busy:
                ready.extend(self._snapshot(window, summary))
                if not ready:
                    return summary
            while ready and self._idle and not self.stopped:
                self._start(ready.popleft(), summary, ready)
            if self._busy:
                self._look(summary, ready)
        self._wind_up(summary)
        return summary

    def step(self, name: str, start: str, *, check: bool = False) -> tuple[str, str]:
        """Do one step for one interval, if it can be done now.

        Whoever asks decides when: neither the wait after a failure nor that it was given up holds the step back.

        Args:
            name: Of the step.
            start: Name of the interval.
            check: Look at it even if it is complete, whether code, settings or inputs have changed since.

        Returns:
            `done`, `nothing`, `waiting` or `failed`, and why in a sentence.
        """
        self._only = frozenset([name])
        self.ledger.expect([name], [start])
        if check:
            self._mark_changed([start])
        entry = self._entry(name, start)
        if entry.complete:
            return entry.state, "it was complete before"
        begins = self.plan.interval(start).end.timestamp() + self.plan.step(name).delay
        if (early := begins - self.ledger.now()) > 0:
            return "waiting", f"its interval is over, and may be looked at, in {early:.0f} s"
        inputs = self._inputs(entry)
        if isinstance(inputs, str):
            return "waiting", inputs
        summary = Summary()
        self._start(entry, summary, deque())
        while self._busy and not self.stopped:
            self._look(summary, deque())
        self._wind_up(summary)
        after = self._entry(name, start)
        if after.complete:
            return after.state, after.reason or f"{after.seconds:.2f} s"
        if after.state == "running":
            return "waiting", f"{after.owner} is at it"
        return "failed" if summary.failed else "waiting", after.reason or "its inputs changed meanwhile"

    def _entry(self, step: str, start: str) -> Entry:
        return self.ledger.entries(steps=[step], starts=[start])[0]

    def _wind_up(self, summary: Summary) -> None:
        """Let what is under way end until the time to stop has come; then hand it back."""
        while self._busy and time.monotonic() < self._stop_at:
            self._look(summary, deque())
        if self.stopped:
            self._hand_back(summary)

    def _hand_back(self, summary: Summary) -> None:
        for busy in list(self._busy):
            busy.worker.stop()
            self._busy.remove(busy)
            self._idle.append(busy.worker)
            with contextlib.suppress(FencedError):
                self.ledger.give_back(busy.attempt, reason="its runner was stopped", failed=False)
                summary.handed_back += 1
                self.tell("waiting", busy.entry, "handed back: its runner was stopped")

    def _mark_changed(self, starts: list[str]) -> None:
        """Mark complete steps whose key is no longer the one they were done with; what needs them follows by itself."""
        reach = self.plan.every.after(self.plan.interval(starts[0]), self.plan.reach).name
        entries = {(e.step, e.start): e for e in self.ledger.entries(since=reach, until=starts[-1] + "~")}
        for start in starts:
            for step in self.plan.order:
                entry = entries.get((step, start))
                if entry is None or step not in self._only or not entry.complete:
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
        entries = self.ledger.open_entries(since=window[0], until=window[1])
        around = self._around(entries)
        for entry in entries:
            if entry.step not in self._only:
                continue
            place = f"{entry.step}@{entry.start}"
            if entry.state == "failed" and not entry.marks:
                summary.blocked[place] = f"given up: {entry.reason}"
                continue
            later = max(self._next_try(entry, now), self._not_before(entry))
            if entry.state == "running" and now < entry.lease_until <= now + far_ahead(self.plan.config.lease_s):
                later = entry.lease_until
                summary.blocked[place] = f"{entry.owner} is at it"
            if later > now or (entry.step, entry.start) in self._asked:
                summary.blocked.setdefault(place, entry.reason or "its time has not come")
                summary.next_try = min(later, summary.next_try or later)
                continue
            waits = inputs_of(self.plan.needs(entry.step, entry.start), around)
            if isinstance(waits, str):
                summary.blocked[place] = waits
                continue
            found.append(entry)
        return sorted(found, key=lambda entry: (entry.start, self.plan.rank[entry.step]))

    def _about_now(self) -> float:
        """The ledger's time, asked for every few seconds only; in between this machine's clock carries it on."""
        asked, answer = self._asked_now
        passed = time.monotonic() - asked
        if passed > ASK_NOW_S:
            self._asked_now = time.monotonic(), self.ledger.now()
            return self._asked_now[1]
        return answer + passed

    def _around(self, entries: list[Entry]) -> dict[tuple[str, str], Entry]:
        """Everything that some of these entries may need, in one query."""
        if not entries or not any(self.plan.step(step).needs for step in self._only):
            return {}
        first = self.plan.every.after(self.plan.interval(entries[0].start), self.plan.reach).name
        rows = self.ledger.entries(since=first, until=entries[-1].start + "~")
        return {(row.step, row.start): row for row in rows}

    def _next_try(self, entry: Entry, now: float) -> float:
        """When it may be tried again; at once where that lies further ahead than any wait: the clock was set back."""
        config = self.plan.step(entry.step)
        longest = max(min(config.retry_wait_s * 2**entry.tries, LONGEST_WAIT_S), config.poll_s)
        return entry.next_try if entry.next_try <= now + longest + 1 else 0.0

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
            ledger=self.plan.config.ledger,
        )  # fmt: skip
        worker = self._idle.pop()
        self._busy.append(_Busy(entry, attempt, inputs, worker, time.monotonic()))
        self.tell("begun", entry, f"attempt {attempt.number}")
        log = log_path(self.logs, entry.step, entry.start, attempt.number)
        worker.begin(Task(context=context, call=call_of(config), command=config.command, log=log), config.timeout_s)

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
            if not failed:
                self._asked.add((entry.step, entry.start))
            wait_s = min(config.retry_wait_s * 2**entry.tries, LONGEST_WAIT_S) if failed else config.poll_s
            state = self.ledger.give_back(
                attempt, reason=result.reason, failed=failed, retries=config.retries, wait_s=wait_s
            )
            summary.failed += failed
            summary.not_ready += not failed
            after = "given up" if state == "failed" else f"again in {wait_s:g} s"
            self.tell("failed" if failed else "waiting", entry, f"{result.reason} ({after})")
        except FencedError as error:
            summary.lost += 1
            self.tell("lost", entry, str(error))
        return []

    def _freed(self, entry: Entry) -> list[Entry]:
        """Return the steps of the same interval that need `entry`, which is now complete."""
        if not any(need.step == entry.step for step in self._only for need in self.plan.step(step).needs):
            return []
        freed = []
        now = self._about_now()
        # Steps are named so that the primary key is used, not all intervals read.
        rows = {row.step: row for row in self.ledger.entries(steps=self.plan.order, starts=[entry.start])}
        for step in self.plan.order:
            row = rows.get(step)
            wants = any(need.step == entry.step for need in self.plan.step(step).needs)
            if row is None or not wants or step not in self._only or row.complete or row.state in ("running", "failed"):
                continue
            if max(self._next_try(row, now), self._not_before(row)) <= now:
                freed.append(row)  # whether its other inputs are complete is looked at when it is its turn
        return freed


NOTHING_HASH = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of `{}`: the outputs of a step that had nothing to do."""
