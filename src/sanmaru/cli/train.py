"""`sanmaru train`: k folds, their scores, a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sanmaru.experiments.progress import Event


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Fields of the project file to override."),
    ] = None,
    project: Annotated[Path, typer.Option("--project", help="Project folder or file.")] = Path("."),
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Continue a run that was cut short (id, part, `last`)."),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", help="inline, processes, ray, ray://host:port or ray://auto.")
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Folds fitted at once.")] = None,
) -> None:
    """Train k folds, score the out-of-fold predictions, and keep all of it as a run.

    \b
    sanmaru train
    sanmaru train train.learning_rate=1e-3 model.backbone=vit-small
    sanmaru train model.kind=linear --cluster processes --workers 4
    sanmaru train --resume last
    """
    from sanmaru.cli.progress import shown
    from sanmaru.errors import ProjectFileError
    from sanmaru.experiments.train import train as main_job
    from sanmaru.project import Project

    if resume is not None and overrides:
        raise ProjectFileError(
            f"a resumed run keeps its own settings, so {overrides[0]!r} cannot be given with --resume. Train a new run "
            "with it instead; where folds run may be changed, with --cluster and --workers."
        )
    loaded = Project.load(project, *(overrides or []))
    run = ""
    try:
        with shown() as show:

            def watch(event: Event) -> None:
                nonlocal run
                run = str(event.facts.get("run", run))
                show(event)

            main_job(loaded, resume=resume, watch=watch, cluster=cluster, workers=workers)
    except BaseException as error:
        if run:
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            typer.echo(f"run {run} {what}. Go on with it: sanmaru train --resume {run}", err=True)
        raise
