"""`sanmaru pipeline retry`, `request` and `decisions`: what people ask for, and what was decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sanmaru.cli.pipeline.common import (
    FromOption,
    JsonOption,
    ProjectOption,
    ToOption,
    known_steps,
    open_ledger,
    open_plan,
    span,
)
from sanmaru.errors import UserError


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
    plan = open_plan(project)
    names = known_steps(plan, steps or list(plan.order))
    if again and since is None:
        raise UserError("--again does complete intervals once more: say from which on, with --from.")
    ledger = open_ledger(plan)
    starts = span(plan, ledger, since, until)
    number = ledger.ask_again(names, starts, "asked for", failed_only=not again, span=True) if starts != [] else 0
    typer.echo(f"{number} step{'s' if number != 1 else ''} will run again. Next: sanmaru pipeline run")


def request(
    what: Annotated[str, typer.Argument(help="What is asked for, such as retrain.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    project: ProjectOption = Path(),
) -> None:
    """Ask for a retraining: the next decision takes it up, and is recorded with the reason.

    Example:
      sanmaru pipeline request retrain --reason "two stations were recalibrated"
    """
    from sanmaru.steps.decisions import Decisions

    plan = open_plan(project)
    decisions = Decisions(open_ledger(plan).engine, plan.name)
    known = ["retrain"]
    if what not in known:
        from sanmaru.errors import nearest

        raise UserError(f"nobody decides on {what!r}. {nearest(what, known)}")
    decisions.request(what, reason)
    typer.echo(f"asked for: {what}. The next decision takes it up.")


def decisions(
    limit: Annotated[int, typer.Option(min=1, help="So many, newest first.")] = 20,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Show what was decided, by which trigger and with which figures, newest first.

    Example:
      sanmaru pipeline decisions --json
    """
    from sanmaru.steps.decisions import Decisions

    plan = open_plan(project)
    found = Decisions(open_ledger(plan).engine, plan.name).newest(limit)
    if as_json:
        typer.echo(json.dumps([one.to_dict() for one in found], ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one.interval}  {one.what}: {'yes' if one.yes else 'no'}  {one.reason}")
        for verdict in one.verdicts:
            typer.echo(f"    {'*' if verdict['fired'] else ' '} {verdict['trigger']:<10} {verdict['reason']}")
    if not found:
        typer.echo("nothing has been decided yet")
