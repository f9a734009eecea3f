"""What the commands share: options, opening the project's pipeline, reading times."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sanmaru.errors import UserError, nearest

if TYPE_CHECKING:
    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.plan import Plan
    from sanmaru.pipelines.runner import Runner

ProjectOption = Annotated[Path, typer.Option("--project", help="Folder of the project.")]
FromOption = Annotated[str | None, typer.Option("--from", help="First interval: the one that holds this date or time.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Leave out intervals that end after this date or time.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Steps done at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
PATIENCE_S = 300.0
"""How long a command that does steps waits for a database that is away."""


def open_plan(folder: Path) -> Plan:
    """Return the pipeline of a project, the settings of its built-in steps checked.

    Raises:
        ProjectFileError: when the project file, or `with:` of a built-in step, cannot be used.
        UserError: when it has no pipeline.
    """
    from sanmaru.pipelines.functions import check_settings
    from sanmaru.pipelines.plan import Plan
    from sanmaru.project import FILE_NAME, Project

    project = Project.load(folder)
    config = project.file.pipeline
    if config is None:
        raise UserError(f"the project file of {project.name} has no pipeline: with steps. See docs/stages/pipeline.md.")
    check_settings(config, project.lines, str(project.folder / FILE_NAME), project.file)
    return Plan(project.name, config, project.folder)


def open_ledger(plan: Plan, patience_s: float = 0.0) -> Ledger:
    """Return a pipeline's ledger, which waits so long for its database."""
    from sanmaru.database import open_engine
    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.patience import Patience

    patience = Patience(patience_s, lambda text: typer.echo(f"sanmaru: {text}", err=True))
    return Ledger(open_engine(plan.config.ledger, plan.folder), plan.name, patience)


def stops_on_signal(runner: Runner, grace_s: float = 0.0) -> None:
    """Let SIGTERM end a runner: what is under way has `grace_s` left, then it is handed back."""

    def answer(number: int, frame: Any) -> None:
        runner.stop(grace_s)

    signal.signal(signal.SIGTERM, answer)


def known_steps(plan: Plan, names: Sequence[str]) -> list[str]:
    """Return the names, all of which are steps.

    Raises:
        UserError: when one is not.
    """
    for name in names:
        if name not in plan.rank:
            raise UserError(f"there is no step {name!r}. {nearest(name, plan.order)}")
    return list(names)


def read_moment(plan: Plan, text: str | None) -> datetime | None:
    """Return the time that a text names, in the pipeline's time zone where it names none.

    Raises:
        UserError: when it is no date or time.
    """
    from sanmaru.pipelines.intervals import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text, plan.config.zone)
    except ValueError as error:
        raise UserError(str(error)) from None


def now_of(ledger: Ledger) -> datetime:
    """Return the ledger's time."""
    from sanmaru.pipelines.work import moment

    return moment(ledger.now())


def span(plan: Plan, ledger: Ledger, since: str | None, until: str | None) -> list[str] | None:
    """Return the names of the intervals between two texts; None where both are absent."""
    if since is None and until is None:
        return None
    return list(plan.due(read_moment(plan, since), read_moment(plan, until) or now_of(ledger)))
