"""The naive forecasts, judged on the same origins as a model: what it must beat to be worth anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sanmaru.experiments.runs import Run
from sanmaru.files import whole

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.metrics.base import Metric
    from sanmaru.project import Project
    from sanmaru.tables.split import Folds
    from sanmaru.tasks.forecasting.task import Forecasting


@dataclass(frozen=True, kw_only=True)
class Against:
    """A model beside one naive forecast."""

    kind: str
    metric: str
    value: float
    """Of the naive forecast."""
    difference: float
    """Model minus naive, with its 95 % interval (paired, by blocks of origins)."""
    low: float
    high: float
    beaten: bool
    """Whether the whole interval lies on the model's side."""
    scores: dict[str, float]
    """Every metric of the naive forecast."""

    @property
    def text(self) -> str:
        """One sentence."""
        from sanmaru.html.numbers import short

        ends = f"95 % interval {short(self.low)} to {short(self.high)}"
        said = "beats" if self.beaten else "is not shown to beat"
        beside = f"{self.kind} ({self.metric} {short(self.value)})"
        return f"the model {said} {beside}: difference {short(self.difference)}, {ends}"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a model of a run was judged on."""

    run: Run
    project: Project
    task: Forecasting
    table: pl.DataFrame
    """Every window."""
    folds: Folds


def judge_baselines(ground: Ground, predictions: pl.DataFrame) -> tuple[Against, ...]:
    """Fit the naive forecasts on every fold's windows, score them on the same origins, and compare in pairs.

    Their out-of-fold predictions are kept in the run's folder below `baselines/`. A model that is itself one of them is
    compared with the other only.
    """
    import numpy as np

    from sanmaru.experiments.folds import main_metric
    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import paired
    from sanmaru.tables.match import align
    from sanmaru.tasks.forecasting.models import BASELINES

    project, task, table, folds = ground.project, ground.task, ground.table, ground.folds
    metric = find_metric(main_metric(project, task))
    validated = table[np.flatnonzero(folds.fold >= 0)]
    name = task.roles.id
    places = align(validated[name], predictions[name], left_name="the windows", right_name="the predictions")
    truth, ours = task.truth(validated), task.scored(predictions)[places]
    blocks, fold = validated["block"].to_numpy(), folds.fold[folds.fold >= 0]
    found = []
    for kind in BASELINES:
        if kind == project.file.model.kind:
            continue
        theirs = _predicted(ground, kind, metric)
        places = align(validated[name], theirs[name], left_name="the windows", right_name=f"those of {kind}")
        scored = task.scored(theirs)[places]
        result = paired(metric, truth, ours, scored, groups=blocks, folds=fold, seed=project.file.seed)
        found.append(
            Against(
                kind=kind,
                metric=metric.title,
                value=metric(truth, scored),
                difference=result.difference,
                low=result.low,
                high=result.high,
                beaten=result.a_better,
                scores=task.score(validated, theirs),
            )
        )
    return tuple(found)


def _predicted(ground: Ground, kind: str, metric: Metric) -> pl.DataFrame:
    """Out-of-fold predictions of a naive forecast, kept for the report."""
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.models import config_of

    run, project, task, folds = ground.run, ground.project, ground.task, ground.folds
    path = run.folder / "baselines" / f"{kind}.parquet"
    if path.is_file():
        return pl.read_parquet(path)
    parts = []
    for k in range(folds.n_folds):
        estimator: Any = task.estimator(config_of(kind)(), project.file.train)
        context = FitContext(folder=run.folder, cache=project.cache_folder, seed=0, metric=metric)
        estimator.fit(ground.table[folds.train(k)], None, context)
        valid = ground.table[folds.valid(k)]
        parts.append(task.predictions(valid[task.roles.id], estimator.forward(estimator.encode(valid))))
    predictions = pl.concat(parts)
    with whole(path) as beside:
        predictions.write_parquet(beside)
    return predictions


def facts_of(found: Sequence[Against]) -> list[dict[str, Any]]:
    """Return plain values for `run.json` and the model card."""
    return [{**asdict(one), "text": one.text} for one in found]


def verdict_on(found: Sequence[Against]) -> str | None:
    """Return the warning that a model is no better than a naive forecast; None where it beats all."""
    unbeaten = [one for one in found if not one.beaten]
    if not unbeaten:
        return None
    return (
        f"a forecast that costs nothing does as well: {' and '.join(one.kind for one in unbeaten)} "
        f"{'is' if len(unbeaten) == 1 else 'are'} not shown beaten"
    )
