"""What `sanmaru train` shows: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from sanmaru.experiments.progress import Event

STAGES = {
    "read": "reading the data",
    "score": "scoring",
    "baselines": "judging naive forecasts",
    "package": "writing the model package",
    "report": "writing the report",
    "tracking": "mirroring to MLflow",
}
QUIET_S = 10.0
"""Without a terminal, a fold's progress is told at most this often."""


@contextlib.contextmanager
def shown() -> Iterator[Callable[[Event], None]]:
    """Yield a watcher of `experiments.train` that prints what happens.

    What a run came to goes to stdout; bars, and the progress lines that stand for them, to stderr.
    """
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    if console.is_terminal:
        with _bars(console) as bars:
            yield _Shown(console.print, _Bars(bars))
    else:
        yield _Shown(_plain, _Lines())


class _Shown:
    """Prints the lines that stay, and passes what moves on to `moving`."""

    def __init__(self, say: Callable[..., None], moving: _Bars | _Lines) -> None:
        self._say = say
        self._moving = moving

    def __call__(self, event: Event) -> None:
        facts = event.facts
        match event.kind:
            case "run":
                self._begin(facts)
            case "progress":
                self._moving.progress(event.fold or 0, facts)
            case "stage":
                self._moving.stage(STAGES.get(facts["name"], ""))
            case "note":
                self._moving.note(event.fold or 0, facts["text"])
            case "fold":
                self._moving.finished(event.fold or 0)
                self._say(fold_line(facts))
            case "score":
                interval = f"{number(facts['low'])} to {number(facts['high'])}"
                self._say(f"{facts['metric']} {number(facts['value'])}  95 % interval {interval}")
            case "baseline":
                self._say(facts["text"])
            case "warning":
                self._say(f"warning: {facts['text']}")
            case "done":
                self._moving.stage("")
                self._end(facts)

    def _begin(self, facts: dict[str, Any]) -> None:
        verb = "resumed: " if facts["resumed"] else ""
        self._say(f"run {facts['run']}  {verb}{facts['rows']:,} rows, {facts['folds']} folds, {facts['metric']}")
        for note in facts["notes"]:
            self._say(note)
        if facts["quarantined"]:
            rules = ", ".join(f"{count} {rule}" for rule, count in facts["quarantine_rules"].items())
            plural = "rows" if facts["quarantined"] > 1 else "row"
            self._say(
                f"{facts['quarantined']:,} {plural} could not be used ({rules}): {facts['folder']}/quarantine.csv"
            )

    def _end(self, facts: dict[str, Any]) -> None:
        self._say(f"run     {facts['folder']}")
        if facts["report"]:
            self._say(f"report  {facts['folder']}/report.html")
        self._say("next    sanmaru compare")
        self._say(f"        sanmaru predict {facts['run']} test.csv -o predictions.csv")
        self._say(f"        sanmaru register {facts['run']}")


class _Bars:
    """A bar per fold, and a spinner for the stages around the folds."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[int, Any] = {}
        self._stage: Any = None

    def progress(self, fold: int, facts: dict[str, Any]) -> None:
        if fold not in self._tasks:
            self._tasks[fold] = self._bars.add_task(f"fold {fold}", total=facts["total"], shown="")
        self._bars.update(self._tasks[fold], completed=facts["done"], total=facts["total"], shown=progress_text(facts))

    def finished(self, fold: int) -> None:
        if fold in self._tasks:
            self._bars.remove_task(self._tasks.pop(fold))

    def stage(self, text: str) -> None:
        if self._stage is not None:
            self._bars.remove_task(self._stage)
            self._stage = None
        if text:
            self._stage = self._bars.add_task(text, total=None, shown="")

    def note(self, fold: int, text: str) -> None:
        self._bars.console.print(f"fold {fold}: {text}", style="dim")


class _Lines:
    """Progress as plain lines on stderr, not too many."""

    def __init__(self) -> None:
        self._told: dict[int, float] = {}

    def progress(self, fold: int, facts: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._told.setdefault(fold, now) >= QUIET_S:
            self._told[fold] = now
            _plain(f"fold {fold}: {progress_text(facts)}", file=sys.stderr)

    def finished(self, fold: int) -> None:
        self._told.pop(fold, None)

    def stage(self, text: str) -> None:
        pass

    def note(self, fold: int, text: str) -> None:
        _plain(f"fold {fold}: {text}", file=sys.stderr)


def fold_line(facts: dict[str, Any]) -> str:
    """Return the one line that stays of a fold."""
    parts = [
        f"fold {facts['fold']}",
        f"{facts['rows']:,} rows",
        f"{facts['metric']} {number(facts['scores'].get(facts['metric']))}",
    ]
    if facts["best_step"] is not None:
        parts.append(f"best step {facts['best_step']}")
    parts.append(f"{facts['seconds']['total']:.1f} s")
    if facts["honest_fraction"] is not None:
        parts.append(f"honest fraction {facts['honest_fraction']:.2f}")
    return "  ".join(parts)


def progress_text(facts: dict[str, Any]) -> str:
    """Return such as ``epoch 3/10  train_loss 0.412  accuracy 0.87``."""
    known = ("at_s", "done", "total", "unit")
    values = "".join(f"  {name} {number(value)}" for name, value in facts.items() if name not in known)
    return f"{facts['unit']} {facts['done']}/{facts['total']}{values}"


def number(value: Any) -> str:
    """Return a number with four significant digits, and none of those of a large whole part lost."""
    if not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[shown]}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _plain(text: str, file: Any = None) -> None:
    print(text, file=file or sys.stdout, flush=True)
