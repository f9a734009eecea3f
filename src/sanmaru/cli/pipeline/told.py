"""What people see while steps are done: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sanmaru.pipelines.entries import Entry

QUIET_S = 10.0
"""Without a terminal, progress is told at most this often."""
_ENDED = ("done", "nothing", "unchanged")
_STAYS = ("failed", "lost")
"""Told by a line of its own, bars or not."""


def line(what: str, entry: Entry, text: str) -> None:
    """Print what happened, except that something began."""
    if what != "begun":
        typer.echo(_line(what, entry, text), err=True)


def _line(what: str, entry: Entry, text: str) -> str:
    return f"{entry.start}  {entry.step:<16} {what:<9} {text}"


@contextlib.contextmanager
def progress(
    steps: Sequence[str], intervals: int, complete: Mapping[str, int], *, quiet: bool
) -> Iterator[Callable[[str, Entry, str], None] | None]:
    """Yield what to tell a runner's doings to, while a span of intervals is filled.

    Args:
        steps: In order.
        intervals: How many there are.
        complete: How many of each step are complete already.
        quiet: Show nothing.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if quiet:
        yield None
    elif console.is_terminal:
        with _bars(console) as bars:
            tasks = {
                step: bars.add_task(step, total=intervals, completed=complete.get(step, 0), shown="") for step in steps
            }

            def tell(what: str, entry: Entry, text: str) -> None:
                if what in _ENDED:
                    bars.update(tasks[entry.step], advance=1)
                elif what in _STAYS:
                    bars.console.print(_line(what, entry, text))
                bars.update(tasks[entry.step], shown=entry.start)

            yield tell
    else:
        yield _Lines(len(steps) * intervals, sum(complete.values()))


class _Lines:
    """Failures at once; how far it is, now and then."""

    def __init__(self, total: int, complete: int) -> None:
        self._total = total
        self._before = self._now = complete
        self._began = self._told = time.monotonic()

    def __call__(self, what: str, entry: Entry, text: str) -> None:
        self._now += what in _ENDED
        if what in _STAYS:
            line(what, entry, text)
        elif time.monotonic() - self._told >= QUIET_S:
            self._told = time.monotonic()
            rate = (self._now - self._before) / (self._told - self._began)
            left = f", {(self._total - self._now) / rate / 60:.0f} min left" if rate else ""
            typer.echo(f"{self._now:,} of {self._total:,} steps, {rate:.1f} a second{left}", err=True)


def _bars(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}", markup=False),
    )
    return Progress(*columns, console=console)
