"""`sanmaru pipeline run`, `backfill` and `step`: do steps now."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sanmaru.cli.pipeline.common import (
    PATIENCE_S,
    FromOption,
    JsonOption,
    ProjectOption,
    ToOption,
    WorkersOption,
    known_steps,
    open_ledger,
    open_plan,
    read_moment,
    span,
    stops_on_signal,
)
from sanmaru.errors import UserError

if TYPE_CHECKING:
    from sanmaru.pipelines.runner import Summary

STATUS = {"done": 0, "nothing": 99, "waiting": 75, "failed": 1}
"""Exit status of `step`: 75 is the usual "try again later", 99 the one that Airflow takes as a skip."""


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
    from sanmaru.cli.pipeline.told import line
    from sanmaru.pipelines.runner import Runner

    plan = open_plan(project)
    ledger = open_ledger(plan, PATIENCE_S)
    with Runner(plan, ledger, workers=workers, tell=None if as_json else line) as runner:
        stops_on_signal(runner)
        summary = runner.run(since=read_moment(plan, since), until=read_moment(plan, until), check=check)
    _finish(summary, as_json)


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
    from sanmaru.cli.pipeline.told import progress
    from sanmaru.pipelines.runner import Runner

    plan = open_plan(project)
    ledger = open_ledger(plan, PATIENCE_S)
    starts = span(plan, ledger, since, until)
    if not starts:
        raise UserError(f"no interval of {plan.config.every} lies between {since} and {until}.")
    ledger.expect(plan.order, starts)
    ledger.ask_again(plan.order, starts, "backfill", failed_only=True, span=True)
    complete = ledger.count_complete(starts[0], starts[-1])
    begin, end = read_moment(plan, since), read_moment(plan, until)
    with (
        progress(plan.order, len(starts), complete, quiet=as_json) as tell,
        Runner(plan, ledger, workers=workers, tell=tell) as runner,
    ):
        stops_on_signal(runner)
        summary = runner.run(since=begin, until=end)
    _finish(summary, as_json)


def step(
    name: Annotated[str, typer.Argument(metavar="STEP", help="Name of the step.")],
    interval: Annotated[
        str | None, typer.Option("--interval", help="The interval that holds this time, such as 2026-11-21T05:00Z.")
    ] = None,
    due: Annotated[bool, typer.Option("--due", help="Every interval that has ended, instead of one.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Do it again if it is complete and its code or settings changed.")
    ] = False,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Do exactly one step, for schedulers that call it: Airflow, cron.

    Ends with 0 when it is done, or was before; 99 when there was nothing new; 75 when it cannot be done yet; 1 when it
    failed. When to try again is the caller's to decide.

    Examples:
      sanmaru pipeline step collect --interval 2026-11-21T05:00Z
      sanmaru pipeline step retrain --due --json
    """
    from sanmaru.pipelines.logs import log_path
    from sanmaru.pipelines.runner import Runner

    if (interval is None) != due:
        raise UserError("say which interval: --interval 2026-11-21T05:00Z, or --due for every one that has ended.")
    plan = open_plan(project)
    known_steps(plan, [name])
    ledger = open_ledger(plan, PATIENCE_S)
    with Runner(plan, ledger, workers=1) as runner:
        stops_on_signal(runner)
        if due:
            summary = runner.run(only=[name], check=check)
            state, reason, start = _state_of(summary), _counts(summary), None
        else:
            moment = read_moment(plan, interval)
            assert moment is not None
            if moment < plan.first.start:
                raise UserError(f"{interval} lies before the pipeline's start, {plan.first.name}.")
            start = plan.every.at(moment).name
            state, reason = runner.step(name, start, check=check)
            attempt = ledger.entries(steps=[name], starts=[start])[0].attempt
            log = log_path(runner.logs, name, start, attempt)
            if log.is_file():
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
    if as_json:
        told = {"step": name, "interval": start, "state": state, "reason": reason}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        typer.echo(f"{start or 'due'}  {name}: {state}: {reason}")
    raise typer.Exit(STATUS[state])


def _state_of(summary: Summary) -> str:
    given_up = any(why.startswith("given up") for why in summary.blocked.values())
    if summary.failed or given_up:
        return "failed"
    if summary.not_ready or summary.handed_back:
        return "waiting"
    return "done" if summary.done else "nothing"


def _counts(summary: Summary) -> str:
    return (
        f"{summary.done} done, {summary.nothing} with nothing new, {summary.unchanged} unchanged, "
        f"{summary.failed} failed attempts, {len(summary.blocked)} waiting or given up"
    )


def _finish(summary: Summary, as_json: bool) -> None:
    given_up = any(why.startswith("given up") for why in summary.blocked.values())
    if as_json:
        typer.echo(json.dumps(vars(summary), ensure_ascii=False))
    else:
        typer.echo(_counts(summary))
        for place, why in list(summary.blocked.items())[:10]:
            typer.echo(f"  {place}: {why}")
        if summary.handed_back:
            typer.echo(f"stopped; {summary.handed_back} handed back, to be done by the next run")
    if given_up:
        raise typer.Exit(1)
