"""The table of `sanmaru pipeline`'s commands."""

from __future__ import annotations

import typer

from sanmaru.cli.pipeline.ask import decisions, request, retry
from sanmaru.cli.pipeline.export import app as export
from sanmaru.cli.pipeline.run import backfill, run, step
from sanmaru.cli.pipeline.schedule import schedule
from sanmaru.cli.pipeline.status import status, watch

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Run steps that are tied by completion, for every data interval.",
)
for command in (run, backfill, step, status, watch, schedule, retry, request, decisions):
    app.command()(command)
app.add_typer(export, name="export")
