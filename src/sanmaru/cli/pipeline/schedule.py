"""`sanmaru pipeline schedule`: stay, and do every interval when it can be done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sanmaru.cli.pipeline.common import ProjectOption, WorkersOption, now_of, open_ledger, open_plan, stops_on_signal

TIDY_S = 3600.0
"""Seconds between looks for old logs."""


def schedule(
    workers: WorkersOption = None,
    look_s: Annotated[float, typer.Option(min=0.1, help="Longest pause between looks at the ledger.")] = 30,
    grace_s: Annotated[float, typer.Option(min=0, help="Seconds that steps under way have left after SIGTERM.")] = 10,
    project: ProjectOption = Path(),
) -> None:
    """Stay, and do every interval as soon as it has ended and its inputs are complete.

    What was missed while nothing ran is done first; nothing is skipped. Ctrl-C and SIGTERM stop it: steps under way
    are handed back, and are done again by whoever runs next. While the database is away it waits.
    """
    from sanmaru.cli.pipeline.told import line
    from sanmaru.pipelines.logs import remove_old
    from sanmaru.pipelines.patience import StoppedError
    from sanmaru.pipelines.runner import Runner

    plan = open_plan(project)
    ledger = open_ledger(plan, float("inf"))
    tidied = float("-inf")
    with Runner(plan, ledger, workers=workers, tell=line) as runner:
        stops_on_signal(runner, grace_s)
        try:
            while not runner.stopped:
                summary = runner.run()
                if time.monotonic() - tidied > TIDY_S:
                    remove_old(runner.logs, plan.config.logs_days)
                    tidied = time.monotonic()
                # Never longer than `look_s`, whatever the clocks say: one of them may be set meanwhile.
                ends = plan.every.at(now_of(ledger)).end.timestamp()
                wake = min(ends, summary.next_try or ends) - ledger.now()
                runner.pause(min(max(wake, 0.1), look_s))
        except StoppedError:
            pass
    typer.echo("stopped; what was under way is handed back", err=True)
