"""`sanmaru explore`: the data report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def explore(
    project: Annotated[Path, typer.Option("--project", help="Project folder or file.")] = Path("."),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write; reports/explore.html where absent.")
    ] = None,
    format: Annotated[Literal["text", "json"], typer.Option(help="How the findings are printed.")] = "text",
) -> None:
    """Write an HTML report on the data, and print its findings with advice.

    \b
    sanmaru explore
    sanmaru explore --project digits --output digits-data.html
    sanmaru explore --format json | jq '.findings[] | select(.severity == "problem")'
    """
    import json

    from sanmaru.experiments.explore import explore as write_report
    from sanmaru.files import read_json
    from sanmaru.project import Project

    path = write_report(Project.load(project), output)
    record = read_json(path.with_suffix(".json"))
    if format == "json":
        typer.echo(json.dumps({**record, "report": str(path.resolve())}, indent=2, ensure_ascii=False))
        return
    colours = {"problem": typer.colors.RED, "warning": typer.colors.YELLOW, "info": typer.colors.BLUE}
    for finding in record["findings"]:
        word = {"info": "note"}.get(finding["severity"], finding["severity"])
        typer.echo(f"{typer.style(f'{word:>7}', fg=colours[finding['severity']], bold=True)}  {finding['title']}")
        if finding["severity"] != "info":
            typer.echo(f"         {finding['evidence']}")
            typer.echo(f"         → {finding['advice']}")
    if not record["findings"]:
        typer.echo("Nothing stands out.")
    typer.echo(f"report: {path.resolve()}")
