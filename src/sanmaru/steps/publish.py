"""`use: publish`: the newest forecast for people and programs: page, JSON and table in storage, rows in a database."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from sanmaru.config import Config
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.history import SERVICE, collected, project_of, rows_of_inputs, with_verdicts, zone_of
from sanmaru.steps.versions import contest_of, known_versions

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project
    from sanmaru.publish.state import ForecastState, ModelInfo
    from sanmaru.storage import Storage

_DAY = timedelta(days=1)


class Text(Config):
    """A text in both languages."""

    en: str
    ko: str


class Target(Config):
    """How a target is shown."""

    unit: str = ""
    label: Text | None = None
    """Its column's name where absent."""
    grade: Literal["pm10", "pm25"] | None = None
    """Korean grades by which values are coloured."""
    digits: Annotated[int, Field(ge=0, le=6)] = 0


class Settings(Config):
    """`with:` of the step."""

    to: str = f"{SERVICE}/published"
    """A folder, or s3://bucket/prefix?endpoint=..."""
    database: str | None = None
    """Database URL in which forecasts are upserted by model, series, origin and horizon; none where absent."""
    title: Text | None = None
    """The project's name where absent."""
    targets: dict[str, Target] = Field(default_factory=dict)
    series: dict[str, Text] = Field(default_factory=dict)
    """Names of series, where their own will not do."""
    districts: Literal["seoul"] | None = None
    """`seoul` shows the 25 districts as a map of tiles."""
    language: Literal["en", "ko"] = "ko"
    """Shown first."""
    stale_after_h: Annotated[float, Field(gt=0)] = 3
    old_after_days: Annotated[float, Field(gt=0)] = 45
    live: bool = True
    """Whether ages count from the reader's clock; a replay counts from the end of its interval."""
    sources: Text | None = None
    """Where the data comes from, for the foot of the page."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `published` (version in storage, or null where a newer forecast stands there), `rows` (in the database).

    Raises:
        NothingNew: when there is no forecast.
    """
    from sanmaru.database import open_engine
    from sanmaru.publish.files import publish_files
    from sanmaru.publish.rows import upsert_forecasts
    from sanmaru.storage import open_storage

    settings, project = Settings.model_validate(context.settings), project_of(context)
    forecasts = rows_of_inputs(context, "forecast")
    if not forecasts:
        raise NothingNew("there is no forecast")
    where = f"pipeline.steps.{context.step}.with"
    outputs: dict[str, Any] = {"published": None}
    if settings.database is not None:
        engine = open_engine(settings.database, context.folder, f"{where}.database")
        try:
            outputs["rows"] = upsert_forecasts(engine, forecasts[0])
        finally:
            engine.dispose()
    storage = open_storage(settings.to, context.folder, f"{where}.to")
    if not _newer_stands(storage, project.name, context.end):
        state = _state(context, project, settings, forecasts[0])
        outputs["published"] = publish_files(storage, state, name=project.name, interval=context.interval).version
    return outputs


def _newer_stands(storage: Storage, name: str, end: datetime) -> bool:
    """Whether what is published is of a later interval: a backfill must not put yesterday's page before today's."""
    latest = storage.latest(name)
    said = None if latest is None else latest.meta.get("generated_at")
    return said is not None and datetime.fromisoformat(str(said)) > end


def _state(context: StepContext, project: Project, settings: Settings, forecast: pl.DataFrame) -> ForecastState:
    from sanmaru.publish.state import ForecastState, SeriesInfo, TargetInfo, Words

    names = project.file.data.target_names
    observed = with_verdicts(project, collected(project, context.end - 3 * _DAY, context.end))
    series = sorted({*observed["series"].to_list(), *forecast["series"].to_list()})
    infos = [SeriesInfo(id=one, label=_words(settings.series.get(one))) for one in series]
    if settings.districts == "seoul":
        from sanmaru.publish.seoul import seoul_districts

        known = {one.id: one for one in seoul_districts()}
        infos = [known.get(one.id, one) for one in infos]
    shown = {name: settings.targets.get(name, Target()) for name in names}
    title = settings.title or Text(en=project.name, ko=project.name)
    return ForecastState(
        title=Words(title.en, title.ko),
        targets=[
            TargetInfo(name=name, unit=one.unit, label=_words(one.label), grade=one.grade, digits=one.digits)
            for name, one in shown.items()
        ],
        series=infos,
        observations=observed,
        forecast=forecast,
        earlier=_earlier(context),
        model=_model(context, project, forecast, settings),
        generated_at=context.end,
        every=_step(forecast),
        stale_after=timedelta(hours=settings.stale_after_h),
        zone=zone_of(project),
        language=settings.language,
        live=settings.live,
        sources=_words(settings.sources) or Words("", ""),
    )


def _words(text: Text | None) -> Any:
    from sanmaru.publish.state import Words

    return None if text is None else Words(text.en, text.ko)


def _earlier(context: StepContext) -> pl.DataFrame | None:
    """Return what was forecast a day before, to be shown beside what came."""
    import polars as pl

    for step, outputs in context.inputs.items():
        if "forecast" in outputs.get(context.interval, {}):
            before = context.start - _DAY
            path = context.folder / SERVICE / step / f"{before:%Y-%m}" / f"{before:%Y-%m-%dT%H%MZ}.parquet"
            return pl.read_parquet(path) if path.is_file() else None
    return None


def _step(forecast: pl.DataFrame) -> timedelta:
    first = forecast.row(0, named=True)
    ahead: timedelta = first["time"] - first["origin"]
    return ahead / int(first["horizon"])


def _model(context: StepContext, project: Project, forecast: pl.DataFrame, settings: Settings) -> ModelInfo | None:
    from sanmaru.publish.state import ModelInfo, Score

    if "version" not in forecast.columns:
        return None
    name, version = str(forecast["model"][0]), str(forecast["version"][0])
    facts = known_versions(context.folder).get(int(version)) if version.isdecimal() else None
    contest = contest_of(context.folder, int(version)) if version.isdecimal() else None
    score = None
    if contest is not None and contest.get("duels"):
        duel = min(contest["duels"], key=lambda one: one["opponent_score"])
        # Errors of several targets or series were divided by what is usual for each: they have no unit (`use: judge`).
        relative = len(project.file.data.target_names) > 1 or forecast["series"].n_unique() > 1
        metric = f"Relative {contest['metric']}" if relative else str(contest["metric"])
        score = Score(metric=metric, value=duel["challenger_score"], baseline=duel["opponent"],
                      baseline_value=duel["opponent_score"])  # fmt: skip
    return ModelInfo(
        name=name,
        version=version,
        trained_at=None if facts is None else facts.until,
        score=score,
        old_after=timedelta(days=settings.old_after_days),
    )
