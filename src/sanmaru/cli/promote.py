"""`sanmaru promote`: an alias for a version, if the gate lets it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class _To(StrEnum):
    staging = "staging"
    production = "production"


def promote(
    name: Annotated[str, typer.Argument(help="The model.")],
    *,
    to: Annotated[_To, typer.Option(help="Where to.")],
    version: Annotated[
        int | None, typer.Option(help="Version; by default the newest, and for production the one in staging.")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason, for the log.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Promote although checks fail; needs --why.")] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="How much worse the score may be, as a fraction of the champion's.")
    ] = 0.01,
    project: Annotated[Path, typer.Option(help="Project folder.")] = Path(),
) -> None:
    """Promote a version to staging or production, if it is intact, fits the champion's signature and is not worse.

    sanmaru promote houses --to production --why "two new features"
    """
    from sanmaru.project import Project
    from sanmaru.registry.models import promote as promote_version

    move = promote_version(
        Project.load(project), name, to=to.value, version=version, why=why, force=force, tolerance=tolerance
    )
    if move.already:
        typer.echo(f"{name} version {move.version.version} is in {to.value} already")
        return
    for check in move.checks:
        typer.echo(f"  {check}")
    before = "" if move.previous is None else f", in place of version {move.previous}"
    forced = " by force" if move.forced else ""
    typer.echo(f"{name} version {move.version.version} is in {to.value} now{forced}{before}")
