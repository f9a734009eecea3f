"""`sanmaru pipeline export`: the pipeline for another scheduler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sanmaru.cli.pipeline.common import ProjectOption, open_plan

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Write the pipeline down for another scheduler.",
)


@app.callback()
def export() -> None:
    """Write the pipeline down for another scheduler; the ledger stays the authority."""


@app.command()
def airflow(
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write; printed where absent.")] = None,
    steps: Annotated[str | None, typer.Option(help="Only these steps, separated by commas.")] = None,
    triggered: Annotated[
        bool, typer.Option("--triggered", help="Run when the steps these need have made something, not by the clock.")
    ] = False,
    catchup: Annotated[bool, typer.Option(help="Make runs for intervals of before the DAG was switched on.")] = True,
    command: Annotated[
        str | None, typer.Option("--command", help="How Airflow's machines call Sanmaru; this one where absent.")
    ] = None,
    project: ProjectOption = Path(),
) -> None:
    """Write one static DAG file, for Airflow 3.2 or newer, that does not import Sanmaru.

    Examples:
      sanmaru pipeline export airflow -o dags/air.py
      sanmaru pipeline export airflow --steps retrain,promote --triggered -o dags/retrain.py
    """
    from sanmaru.files import write_text
    from sanmaru.pipelines.airflow import dag_file

    plan = open_plan(project)
    names = None if steps is None else [name.strip() for name in steps.split(",") if name.strip()]
    text = dag_file(plan, command=command or _this_command(), steps=names, triggered=triggered, catchup=catchup)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"{out} written: put it into Airflow's dags folder")


def _this_command() -> str:
    beside = Path(sys.executable).parent / "sanmaru"
    return str(beside) if beside.is_file() else "sanmaru"
