"""`sanmaru pipeline status` and `watch`: how things stand."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanmaru.cli.pipeline.common import JsonOption, ProjectOption, known_steps, open_ledger, open_plan, read_moment

if TYPE_CHECKING:
    from rich.table import Table

    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.plan import Plan

STATES = ("done", "nothing", "running", "waiting", "failed")
SHOWN = 20
"""Open entries shown to people."""


def status(
    log: Annotated[str | None, typer.Option("--log", metavar="STEP", help="Print what this step printed last.")] = None,
    interval: Annotated[str | None, typer.Option(help="With --log: of the interval that holds this time.")] = None,
    as_json: JsonOption = False,
    project: ProjectOption = Path(),
) -> None:
    """Show how many intervals of each step are complete, and what is not, with reasons.

    Examples:
      sanmaru pipeline status
      sanmaru pipeline status --log collect --interval 2026-11-21T05:00Z
    """
    plan = open_plan(project)
    if log is not None:
        _print_log(plan, log, interval, as_json)
        return
    found = _status(plan, open_ledger(plan))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{found['pipeline']}, every {found['every']}\n")
    typer.echo(f"{'step':<20}" + "".join(f"{state:>10}" for state in STATES))
    for step, counts in found["steps"].items():
        typer.echo(f"{step:<20}" + "".join(f"{counts.get(state, 0):>10}" for state in STATES))
    for text in _open_lines(found):
        typer.echo(f"  {text}")


def watch(
    look_s: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2,
    project: ProjectOption = Path(),
) -> None:
    """Show how things stand in a table that stays current. Ctrl-C stops."""
    from rich.console import Console
    from rich.live import Live

    plan = open_plan(project)
    ledger = open_ledger(plan, float("inf"))
    console = Console(highlight=False, markup=False)
    with Live(_table(_status(plan, ledger)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(look_s)
            live.update(_table(_status(plan, ledger)), refresh=True)


def _print_log(plan: Plan, step: str, interval: str | None, as_json: bool) -> None:
    from sanmaru.pipelines.logs import newest_log

    known_steps(plan, [step])
    moment = read_moment(plan, interval)
    start = None if moment is None else plan.every.at(moment).name
    folder = plan.folder / plan.config.logs
    found = newest_log(folder, step, start)
    text = "" if found is None else found.read_text(encoding="utf-8", errors="replace")
    if as_json:
        typer.echo(json.dumps({"step": step, "file": found and str(found), "text": text}, ensure_ascii=False))
    elif found is None:
        where = f" of {start}" if start else ""
        typer.echo(f"nothing that {step}{where} printed lies in {folder} on this machine")
    else:
        typer.echo(f"{found}\n{text}", nl=False)


def _status(plan: Plan, ledger: Ledger) -> dict[str, Any]:
    counts = ledger.counts()
    now = ledger.now()
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
            for entry in ledger.open_entries(limit=200)
        ],
    }


def _open_lines(found: dict[str, Any]) -> list[str]:
    shown = [one for one in found["open"] if one["reason"] or one["state"] in ("failed", "running")]
    lines = []
    for one in shown[:SHOWN]:
        who = f" by {one['owner']}" if one["owner"] else ""
        lines.append(f"{one['interval']}  {one['step']}: {one['state']}{who} {one['reason']}")
    return lines


def _table(found: dict[str, Any]) -> Table:
    from rich.table import Table

    caption = "\n".join(_open_lines(found))
    table = Table(title=f"{found['pipeline']}, every {found['every']}", caption=caption, caption_justify="left")
    table.add_column("step")
    for state in STATES:
        table.add_column(state, justify="right")
    for step, counts in found["steps"].items():
        table.add_row(step, *(f"{counts.get(state, 0):,}" for state in STATES))
    return table
