"""`use: forecast`: the model in production forecasts from the interval's last hour."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.pipelines.context import NothingNew, NotReady, StepContext
from sanmaru.steps.history import collected, keep_table, place_of, project_of, rows_of_inputs
from sanmaru.steps.versions import champion_of, holder

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.packages.package import Package
    from sanmaru.project import Project

_SLACK_STEPS = 48
"""Steps of history beyond the lookback, for series whose newest rows are missing."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `forecast` (a forecast table with model and version), `version`, `count`, and `left_out` (series without
    enough history, with the reason).

    Raises:
        NotReady: when no model is in production yet.
        NothingNew: when the first one was trained of a later interval, and this one had none.
    """
    import polars as pl

    from sanmaru.registry.models import open_version

    project = project_of(context)
    version = champion_of(project, context.interval)
    if version is None and holder(project, "production") is None:
        raise NotReady(f"no version of {project.name} is in production yet")
    if version is None:
        raise NothingNew(f"no version of {project.name} was in production for this interval")
    package = open_version(version)
    task: Any = package.task
    step = timedelta(microseconds=task.every.us)
    rows = collected(project, context.end - step * (task.layout.lookback + _SLACK_STEPS), context.end)
    ahead = rows_of_inputs(context, "ahead")
    parts, left_out = forecasts(package, _with_future(rows, ahead))
    if not parts:
        raise NotReady(f"no series has enough history: {next(iter(left_out.values()), 'there are no rows')}")
    made = _possible(pl.concat(parts), project).with_columns(
        model=pl.lit(project.name), version=pl.lit(str(version.version))
    )
    return {
        "forecast": keep_table(place_of(context, ".parquet"), made),
        "version": version.version,
        "count": made.height,
        "left_out": left_out,
    }


def forecasts(
    package: Package, rows: pl.DataFrame, origins: list[datetime] | None = None
) -> tuple[list[pl.DataFrame], dict[str, str]]:
    """Forecast all series at once; where that cannot be done, each by itself, so that one does not stop the others.

    Args:
        package: A forecaster.
        rows: Long table with the history of each series.
        origins: Moments to forecast from; each series' last observed step where absent.

    Returns:
        Forecast tables, and why which series was left out.
    """
    if rows.is_empty():
        return [], {}
    try:
        return [package.forecast(rows, origins)], {}
    except DataError:
        parts, left_out = [], {}
        for of_series in rows.partition_by("series", maintain_order=True):
            try:
                parts.append(package.forecast(of_series, origins))
            except DataError as error:
                left_out[str(of_series["series"][0])] = str(error)
        return parts, left_out


def _possible(forecast: pl.DataFrame, project: Project) -> pl.DataFrame:
    """Move what lies outside of what the contract calls possible to its edge: no concentration is below zero."""
    import polars as pl

    edged = []
    for target in project.file.data.target_names:
        rule = project.file.contract.get(target)
        names = [name for name in forecast.columns if name == target or name.startswith(f"{target}.q")]
        if rule is not None:
            edged += [pl.col(name).clip(rule.low, rule.high) for name in names]
    return forecast.with_columns(edged)


def _with_future(rows: pl.DataFrame, ahead: list[pl.DataFrame]) -> pl.DataFrame:
    """Add rows after each series' last one, which hold only what is known in advance."""
    import polars as pl

    last = rows.group_by("series").agg(pl.col("time").max().alias("last"))
    later = [part.join(last, on="series").filter(pl.col("time") > pl.col("last")).drop("last") for part in ahead]
    return pl.concat([rows, *later], how="diagonal_relaxed") if later else rows
