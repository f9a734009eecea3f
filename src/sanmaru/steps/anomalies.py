"""`use: anomalies`: look at each new batch right after it came. Strange rows are flagged, never dropped.

The detector is learned anew at fixed times (`refit`), from what was known before, so that an interval is always judged
by the same detector however often, and in whatever order, intervals are done.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.errors import DataError
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import (
    SERVICE,
    VERDICT_COLUMNS,
    VERDICTS,
    collected,
    joined,
    keep_table,
    place_of,
    project_of,
    rows_of_inputs,
    zone_of,
)

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project
    from sanmaru.tasks.anomalies.fitted import Fitted

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Settings(Config):
    """`with:` of the step. The detector itself is described by `anomalies:` of the project file."""

    refit_days: Annotated[int, Field(ge=1)] = 30
    """Days after which the detector is learned anew."""
    history_days: Annotated[int, Field(ge=1)] = 400
    """Days before that it learns from."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `rows` (the batch with its verdicts), `count`, `anomalies` (rows flagged) and, while there is too
    little history to learn from and rows go on without a verdict, `unjudged` (why).

    Raises:
        NothingNew: when there are no rows.
    """
    import polars as pl

    from sanmaru.collect import table

    settings, project = Settings.model_validate(context.settings), project_of(context)
    parts = rows_of_inputs(context)
    rows = joined(parts) if parts else None
    if rows is None or rows.is_empty():
        raise NothingNew("no rows came for the interval")
    fitted, why = _detector(context, project, settings)
    if fitted is None:
        empty = zip(VERDICT_COLUMNS, (pl.Boolean, pl.Float64, pl.String), strict=True)
        judged = rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in empty)
    else:
        step = timedelta(seconds=fitted.reference.every_s)
        before = collected(project, context.start - (fitted.context + 1) * step, context.start)
        judged = fitted.verdicts(rows, before)
    verdicts = judged.select("series", "time", *VERDICT_COLUMNS)
    table.merge(project.collected_folder / "tables" / VERDICTS, verdicts, context.end)
    return {
        "rows": keep_table(place_of(context, ".parquet"), judged),
        "count": judged.height,
        "anomalies": int(judged["anomaly"].sum() or 0),
        **({"unjudged": why} if fitted is None else {}),
    }


def _detector(context: StepContext, project: Project, settings: Settings) -> tuple[Fitted | None, str]:
    """Return the detector of the interval, learned now if nobody has; where it cannot be, None and why."""
    from sanmaru.tasks.anomalies.config import AnomalyConfig, AnomalySection
    from sanmaru.tasks.anomalies.fitted import Fitted, fit_detector

    length = timedelta(days=settings.refit_days)
    until = _EPOCH + (context.start - _EPOCH) // length * length
    folder = context.folder / SERVICE / "detectors" / f"{until:%Y-%m-%d}"
    if (folder / "fitted.json").exists():
        return Fitted.load(folder), ""
    rows = collected(project, until - timedelta(days=settings.history_days), until)
    if rows.is_empty():
        return None, f"no rows before {until:%Y-%m-%d}"
    section = getattr(project.file, "anomalies", None) or AnomalySection()
    config = AnomalyConfig(**section.model_dump(), zone=zone_of(project), seed=project.file.seed)
    try:
        fitted = fit_detector(_numbers(rows), config)
    except DataError as error:
        return None, str(error)
    fitted.save(folder)
    return fitted, ""


def _numbers(rows: pl.DataFrame) -> pl.DataFrame:
    import polars.selectors as cs

    return rows.select("series", "time", cs.numeric())
