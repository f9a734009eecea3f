"""`use: judge`: challenger, champion and baselines forecast the same recent window, and the paired test decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from sanmaru.config import Config
from sanmaru.errors import DataError
from sanmaru.files import write_json
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps.forecast import forecasts
from sanmaru.steps.history import collected, keep_table, place_of, project_of
from sanmaru.steps.versions import newest_in_production

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.packages.package import Package
    from sanmaru.registry.contest import Contest

KEY = ["series", "origin", "horizon"]
METRICS = ("mae", "rmse")


class Settings(Config):
    """`with:` of the step."""

    every_hours: Annotated[int, Field(ge=1)] = 6
    """From one origin of the window to the next. Origins of one day are drawn together by the test."""
    metric: str | None = None
    """`mae` or `rmse`, of errors divided by each series' usual seasonal-naive error where there are several targets or
    series; the project's metric where it is one of them, else mae."""


def run(context: StepContext) -> dict[str, Any]:
    """Return `version`, `won`, `reason`, `contest` (JSON with all figures) and `forecasts` (what was compared).

    Raises:
        NothingNew: when there is no challenger.
        DataError: when the window holds no origin.
    """
    from sanmaru.registry.models import load_model

    trained = [one for step in context.inputs.values() for one in step.values() if "version" in one and "until" in one]
    if not trained:
        raise NothingNew("there is no challenger")
    settings, project = Settings.model_validate(context.settings), project_of(context)
    version, until = int(trained[0]["version"]), datetime.fromisoformat(trained[0]["until"])
    champion = newest_in_production(project, lambda number: number < version)  # also when it is judged once more
    challenger = load_model(f"{project.name}@{version}", project)
    entrants: dict[str, Package] = {f"version {version}": challenger}
    if champion is not None:
        entrants[f"champion (version {champion.version})"] = load_model(f"{project.name}@{champion.version}", project)
    rows = collected(project, until - _longest(entrants), context.end)
    origins = _origins(challenger, until, context.end, settings.every_hours)
    tables = {name: _forecast(package, rows, origins) for name, package in entrants.items()}
    judged = rows.filter(rows["series"].is_in(tables[f"version {version}"]["series"].unique().implode()))
    tables.update(_baselines(challenger, judged, origins))
    metric = settings.metric or (project.file.metric if project.file.metric in METRICS else "mae")
    found = compared(tables, rows, challenger, metric, challenger_name=f"version {version}")
    kept = _side_by_side(tables)
    contest = place_of(context, ".json")
    told = {"version": version, "until": until.isoformat(), "origins": len(origins)}
    write_json(contest, {**found.to_json(), **told, "mae": plain_mae(tables[f"version {version}"], rows, challenger)})
    return {
        "version": version,
        "won": found.won,
        "reason": found.reason,
        "contest": contest,
        "forecasts": keep_table(place_of(context, ".parquet"), kept),
    }


def compared(
    tables: dict[str, pl.DataFrame], rows: pl.DataFrame, challenger: Package, metric: str, *, challenger_name: str
) -> Contest:
    """Compare forecast tables with what came, pair by pair of series and time.

    Args:
        tables: Forecast table of each entrant; pairs that one of them lacks are left out for all.
        rows: Long table with the truth.
        challenger: Names the targets, and what each series' errors are divided by.
        metric: `mae` or `rmse`.
        challenger_name: Which of `tables` wants to win.
    """
    import numpy as np
    import polars as pl

    from sanmaru.metrics.base import find_metric
    from sanmaru.registry.contest import contest

    task: Any = challenger.task
    targets = task.layout.targets
    truth: list[np.ndarray] = []
    units: list[np.ndarray] = []
    scored: dict[str, list[np.ndarray]] = {name: [] for name in tables}
    keys = tables[challenger_name].select(*KEY, "time")
    for place, target in enumerate(targets):
        both = keys.join(rows.select("series", "time", pl.col(target).cast(pl.Float64).alias("truth")),
                         on=["series", "time"], how="left", maintain_order="left")  # fmt: skip
        scale = _scale(both["series"], task, place) if len(targets) > 1 or len(task.scales) > 1 else np.ones(len(both))
        truth.append(both["truth"].fill_null(float("nan")).to_numpy() / scale)
        units.append(both["origin"].dt.date().cast(pl.String).to_numpy())
        for name, table in tables.items():
            found = keys.join(
                table.select(*KEY, pl.col(target).alias("point")), on=KEY, how="left", maintain_order="left"
            )
            scored[name].append(found["point"].fill_null(float("nan")).to_numpy() / scale)
    return contest(
        find_metric(metric),
        np.concatenate(truth),
        {name: np.concatenate(parts) for name, parts in scored.items()},
        challenger=challenger_name,
        units=np.concatenate(units),
        in_time=True,
    )


def plain_mae(table: pl.DataFrame, rows: pl.DataFrame, package: Package) -> float | None:
    """Return the mean absolute error of a forecast table over all targets, in their own units; None without a truth.

    It is what the rolling error of the service is compared with, which is made in the same way.
    """
    import polars as pl

    task: Any = package.task
    targets = task.layout.targets
    truth = rows.select("series", "time", *(pl.col(name).alias(f"{name}.truth") for name in targets))
    both = table.join(truth, on=["series", "time"], how="inner")
    off = pl.concat([(both[name] - both[f"{name}.truth"]).abs().alias("off") for name in targets]).drop_nulls()
    return float(off.to_numpy().mean()) if len(off) else None


def _scale(series: pl.Series, task: Any, place: int) -> np.ndarray:
    import numpy as np

    found = {name: (values[place] or float("nan")) for name, values in task.scales.items()}
    return np.array([found.get(name, float("nan")) for name in series.to_list()], dtype=np.float64)


def _longest(entrants: dict[str, Package]) -> timedelta:
    """How far before the window rows are needed."""
    tasks: list[Any] = [package.task for package in entrants.values()]
    return timedelta(microseconds=max(task.every.us * (task.layout.lookback + 1) for task in tasks))


def _origins(package: Package, until: datetime, end: datetime, every_hours: int) -> list[datetime]:
    """Return origins whose whole horizon lies in the window; an origin is the last step seen."""
    task: Any = package.task
    step = timedelta(microseconds=task.every.us)
    first, last = until - step, end - step * (task.layout.horizon + 1)
    if last < first:
        raise DataError(
            f"the window from {until:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is shorter than the horizon of "
            f"{task.layout.horizon} steps of {task.every.text}. Raise with: {{window_days:}} of the training step."
        )
    return [first + timedelta(hours=every_hours) * n for n in range((last - first) // timedelta(hours=every_hours) + 1)]


def _forecast(package: Package, rows: pl.DataFrame, origins: list[datetime]) -> pl.DataFrame:
    """Forecast the window; a series without enough history is left out for all, as `compared` counts it.

    Raises:
        DataError: when no series has enough.
    """
    import polars as pl

    parts, left_out = forecasts(package, rows, origins)
    if not parts:
        raise DataError(f"no series can be judged: {next(iter(left_out.values()), 'there are no rows')}")
    return pl.concat(parts)


def _baselines(package: Package, rows: pl.DataFrame, origins: list[datetime]) -> dict[str, pl.DataFrame]:
    """Return what persistence and seasonal-naive say of the same windows."""
    import numpy as np

    from sanmaru.tasks.forecasting.naive import naive_points
    from sanmaru.tasks.forecasting.online import forecast_table, windows_of

    task: Any = package.task
    made = windows_of(task, rows, origins)
    encoded = task.encode(made.windows)
    tables = {}
    for kind in ("persistence", "seasonal-naive"):
        points = naive_points(task, kind, encoded)
        outputs = np.repeat(points[..., None], task.shape[2], axis=3).reshape(len(points), -1)
        tables[kind] = forecast_table(task, made.windows, outputs)
    return tables


def _side_by_side(tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(
        [table.with_columns(pl.lit(name).alias("entrant")) for name, table in tables.items()], how="diagonal"
    )
