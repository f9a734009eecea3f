"""`sanmaru compare`: a leaderboard of runs, and for two runs a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from sanmaru.experiments.compare import Comparison, Entry

LONG = 8
"""Values of a list, above which only those are shown that not all runs have."""


def compare(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs by id or a part of it; all where absent.")
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="Rank by this metric.")] = None,
    format: Annotated[Literal["table", "json"], typer.Option("--format", help="For people or for scripts.")] = "table",
    project: Annotated[Path, typer.Option("--project", "-p", help="Project folder.")] = Path(),
) -> None:
    """Rank runs by their out-of-fold score, with 95 % intervals.

    Name exactly two runs to learn whether one is really better:

        sanmaru compare brave-otter calm-fox

        sanmaru compare --metric log_loss --format json
    """
    from sanmaru.experiments.compare import compare as compare_runs
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project

    opened = Project.load(project)
    found = compare_runs(opened, *(runs or ()), metric=metric)
    if format == "json":
        import json

        typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False, default=str))
    else:
        _print(found, [run.id for run in Run.all(opened)])


def _print(found: Comparison, ids: Sequence[str]) -> None:
    """Print a comparison; `ids` are all runs of the project, among which a short name has to be unique."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    ids = sorted({*ids, *(entry.run for entry in found.entries), *(other.run for other in found.unranked)})
    console = Console(highlight=False)
    narrow = console.width < 110
    direction = "higher is better" if found.greater_is_better else "lower is better"
    table = Table(title=f"{found.title}, {direction}", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("run", no_wrap=True)
    table.add_column("model")
    table.add_column("score ± 95 %", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    differ = any(entry.parameters for entry in found.entries)
    if differ and not narrow:
        table.add_column("differs", overflow="fold")
    for entry in found.entries:
        cells = [
            shortened(entry.run, ids) if narrow else entry.run,
            entry.model,
            _score(entry),
            duration(entry.seconds),
            size(entry.size_bytes),
            escape(_differs(entry, found.entries)),
        ]
        table.add_row(*cells[: len(table.columns)], style="dim" if entry.incomparable else "")
    console.print(table)
    if differ and narrow:
        console.print("\nwhat differs")
        for entry in found.entries:
            if entry.parameters:
                console.print(Text(f"  {shortened(entry.run, ids)}: {_differs(entry, found.entries)}"))
    for entry in found.entries:
        if entry.incomparable:
            text = f"* {entry.run} is not comparable with the others: {entry.incomparable}"
            console.print(Text(shortened(text, ids)))
    for other in found.unranked:
        console.print(Text(f"  {shortened(other.run, ids)}: {other.status} ({other.reason})", style="dim"))
    if found.verdict is not None:
        console.print()
        console.print(Text(shortened(found.verdict.text, ids), style="bold"))
    if found.verdict is not None and found.targets:
        _print_targets(found, ids)


def _print_targets(found: Comparison, ids: Sequence[str]) -> None:
    """Print the accuracy of both runs on each target by itself."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sanmaru.experiments.compare_targets import sentence

    assert found.verdict is not None
    console = Console(highlight=False)
    names = [shortened(run, ids) for run in (found.verdict.a, found.verdict.b)]
    table = Table(title="accuracy of each target", title_justify="left", box=None, pad_edge=False, padding=(0, 1))
    table.add_column("target", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("difference, 95 %", justify="right", no_wrap=True)
    for one in found.targets:
        cells = [one.name, f"{one.a:.4f}", f"{one.b:.4f}", f"{one.a - one.b:+.4f}, {one.low:+.4f} to {one.high:+.4f}"]
        table.add_row(*cells, style="" if one.better is None else "bold")
    console.print()
    console.print(table)
    console.print(Text(f"{sentence(found.targets)}; the verdict above is on the joint class"))


def short(run: str) -> str:
    """Return a run's id without its date: still enough to name it."""
    parts = run.split("-", 2)
    return parts[2] if len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit() else run


def shortened(text: str, ids: Sequence[str]) -> str:
    """Return a text with the ids in it shortened, where the short form is a part of no other id.

    >>> shortened("20261121-024500-otter-1a is better", ["20261121-024500-otter-1a", "20261121-024501-fox-2b"])
    'otter-1a is better'
    """
    for run in ids:
        if run in text and sum(short(run) in other for other in ids) == 1:
            text = text.replace(run, short(run))
    return text


def duration(seconds: float) -> str:
    """Write a time in the unit that people would choose.

    >>> duration(4.21), duration(75), duration(7260)
    ('4.2 s', '1:15', '2:01:00')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(n_bytes: float) -> str:
    """Write a size in the unit that people would choose.

    >>> size(900), size(2_500_000)
    ('900 B', '2.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} GB"


def _differs(entry: Entry, entries: Sequence[Entry]) -> str:
    """The entry's own values; of long lists only what not all entries have."""
    words = []
    for key, value in entry.parameters.items():
        shown = value
        if isinstance(value, list | tuple) and len(value) > LONG:
            others = [one.parameters[key] for one in entries if isinstance(one.parameters.get(key), list | tuple)]
            own = [one for one in value if not all(one in other for other in others)]
            shown = f"[{', '.join(['…', *map(repr, own)])}]" if len(own) < len(value) else value
        words.append(f"{key}={shown}")
    return " ".join(words)


def _score(entry: Entry) -> str:
    mark = "*" if entry.incomparable else ""
    half = (entry.high - entry.low) / 2
    if not half > 0:  # nan as well
        return f"{entry.value:.4g}{mark} ± {half:.2g}"
    digits = min(max(0, 1 - math.floor(math.log10(half))), 12)
    value = f"{entry.value:.{digits + 1 if digits else 0}f}"  # one digit more, so that near scores differ
    return f"{value}{mark} ± {half:.{digits}f}"
