"""`use: decide`: whether to train again, from figures; every decision is recorded with them, "no" as well."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.files import read_json
from sanmaru.pipelines.context import StepContext
from sanmaru.steps.history import SERVICE, collected, project_of, with_verdicts, zone_of
from sanmaru.steps.triggers import Decision, Figures, RetrainConfig, decide
from sanmaru.steps.versions import Trained, champion_of, contest_of, known_versions, untrained

if TYPE_CHECKING:
    from sanmaru.project import Project
    from sanmaru.steps.decisions import Decisions

WHAT = "retrain"


class Settings(Config):
    """`with:` of the step."""

    triggers: RetrainConfig = RetrainConfig()
    """When to train again."""
    rolling_days: Annotated[float, Field(gt=0)] = 7
    """How far back the rolling error and the rate of anomalies reach."""
    after: Annotated[int, Field(ge=0, le=23)] | None = None
    """Local hour of the day at which a training may begin; any where absent. A request does not wait for it."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `retrain`, `trigger` and `reason`."""
    from sanmaru.database import open_engine
    from sanmaru.steps.decisions import Decisions

    settings, project = Settings.model_validate(context.settings), project_of(context)
    engine = open_engine(context.ledger, context.folder)
    try:
        figures = _figures(context, project, settings)
        decisions = Decisions(engine, context.pipeline)
        pending = _pending(decisions, context)
        decision = decisions.decide(
            WHAT, context.interval, lambda asked: _decided(settings, project, figures, asked, pending)
        )
    finally:
        engine.dispose()
    return {"retrain": decision.yes, "trigger": decision.trigger, "reason": decision.reason}


def _pending(decisions: Decisions, context: StepContext) -> str:
    """Return the interval of the newest training that was decided before and has not ended; empty where none is."""
    done = {one.interval for one in known_versions(context.folder).values()} | untrained(context.folder)
    before = (one for one in decisions.newest(1000) if one.what == WHAT and one.yes and one.interval < context.interval)
    newest = next(before, None)
    return "" if newest is None or newest.interval in done else newest.interval


def _decided(settings: Settings, project: Project, figures: dict[str, Any], asked: Any, pending: str) -> Decision:
    from dataclasses import replace

    decision = decide(settings.triggers, Figures(**figures, requests=tuple(asked)))
    if decision.yes and pending and decision.trigger != "request":
        return replace(decision, yes=False, reason=f"{decision.reason}; but the training that {pending} asked for is "
                       "not done yet")  # fmt: skip
    if not decision.yes or settings.after is None or decision.trigger in ("request", "first"):
        return decision
    hour = _local_hour(project, figures["now"])
    if hour == settings.after:
        return decision
    return replace(decision, yes=False, reason=f"{decision.reason}; but it is {hour}:00, and trainings begin at "
                   f"{settings.after}:00")  # fmt: skip


def _local_hour(project: Project, moment: datetime) -> int:
    from zoneinfo import ZoneInfo

    return moment.astimezone(ZoneInfo(zone_of(project))).hour


def _figures(context: StepContext, project: Project, settings: Settings) -> dict[str, Any]:
    """Measure what the triggers look at; what is not known is absent."""
    from sanmaru.pipelines.intervals import interval_start

    now, folder = context.end, context.folder
    known = {number: one for number, one in known_versions(folder).items() if one.interval < context.interval}
    champion = champion_of(project, context.interval, before=True)
    facts = known.get(champion.version) if champion is not None else None
    found: dict[str, Any] = {"now": now, "anomaly_rate": _anomaly_rate(project, now, settings)}
    ended = {one.interval for one in known.values()} | {one for one in untrained(folder) if one < context.interval}
    if ended:
        found["last_training"] = interval_start(max(ended))
    if facts is None:
        return found
    targets = list(project.file.data.target_names)
    since = collected(project, facts.until, now)
    targets = [name for name in targets if name in since.columns]
    found.update(
        champion_trained=facts.until,
        champion_rows=facts.rows,
        new_rows=since.drop_nulls(targets[:1]).height if targets else 0,
        champion_error=_error_at_contest(folder, facts),
        drift=_newest_drift(folder, context),
    )
    if found["champion_error"] is not None:
        found.update(_rolling(project, facts, context.start, settings))
    return found


def _anomaly_rate(project: Project, now: datetime, settings: Settings) -> float | None:
    rows = with_verdicts(project, collected(project, now - timedelta(days=settings.rolling_days), now))
    judged = rows["anomaly"].drop_nulls()
    return float(judged.mean()) if len(judged) else None  # type: ignore[arg-type]


def _error_at_contest(folder: Path, facts: Trained) -> float | None:
    """Return the mean absolute error with which the champion won, if it came into production by a contest."""
    contest = contest_of(folder, facts.version)
    return None if contest is None or contest.get("mae") is None else float(contest["mae"])


def _rolling(project: Project, facts: Trained, now: datetime, settings: Settings) -> dict[str, Any]:
    """Return the champion's mean absolute error on the truth of the last days, and the rows it is made of.

    The truth of the interval itself is left out, for `monitor` may join it before the decision or after.
    """
    from sanmaru.steps.monitor import joined_log

    since = int((now - timedelta(days=settings.rolling_days)).timestamp() * 1_000_000)
    errors: list[float] = []
    log = joined_log(project)
    try:
        for target in project.file.data.target_names:
            rows = log.read(target, since)
            rows = rows.filter((rows["version"] == str(facts.version)) & (rows["time"] < now))
            errors += rows[f"{target}.residual"].drop_nulls().abs().to_list()
    finally:
        log.engine.dispose()
    return {"rolling_error": sum(errors) / len(errors), "rolling_rows": len(errors)} if errors else {}


def _newest_drift(folder: Path, context: StepContext) -> float | None:
    """Return the fraction of watched columns that drift, by the newest look before this interval."""
    stem = context.start.strftime("%Y-%m-%dT%H%MZ")
    for path in sorted((folder / SERVICE / "monitor").glob("*/*.json"), reverse=True):
        if path.stem < stem:
            found = read_json(path).get("drift_fraction")
            return None if found is None else float(found)
    return None
