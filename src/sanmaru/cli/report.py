"""`sanmaru report`: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[str, typer.Argument(help="Id of a run, a unique part of it, or `last`.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; report.html in the run's folder where absent.")
    ] = None,
    project: Annotated[Path, typer.Option("--project", help="Project folder or file.")] = Path("."),
) -> None:
    """Write the self-contained HTML report of a run, and print where it lies.

    \b
    sanmaru report last
    sanmaru report brave-otter --output masks.html
    """
    from sanmaru.experiments.report import report as write_report
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project

    # A run's folder says itself what it belongs to; only a name has to be looked up in a project.
    is_folder = (Path(run) / "run.json").is_file()
    found = Run(Path(run).resolve()) if is_folder else Run.load(Project.load(project), run)
    path = write_report(found, output)
    typer.echo(str(path.resolve()))
