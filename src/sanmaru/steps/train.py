"""`use: train`: when it was decided so, train a challenger on everything but the recent window, and register it.

The recent window is kept aside for the contest that follows: neither the challenger nor the champion has learned from
it. Where nothing is in production yet, seasonal-naive takes that place first, so that there is a forecast from the
first hour on and the first real model has something to beat.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.errors import DataError, ProjectFileError
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import SERVICE, collected, keep_table, project_of, with_verdicts
from sanmaru.steps.versions import Trained, holder, known_versions, remember, remember_untrained

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project

BASELINE = "seasonal-naive"


class Settings(Config):
    """`with:` of the step."""

    window_days: Annotated[float, Field(gt=0)] = 28
    """The recent window that is kept aside for the contest."""
    history_days: Annotated[float, Field(gt=0)] | None = None
    """Days before it that are learned from; all of them where absent."""
    overrides: tuple[str, ...] = ()
    """Fields of the project file for this training, as on the command line: `model.kind=ridge`."""
    without_anomalies: bool = False
    """Whether values of rows that were flagged as strange count as missing in training."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `version`, `until` and `rows` of the challenger.

    Raises:
        NothingNew: when the step before did not decide to train, or what was collected does not suffice; the next
            decision may ask again.
    """
    settings, project = Settings.model_validate(context.settings), project_of(context)
    if project.file.task != "forecasting":
        raise ProjectFileError(f"use: train retrains forecasts, and the project's task is {project.file.task}.")
    asked = [one for step in context.inputs.values() for one in step.values() if "retrain" in one]
    if asked and not any(one["retrain"] for one in asked):
        raise NothingNew(str(asked[0].get("reason", "not asked for")))
    try:
        return _challenger(context, project, settings)
    except DataError as error:
        remember_untrained(context.folder, context.interval, str(error))
        raise NothingNew(f"the data does not suffice: {error}") from None


def _challenger(context: StepContext, project: Project, settings: Settings) -> dict[str, Any]:
    until = context.end - timedelta(days=settings.window_days)
    start = None if settings.history_days is None else until - timedelta(days=settings.history_days)
    rows = collected(project, start, until)
    if settings.without_anomalies:
        rows = _masked(project, rows)
    snapshot = keep_table(context.folder / SERVICE / "snapshots" / f"{until:%Y-%m-%dT%H%MZ}.parquet", rows)
    data = (f"data.train={snapshot}", "data.time=time", "data.series=series", "storage.runs=" + _runs(context))
    known = known_versions(context.folder)
    if holder(project, "production") is None:
        baseline = project.with_overrides(*data, f"model={{kind: {BASELINE}}}")
        first = _trained(context, baseline, rows, until, known)
        remember(context.folder, first)
        _promote_first(project, first.version)
    made = _trained(context, project.with_overrides(*data, *settings.overrides), rows, until, known)
    remember(context.folder, made)
    return {"version": made.version, "until": made.until.isoformat(), "rows": made.rows}


def _runs(context: StepContext) -> str:
    return f"{SERVICE}/runs/{context.start:%Y-%m-%dT%H%MZ}"


def _trained(
    context: StepContext, project: Project, rows: pl.DataFrame, until: Any, known: dict[int, Trained]
) -> Trained:
    """Train and register, or take up what an earlier attempt at this interval left."""
    from sanmaru.experiments.runs import Run
    from sanmaru.experiments.train import train
    from sanmaru.registry.models import register_once

    kind = project.file.model.kind
    for one in known.values():
        if one.interval == context.interval and one.kind == kind:
            return one
    begun = [run for run in Run.all(project) if run.project.file.model.kind == kind]
    if begun and begun[-1].status == "done":
        run = begun[-1]
    else:
        run = train(project, resume=begun[-1].id if begun and (begun[-1].folder / "folds.json").is_file() else None)
    version = register_once(run)
    targets = [name for name in project.file.data.target_names if name in rows.columns]
    return Trained(
        version=version.version,
        run=run.id,
        kind=kind,
        interval=context.interval,
        until=until,
        rows=rows.drop_nulls(targets[:1]).height,
    )


def _promote_first(project: Project, version: int) -> None:
    from sanmaru.registry.models import promote

    promote(project, project.name, to="production", version=version, why=f"the first champion is {BASELINE}")


def _masked(project: Project, rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    judged = with_verdicts(project, rows)
    values = [name for name in rows.columns if name not in ("series", "time")]
    strange = pl.col("anomaly").fill_null(False)
    return judged.select("series", "time", *(pl.when(~strange).then(pl.col(name)).alias(name) for name in values))
