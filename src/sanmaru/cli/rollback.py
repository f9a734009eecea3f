"""`sanmaru rollback`: production back to the version before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def rollback(
    name: Annotated[str, typer.Argument(help="The model.")],
    why: Annotated[str, typer.Option(help="The reason, for the log.")] = "",
    project: Annotated[Path, typer.Option(help="Project folder.")] = Path(),
) -> None:
    """Give production back to the version that held it before.

    sanmaru rollback houses --why "predicts negative prices"
    """
    from sanmaru.project import Project
    from sanmaru.registry.models import rollback as roll_back

    move = roll_back(Project.load(project), name, why=why)
    typer.echo(f"{name} version {move.version.version} is in production again, in place of version {move.previous}")
