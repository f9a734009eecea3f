"""`sanmaru ensemble`: combine runs into a new run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from sanmaru.experiments.runs import Run


def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Finished runs, by id or a part of it.")],
    method: Annotated[
        Literal["soft", "hard", "weights", "greedy", "rank", "stack"],
        typer.Option("--method", "-m", help="How outputs become one."),
    ] = "soft",
    weights: Annotated[
        str | None, typer.Option("--weights", help="For --method weights: one per member, such as 0.7,0.3.")
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", help="Out-of-fold predictions made elsewhere, keyed by id.")
    ] = None,
    project: Annotated[Path, typer.Option("--project", "-p", help="Project folder.")] = Path(),
) -> None:
    """Combine runs on their out-of-fold predictions; the gain is reported on nested folds.

    sanmaru ensemble brave-otter calm-fox --method greedy

    sanmaru ensemble brave-otter calm-fox --method weights --weights 0.7,0.3

    sanmaru ensemble brave-otter --file colleague.csv --method stack
    """
    from sanmaru.experiments.ensemble import ensemble as make
    from sanmaru.experiments.runs import Run
    from sanmaru.project import Project

    opened = Project.load(project)
    made = make(opened, runs, method=method, weights=_numbers(weights), files=file or ())
    _print(made, [run.id for run in Run.all(opened)])


def _numbers(text: str | None) -> list[float] | None:
    from sanmaru.errors import RunError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise RunError(f"--weights takes numbers separated by commas, such as 0.7,0.3, got {text!r}.") from None


def _print(run: Run, ids: Sequence[str]) -> None:
    from sanmaru.cli.compare import shortened
    from sanmaru.metrics.base import find_metric

    facts, score = run.facts, run.score()
    title = find_metric(score.metric).title
    ids = sorted({*ids, *(member["name"] for member in facts["members"] if member["kind"] == "run")})
    names = [shortened(name, ids) for name in (*(member["name"] for member in facts["members"]), run.id)]
    width = max(len(name) for name in names)
    weights = facts["combine"].get("weights")
    for place, member in enumerate(facts["members"]):
        weight = f", weight {weights[place]:.3g}" if weights else ""
        typer.echo(f"{names[place]:{width}}  {title} {member['score']:.4f}{weight}")
    typer.echo(
        f"{names[-1]:{width}}  {title} {score.value:.4f}, 95 % interval {score.low:.4f} to {score.high:.4f} "
        f"({facts['method']}, nested folds)"
    )
    typer.echo(shortened(facts["gain"]["text"], ids))
    typer.echo(f"run      {run.folder}")
    if facts["package"]:
        typer.echo(f"predict  sanmaru predict {run.id} FILE -o OUT")
    else:
        typer.echo(f"no model package: {facts['package_reason']}")
    for name in ("report_problem", "mirror_problem"):
        if facts.get(name):
            typer.echo(f"warning: {facts[name]}", err=True)
