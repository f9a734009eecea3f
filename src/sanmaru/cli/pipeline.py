"""`sanmaru pipeline`: run the project's steps, see how they stand, do them again."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from sanmaru.errors import UserError, nearest

if TYPE_CHECKING:
    from sanmaru.pipelines.ledger import Entry, Ledger
    from sanmaru.pipelines.plan import Plan
    from sanmaru.pipelines.runner import Summary

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Run steps that are tied by completion, for every data interval.",
)

ProjectOption = Annotated[Path, typer.Option("--project", help="Folder of the project.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First interval: the one that holds this date or time.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Leave out intervals that end after this date or time.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Steps done at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def run(
    since: FromOption = None,
    until: ToOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look at complete steps too: do them again where code or settings changed.")
    ] = False,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Do everything that can be done now, and stop.

    Examples:
      sanmaru pipeline run
      sanmaru pipeline run --from 2026-11-01 --check
    """
    plan, ledger = _open(project)
    summary = _run(plan, ledger, since=since, until=until, check=check, workers=workers, quiet=as_json)
    _finish(summary, as_json)


@app.command()
def backfill(
    since: Annotated[str, typer.Option("--from", help="First interval: the one that holds this date or time.")],
    until: Annotated[str, typer.Option("--to", help="Leave out intervals that end after this date or time.")],
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Do a span of intervals, what is complete excepted; given up steps of it are tried again.

    Example:
      sanmaru pipeline backfill --from 2026-01-01 --to 2026-02-01 --workers 4
    """
    plan, ledger = _open(project)
    starts = list(plan.due(_moment(plan, since), _moment(plan, until) or _now(ledger)))
    if not starts:
        raise UserError(f"no interval of {plan.config.every} lies between {since} and {until}.")
    ledger.ask_again(plan.order, starts, "backfill", failed_only=True)
    summary = _run(plan, ledger, since=since, until=until, workers=workers, quiet=as_json)
    _finish(summary, as_json)


@app.command()
def status(as_json: JsonOption = False, project: ProjectOption = Path()) -> None:
    """Show how many intervals of each step are complete, and what is not, with reasons."""
    plan, ledger = _open(project)
    found = _status(plan, ledger)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print_status(found)


@app.command()
def retry(
    steps: Annotated[list[str] | None, typer.Argument(help="Steps; all of them where absent.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Complete ones too (a revision): what their new outputs change follows.")
    ] = False,
    since: FromOption = None,
    until: ToOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Let steps that were given up run again, with the next `sanmaru pipeline run`.

    Examples:
      sanmaru pipeline retry
      sanmaru pipeline retry collect --again --from 2026-11-20 --to 2026-11-21
    """
    plan, ledger = _open(project)
    names = steps or list(plan.order)
    for name in names:
        if name not in plan.rank:
            raise UserError(f"there is no step {name!r}. {nearest(name, plan.order)}")
    if again and since is None:
        raise UserError("--again does complete intervals once more: say from which on, with --from.")
    starts = None
    if since is not None or until is not None:
        starts = list(plan.due(_moment(plan, since), _moment(plan, until) or _now(ledger)))
    number = ledger.ask_again(names, starts, "asked for", failed_only=not again)
    typer.echo(f"{number} step{'s' if number != 1 else ''} will run again. Next: sanmaru pipeline run")


@app.command()
def schedule(
    workers: WorkersOption = None,
    look_s: Annotated[float, typer.Option(min=0.1, help="Longest pause between looks at the ledger.")] = 30,
    project: ProjectOption = Path(),
) -> None:
    """Stay, and do every interval as soon as it has ended and its inputs are complete. Ctrl-C stops.

    What was missed while nothing ran is done first; nothing is skipped.
    """
    from sanmaru.pipelines.runner import Runner

    plan, ledger = _open(project)
    with Runner(plan, ledger, workers=workers, tell=_tell) as runner:
        while True:
            summary = runner.run()
            now = ledger.now()
            ends = plan.every.at(_now(ledger)).end.timestamp()
            wake = min(ends, summary.next_try or ends) - now
            time.sleep(min(max(wake, 0.1), look_s))


@app.command()
def watch(
    look_s: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2,
    project: ProjectOption = Path(),
) -> None:
    """Show how things stand, again and again. Ctrl-C stops."""
    plan, ledger = _open(project)
    while True:
        click.clear()
        _print_status(_status(plan, ledger))
        time.sleep(look_s)


def _open(folder: Path) -> tuple[Plan, Ledger]:
    from sanmaru.database import open_engine
    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.plan import Plan
    from sanmaru.project import Project

    project = Project.load(folder)
    config = project.file.pipeline
    if config is None:
        raise UserError(f"the project file of {project.name} has no pipeline: with steps. See docs/stages/pipeline.md.")
    return Plan(project.name, config, project.folder), Ledger(open_engine(config.ledger, project.folder), project.name)


def _run(
    plan: Plan,
    ledger: Ledger,
    *,
    since: str | None,
    until: str | None,
    workers: int | None,
    quiet: bool,
    check: bool = False,
) -> Summary:
    from sanmaru.pipelines.runner import Runner

    with Runner(plan, ledger, workers=workers, tell=None if quiet else _tell) as runner:
        return runner.run(since=_moment(plan, since), until=_moment(plan, until), check=check)


def _tell(what: str, entry: Entry, text: str) -> None:
    if what != "begun":
        typer.echo(f"{entry.start}  {entry.step:<16} {what:<9} {text}", err=True)


def _finish(summary: Summary, as_json: bool) -> None:
    given_up = {place: why for place, why in summary.blocked.items() if why.startswith("given up")}
    if as_json:
        typer.echo(json.dumps(vars(summary), ensure_ascii=False))
    else:
        typer.echo(
            f"{summary.done} done, {summary.nothing} with nothing new, {summary.unchanged} unchanged, "
            f"{summary.failed} failed attempts, {len(summary.blocked)} waiting or given up"
        )
        for place, why in list(summary.blocked.items())[:10]:
            typer.echo(f"  {place}: {why}")
    if given_up:
        raise typer.Exit(1)


def _status(plan: Plan, ledger: Ledger) -> dict[str, Any]:
    counts = ledger.counts()
    now = ledger.now()
    open_now = ledger.open_entries(limit=200)
    return {
        "pipeline": plan.name,
        "every": plan.config.every,
        "steps": {step: counts.get(step, {}) for step in plan.order},
        "open": [
            {
                "step": entry.step,
                "interval": entry.start,
                "state": "waiting" if entry.marks and entry.state != "running" else entry.state,
                "attempt": entry.attempt,
                "owner": entry.owner if entry.state == "running" else "",
                "next_try_s": max(0.0, round(entry.next_try - now, 1)),
                "reason": entry.reason,
            }
            for entry in open_now
        ],
    }


def _print_status(found: dict[str, Any]) -> None:
    states = ("done", "nothing", "running", "waiting", "failed")
    typer.echo(f"{found['pipeline']}, every {found['every']}\n")
    typer.echo(f"{'step':<20}" + "".join(f"{state:>10}" for state in states))
    for step, counts in found["steps"].items():
        typer.echo(f"{step:<20}" + "".join(f"{counts.get(state, 0):>10}" for state in states))
    shown = [one for one in found["open"] if one["reason"] or one["state"] in ("failed", "running")]
    for one in shown[:20]:
        who = f" by {one['owner']}" if one["owner"] else ""
        typer.echo(f"  {one['interval']}  {one['step']}: {one['state']}{who} {one['reason']}")


def _moment(plan: Plan, text: str | None) -> datetime | None:
    from sanmaru.pipelines.intervals import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text, plan.config.zone)
    except ValueError as error:
        raise UserError(str(error)) from None


def _now(ledger: Ledger) -> datetime:
    from sanmaru.pipelines.work import moment

    return moment(ledger.now())
