"""One fold: fit on its training rows, predict its validation rows, keep everything needed to go on or to look.

folds/0/
  events.jsonl         learning curve, progress and notes, as the estimator tells them
  predictions.parquet  id and prediction columns of the validation rows
  estimator/           what `Estimator.save` wrote
  details.json         what `Estimator.details` says
  done.json            written last: with it, the fold is never fitted again
"""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sanmaru.errors import RunError
from sanmaru.experiments import events
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.files import read_json, whole, write_json
from sanmaru.metrics.base import find_metric
from sanmaru.project import Project
from sanmaru.tasks.base import FitContext, Task

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tables.split import Folds

INNER_FRACTION = 0.1
"""Part of a fold's training rows that chooses its best epoch, where `train.selection` is `inner`."""


@dataclass(frozen=True, kw_only=True)
class FoldJob:
    """What a worker needs to know; the rest lies in the run's folder."""

    run: str
    """The run's folder."""
    fold: int
    table: str
    """The usable rows, typed, in the order of `rows.parquet`: a Parquet file, or a key of `keep_table`."""
    threads: int


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """How a fold went."""

    fold: int
    rows: int
    """Rows validated."""
    fit_rows: int
    selection_rows: int
    """Rows held back to choose the best epoch or number of trees."""
    seed: int
    scores: dict[str, float]
    """Every metric of the task, on the validation rows."""
    best_step: int | None
    honest_fraction: float | None
    seconds: dict[str, float]
    """Where the time went: `data`, `fit`, `predict`, `examine`, `keep`, and `total`."""


def fit_fold(job: FoldJob) -> FoldResult:
    """Fit a fold of a run, or return the result it already has.

    A fit that was cut short is continued from its checkpoint, where the estimator keeps one.
    """
    run = Run(Path(job.run))
    folder = run.fold_folder(job.fold)
    if (folder / "done.json").is_file():
        return FoldResult(**read_json(folder / "done.json"))
    clock = _Clock()
    folder.mkdir(parents=True, exist_ok=True)
    events.mend(folder / events.FILE_NAME)
    project, task, folds, table = run.project, run.task(), stored_folds(run), _table(job)
    estimator = task.estimator(project.file.model, project.file.train)
    seed = fold_seed(project.file.seed, job.fold)
    train, valid = table[folds.train(job.fold)], table[folds.valid(job.fold)]
    fit, selection = train, None
    if getattr(estimator, "selects", True):
        fit, selection = rows_that_select(project, task, train, valid, seed)
    context = fit_context(project, task, folder, seed, job.threads)
    clock.lap("data")
    seed_everything(seed)
    estimator.fit(fit, selection, context)
    clock.lap("fit")
    outputs = estimator.forward(estimator.encode(valid))
    predictions = task.predictions(valid[task.roles.id], outputs)
    scores = task.score(valid, predictions)
    clock.lap("predict")
    details = estimator.details()
    examine = getattr(task, "examine", None)
    if examine is not None:
        details = {**details, **examine(estimator, valid, context, fit=fit, selection=selection)}
        clock.lap("examine")
    with whole(folder / "estimator") as beside:
        beside.mkdir()
        estimator.save(beside)
    with whole(folder / "predictions.parquet") as beside:
        predictions.write_parquet(beside)
    write_json(folder / "details.json", details)
    clock.lap("keep")
    result = FoldResult(
        fold=job.fold,
        rows=valid.height,
        fit_rows=fit.height,
        selection_rows=0 if selection is None else selection.height,
        seed=seed,
        scores=scores,
        best_step=details.get("best_step", details.get("best_epoch")),
        honest_fraction=details.get("honest_fraction"),
        seconds=clock.seconds(),
    )
    write_json(folder / "done.json", asdict(result))
    return result


def fit_context(project: Project, task: Task, folder: Path, seed: int, threads: int) -> FitContext:
    """Return what a fit of a run is told; it goes on from a checkpoint that lies in `folder`."""
    return FitContext(
        folder=folder,
        cache=project.cache_folder,
        seed=seed,
        metric=find_metric(main_metric(project, task)),
        threads=threads,
        device=project.file.train.device,
        resume=True,
    )


def main_metric(project: Project, task: Task) -> str:
    """Return the metric that selects and ranks: the project's, or the task's usual one."""
    return project.file.metric or task.metrics[0]


def fold_seed(seed: int, fold: int) -> int:
    """Return a fold's own seed in [0, 2**31), far from those of the other folds and of other runs' seeds."""
    import numpy as np

    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0] >> 1)


def stored_folds(run: Run) -> Folds:
    """Return the folds that a run was split into."""
    from sanmaru.tables.split import Folds

    rows, task = run.rows(), run.task()
    restore = getattr(task, "restore_folds", None)
    if restore is not None:
        folds: Folds = restore(rows, rows[FOLD].to_numpy(), read_json(run.folder / "folds.json"))
        return folds
    time_column = task.roles.time
    order = rows[time_column] if time_column else None
    return Folds.restore(rows[FOLD].to_numpy(), read_json(run.folder / "folds.json"), order)


def out_of_fold(run: Run, results: list[FoldResult]) -> pl.DataFrame:
    """Join the folds' predictions: id, fold and prediction columns, in the order of `rows.parquet`.

    Raises:
        RunError: when the rows of a fold's file are not the rows it should have validated.
    """
    import numpy as np
    import polars as pl

    folds, rows = stored_folds(run), run.rows()
    name = run.task().roles.id
    parts, places = [], []
    for result in results:
        part = pl.read_parquet(run.fold_folder(result.fold) / "predictions.parquet")
        places.append(folds.valid(result.fold))
        if not part[name].equals(rows[name][places[-1]]):
            raise RunError(f"fold {result.fold} of run {run.id} holds predictions of other rows. Train anew.")
        parts.append(part.select(name, pl.lit(result.fold, pl.Int32).alias(FOLD), pl.exclude(name)))
    return pl.concat(parts)[np.argsort(np.concatenate(places), kind="stable")]


_kept: dict[str, pl.DataFrame] = {}


def keep_table(key: str, table: pl.DataFrame | None) -> None:
    """Keep the usable rows in memory for folds fitted in this process; None lets them go."""
    _kept.clear()
    if table is not None:
        _kept[key] = table


def _table(job: FoldJob) -> pl.DataFrame:
    import polars as pl

    if job.table in _kept:
        return _kept[job.table]
    if not Path(job.table).is_file():
        raise RunError(
            f"{job.table} is not there for the worker. Workers on other machines need the project folder at the same "
            "path: put it on a shared file system."
        )
    keep_table(job.table, pl.read_parquet(job.table))
    return _kept[job.table]


def rows_that_select(
    project: Project, task: Task, train: pl.DataFrame, valid: pl.DataFrame, seed: int, *, final: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the rows to fit on, and those that choose the best step (None where nothing is to be chosen).

    A `final` fit on all rows has no validation rows to choose by, and always holds some back.
    """
    from sanmaru.tables.split import inner

    match project.file.train.selection:
        case "none":
            return train, None
        case "fold" if not final:
            return train, valid
    own = getattr(task, "inner", None)
    if own is not None:
        fit, chosen = own(train, INNER_FRACTION)
        return train[fit], train[chosen]
    classes = task.outputs[0].kind == "classification"
    fit, chosen = inner(train, task.roles, project.file.split, classes=classes, fraction=INNER_FRACTION, seed=seed)
    return train[fit], train[chosen]


def seed_everything(seed: int) -> None:
    """Seed what draws without being told a seed. Estimators take theirs from the context."""
    import sys

    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


class _Clock:
    """Seconds per named lap."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round(now - self._last, 4)
        self._last = now

    def seconds(self) -> dict[str, float]:
        return {**self._laps, "total": round(time.perf_counter() - self._start, 4)}
