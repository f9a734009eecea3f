"""`use: monitor`: join forecasts with the truth as it comes, and look for drift once a day.

What is watched, with which thresholds and who is told stands in `monitor:` of the project file. The reference is what
the champion learned from, with its errors on hours it had not learned from; it changes when the champion does.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.errors import DataError
from sanmaru.files import write_json
from sanmaru.pipelines.context import StepContext
from sanmaru.steps.history import SERVICE, collected, keep_table, place_of, project_of, rows_of_inputs, zone_of
from sanmaru.steps.residuals import honest_residuals
from sanmaru.steps.versions import Trained, champion_of, known_versions

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.monitoring.config import MonitorConfig
    from sanmaru.monitoring.joined import JoinedLog
    from sanmaru.project import Project


class Settings(Config):
    """`with:` of the step."""

    horizon: Annotated[int, Field(ge=1)] = 24
    """Steps ahead of the forecasts whose errors are watched."""
    look_at: Annotated[int, Field(ge=0, le=23)] = 6
    """Local hour of the day at which drift is looked for; the errors are joined in every interval."""
    reference_days: Annotated[int, Field(ge=30)] = 730
    """Days of history that make the reference."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `predictions` and `truths` (rows put into the joined log), and once a day `report` (JSON), `alarms` and
    `drift_fraction`."""
    settings, project = Settings.model_validate(context.settings), project_of(context)
    outputs = _join(context, project)
    if _local_hour(project, context) != settings.look_at:
        return outputs
    champion = champion_of(project, context.interval)
    facts = known_versions(context.folder).get(champion.version) if champion is not None else None
    if facts is None or facts.until >= context.end:
        return outputs
    try:
        return {**outputs, **_look(context, project, settings, facts)}
    except DataError as error:  # too little of the reference, or nothing newer; it becomes more
        return {**outputs, "not_looked": str(error)}


def joined_log(project: Project) -> JoinedLog:
    """Open the joined log of a project; its engine is the caller's to dispose of."""
    from sanmaru.database import open_engine
    from sanmaru.monitoring.joined import JoinedLog

    return JoinedLog(open_engine(monitor_config(project).state, project.folder, "monitor.state"))


def monitor_config(project: Project) -> MonitorConfig:
    """Return `monitor:` of the project, with the targets and their errors watched where it names nothing."""
    from sanmaru.monitoring.config import MonitorConfig

    config = project.file.monitor or MonitorConfig()
    targets = project.file.data.target_names
    named: dict[str, Any] = {"series": config.series or "series"}
    if not (config.data or config.predictions or config.residuals):
        named.update(data=targets, residuals=tuple(f"{name}.residual" for name in targets))
    if config.zone == "UTC":
        named["zone"] = zone_of(project)
    return config.model_copy(update=named)


def _join(context: StepContext, project: Project) -> dict[str, Any]:
    targets = project.file.data.target_names
    said, came = rows_of_inputs(context, "forecast"), rows_of_inputs(context)
    log = joined_log(project)
    try:
        for table in said:
            log.add_predictions(table, targets)
        for table in came:
            log.add_truth(table, [name for name in targets if name in table.columns])
    finally:
        log.engine.dispose()
    return {"predictions": sum(table.height for table in said), "truths": sum(table.height for table in came)}


def _look(context: StepContext, project: Project, settings: Settings, facts: Trained) -> dict[str, Any]:
    from sanmaru.database import open_engine
    from sanmaru.monitoring.deliver import deliver
    from sanmaru.monitoring.page import write_page
    from sanmaru.monitoring.state import MonitorState
    from sanmaru.monitoring.watch import watch

    reference = _reference(context, project, settings, facts)
    config, too_short = _of_what_is_there(monitor_config(project), reference)
    current = _with_residuals(collected(project, facts.until, context.end), _residuals(project, settings, context))
    folder = context.folder / SERVICE / "monitor"
    path, page = place_of(context, ".json"), folder / "monitor.html"
    newest = all(one.name <= path.name for one in folder.glob("*/*.json"))  # a look at the past may be done again
    if newest:
        keep_table(folder / "current.parquet", current)  # what `sanmaru monitor` reads
    state = MonitorState(open_engine(config.state, project.folder, "monitor.state"))
    try:
        report = watch(reference, current, config, state, now=context.end)
        deliver(state, config.alerts, project.folder)
    finally:
        state.engine.dispose()
    drifting = sum(one.standing == "alarm" for one in report.columns) / max(1, len(report.columns))
    write_json(path, {**report.to_dict(), "drift_fraction": drifting, "version": facts.version})
    if newest:
        write_page(report, page, project.name)
    return {"report": path, "alarms": list(report.alarms), "drift_fraction": drifting, "not_watched": too_short}


def _of_what_is_there(config: MonitorConfig, reference: pl.DataFrame) -> tuple[MonitorConfig, list[str]]:
    """Leave out the columns of which the reference has too little; return them, too.

    A version's errors reach back as far as its origins (`forecast.origins.reach`); of baselines they may be absent.
    """
    import polars as pl

    from sanmaru.monitoring.calibrate import FEWEST
    from sanmaru.monitoring.config import hours

    groups = {name: getattr(config, name) for name in ("data", "predictions", "residuals", "errors")}
    needed = timedelta(hours=FEWEST * hours(config.window))
    there = set()
    for name in {name for group in groups.values() for name in group if name in reference.columns}:
        times = reference.filter(pl.col(name).is_not_null())["time"]
        if len(times) and times.max() - times.min() >= needed:  # type: ignore[operator]
            there.add(name)
    kept = {group: tuple(name for name in names if name in there) for group, names in groups.items()}
    return config.model_copy(update=kept), sorted({name for names in groups.values() for name in names} - there)


def _reference(context: StepContext, project: Project, settings: Settings, facts: Trained) -> pl.DataFrame:
    """Return what the champion learned from and its honest errors, made once per version."""
    import polars as pl

    from sanmaru.experiments.runs import Run

    path = context.folder / SERVICE / "monitor" / f"reference-{facts.version}-h{settings.horizon}.parquet"
    if path.exists():
        return pl.read_parquet(path)
    rows = collected(project, facts.until - timedelta(days=settings.reference_days), facts.until)
    runs = context.folder / SERVICE / "runs"
    folder = next((one.parent for one in runs.glob(f"*/{facts.run}/run.json")), None)
    residuals = None if folder is None else honest_residuals(Run(Path(folder)), settings.horizon)
    table = _with_residuals(rows, residuals)
    keep_table(path.with_name("reference.parquet"), table)
    keep_table(path, table)
    return table


def _residuals(project: Project, settings: Settings, context: StepContext) -> pl.DataFrame | None:
    """Return the errors of the service's own forecasts so far, `horizon` steps ahead."""
    import polars as pl

    from sanmaru.steps.history import joined

    log = joined_log(project)
    try:
        parts = []
        for target in project.file.data.target_names:
            rows = log.read(target).filter((pl.col("horizon") == settings.horizon) & (pl.col("time") < context.end))
            parts.append(rows.select("series", "time", f"{target}.residual").unique(["series", "time"], keep="last"))
    finally:
        log.engine.dispose()
    return joined(parts)


def _with_residuals(rows: pl.DataFrame, residuals: pl.DataFrame | None) -> pl.DataFrame:
    if residuals is None:
        return rows
    return rows.join(residuals, on=["series", "time"], how="left", maintain_order="left")


def _local_hour(project: Project, context: StepContext) -> int:
    from zoneinfo import ZoneInfo

    return context.start.astimezone(ZoneInfo(monitor_config(project).zone)).hour
