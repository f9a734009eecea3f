"""`sanmaru register`: a run becomes a version of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sanmaru.html.numbers import short


def register(
    run: Annotated[str, typer.Argument(help="A run: its id, a part of it, or `last`.")],
    name: Annotated[str | None, typer.Option(help="Name of the model; the project's name where absent.")] = None,
    project: Annotated[Path, typer.Option(help="Project folder.")] = Path(),
) -> None:
    """Register a run's model package as a new version, under the alias `dev`.

    sanmaru register last
    """
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project
    from sanmaru.registry.models import register as register_run

    version = register_run(Run.load(Project.load(project), run), name)
    score = "" if version.score is None else f", {version.metric} {short(version.score)}"
    typer.echo(f"registered {version.name} version {version.version} from run {version.run}{score}")
    typer.echo(f"promote it with: sanmaru promote {version.name} --to staging")
