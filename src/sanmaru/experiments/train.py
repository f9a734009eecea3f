"""The main job: from a project file to a run with out-of-fold predictions, scores and a model package."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sanmaru import cluster as clusters
from sanmaru.errors import DataError, ProjectFileError, RunError, UserError, nearest
from sanmaru.experiments.environment import environment, git_commit, overrides
from sanmaru.experiments.folds import FoldJob, FoldResult, fit_fold, keep_table, main_metric, out_of_fold
from sanmaru.experiments.forecasting import prepare_series
from sanmaru.experiments.lock import locked
from sanmaru.experiments.progress import Event, Watch, followed
from sanmaru.experiments.runs import FOLD, Run, Score
from sanmaru.experiments.tracking import Mirror
from sanmaru.files import read_json, whole, write_json
from sanmaru.project import ForecastingFile, Project
from sanmaru.tasks.find import task_class

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tables.contract import Quarantine
    from sanmaru.tables.roles import Roles
    from sanmaru.tables.split import Folds
    from sanmaru.tasks.base import Task

GOLDEN_ROWS = 16


def train(
    project: Project,
    *,
    resume: str | None = None,
    watch: Watch | None = None,
    cluster: str | None = None,
    workers: int | None = None,
) -> Run:
    """Train every fold, score the out-of-fold predictions, and keep all of it as a run.

    Args:
        project: What to train. A resumed run takes its own stored project file instead.
        resume: A run that was cut short, by its id, a unique part of it, or `last`: its finished folds stay as they
            are, the others are fitted with the same rows and seeds.
        watch: Told of everything that happens, see `experiments.progress.Event`; also from another thread.
        cluster: Where folds run, in place of the project file's `cluster.kind`.
        workers: Folds fitted at once, in place of `cluster.workers`.

    Returns:
        The run, done.

    Raises:
        UserError: when the project file, the data or the run to resume cannot be used.
        ClusterError: when a fold failed for another reason; its cause is the error.
    """
    watch = watch or (lambda event: None)
    fields = {"cluster.kind": cluster, "cluster.workers": workers}
    given = [f"{key}={value}" for key, value in fields.items() if value is not None]
    if resume is not None:
        run = Run.load(project, resume)
        with locked(run.folder), _marked(run):
            _carry_out(run, run.project.with_overrides(*given), watch)
        return run
    project = project.with_overrides(*given)
    task_class(project.file.task)  # a task with commands of its own says so before any row is read
    began = time.perf_counter()
    prepared = _prepare(project)
    run = Run.create(project, **_facts(project, prepared), seconds={"read": _since(began)})
    with locked(run.folder), _marked(run):
        _keep_preparation(run, prepared)
        _carry_out(run, project, watch, prepared)
    return run


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """The usable rows and what was learned from them before any fold."""

    table: pl.DataFrame
    quarantine: Quarantine
    quarantined: int
    """Rows set aside."""
    fingerprint: str
    task: Task
    folds: Folds
    notes: tuple[str, ...]
    """What reading and splitting did that a user may not expect."""


def _prepare(project: Project, *, stored: Run | None = None) -> _Prepared:
    """Read the data, set unusable rows aside, open the task and split; a stored run's task and folds are taken back."""
    from sanmaru.experiments.folds import stored_folds
    from sanmaru.tables.contract import Quarantine
    from sanmaru.tables.odd import twin_note
    from sanmaru.tables.read import read_data
    from sanmaru.tables.split import split

    file = project.file
    if isinstance(file, ForecastingFile):
        prepared = _Prepared(**prepare_series(project, stored))
        _check_metric(file.metric, prepared.task, prepared.table)
        if stored is not None:
            _check_same_rows(prepared.table[prepared.task.roles.id], stored)
        return prepared
    aside = [file.split.column] if file.split.column else []
    data = read_data(file.data, project.folder, task=file.task, aside=aside)
    table, quarantine, kind = data.table, data.quarantine, task_class(file.task)
    _named(data.roles)
    unusable = Quarantine()
    if hasattr(kind, "usable"):
        side, fit = getattr(file.model, "image_size", 64), getattr(file.model, "reader", None)
        table, unusable = kind.usable(
            table, data.roles, project.cache_folder, image_size=side, fit=fit, threads=clusters.cores()
        )
    if stored is not None and data.fingerprint != stored.facts["fingerprint"]:
        raise RunError(
            f"the data is not what run {stored.id} was begun with (fingerprint {data.fingerprint[:12]}, then "
            f"{stored.facts['fingerprint'][:12]}). Give it the data of then, or train a new run: sanmaru train"
        )
    if stored is not None and (stored.folder / "folds.json").is_file():
        task, folds = stored.task(), stored_folds(stored)
        _check_same_rows(table[task.roles.id], stored)
    else:
        named = ("problem_type", "features", "features_gain")
        options = {name: getattr(file, name) for name in named if hasattr(file, name)}
        options["quantiles"] = getattr(file.model, "quantiles", ())
        task = kind.open(table, data.roles, columns=data.columns, missing=file.data.missing, **options)
        classes = task.outputs[0].kind == "classification"
        folds = split(table, data.roles, file.split, classes=classes, **_previous(project))
    _check_metric(file.metric, task, table)
    twin = twin_note(table, data.roles, folds.fold) if file.task == "tabular" else None
    twins = () if twin is None else (twin,)
    return _Prepared(
        table=table,
        quarantine=quarantine + unusable,
        quarantined=len(quarantine) + len(unusable),
        fingerprint=data.fingerprint,
        task=task,
        folds=folds,
        notes=(*data.notes, *getattr(task, "notes", ()), *folds.notes, *twins),
    )


def _check_metric(name: str | None, task: Task, table: pl.DataFrame) -> None:
    """Refuse a metric that says nothing of the task."""
    if name is None or name in task.metrics:
        return
    why, what = None, task.outputs[0].kind if task.name != "forecasting" else task.name
    if what == "regression":
        from sanmaru.metrics.regression import why_undefined

        why = why_undefined(name, task.truth(table))
    raise ProjectFileError(
        f"metric {name!r} does not fit this {what} task{f': {why}' if why else ''}. "
        f"{nearest(name, task.metrics)} Its metrics: {', '.join(task.metrics)}."
    )


def _named(roles: Roles, more: Sequence[str] = ()) -> list[str]:
    """The columns that `rows.parquet` keeps."""
    named = (roles.id, *roles.targets, *roles.parts, roles.group, roles.time, *more)
    names = list(dict.fromkeys(name for name in named if name))
    if FOLD in names:
        raise DataError(f"a column with a role may not be called {FOLD!r}: runs name a row's fold so. Rename it.")
    return names


def _previous(project: Project) -> dict[str, Any]:
    """The folds of the run that `split.reuse` names, as `split` takes them."""
    if project.file.split.reuse is None:
        return {}
    run = Run.load(project, project.file.split.reuse)
    rows = run.rows()
    previous = rows.select(rows[run.task().roles.id].alias("id"), FOLD)
    return {"previous": previous, "previous_json": read_json(run.folder / "folds.json")}


def _check_same_rows(ids: pl.Series, stored: Run) -> None:
    before = stored.rows()[ids.name]
    if not ids.equals(before):
        raise RunError(
            f"{len(ids)} rows are usable now and {len(before)} were when run {stored.id} began, or their order differs "
            "(pictures may have been added or removed). Train a new run: sanmaru train"
        )


def _facts(project: Project, prepared: _Prepared) -> dict[str, Any]:
    """What `run.json` says of a run from its beginning."""
    return {
        "task": project.file.task,
        "seed": project.file.seed,
        "metric": main_metric(project, prepared.task),
        "fingerprint": prepared.fingerprint,
        "rows": prepared.table.height,
        "quarantined": prepared.quarantined,
        "quarantine_rules": prepared.quarantine.counts(),
        "folds": prepared.folds.n_folds,
        "notes": list(prepared.notes),
        "overrides": overrides(project),
        "git_commit": git_commit(project.folder),
        "environment": environment(),
    }


def _keep_preparation(run: Run, prepared: _Prepared) -> None:
    """Write rows, quarantine, task and, last, the folds: with `folds.json` the run's beginning is whole."""
    import polars as pl

    task: Any = prepared.task
    rows = prepared.table.select(_named(task.roles, getattr(task, "row_columns", ()))).with_columns(
        pl.Series(FOLD, prepared.folds.fold, pl.Int32)
    )
    with whole(run.folder / "rows.parquet") as beside:
        rows.write_parquet(beside)
    columns = ("row", "id", "column", "value", "rule", "reason")
    violations = [{name: getattr(one, name) for name in columns} for one in prepared.quarantine.violations]
    schema = {name: pl.Int64 if name == "row" else pl.String for name in columns}
    with whole(run.folder / "quarantine.csv") as beside:
        pl.DataFrame(violations, schema=schema).write_csv(beside)
    if hasattr(task, "keep"):
        task.keep(run.folder)
    write_json(run.folder / "task.json", task.to_json())
    write_json(run.folder / "folds.json", prepared.folds.to_json())


def _carry_out(run: Run, project: Project, watch: Watch, prepared: _Prepared | None = None) -> None:
    """Do what of a run is not done yet."""
    resumed = prepared is None
    mirror = Mirror(run)
    try:
        clock = _Stages(run, watch)
        if prepared is None:
            with clock("read"):
                prepared = _prepare(project, stored=run)
                if not (run.folder / "folds.json").is_file():
                    _keep_preparation(run, prepared)
        facts = run.facts
        begun = {name: facts[name] for name in ("rows", "quarantined", "quarantine_rules", "folds", "notes", "metric")}
        watch(Event(kind="run", facts={"run": run.id, "folder": str(run.folder), "resumed": resumed, **begun}))
        with clock("folds"):
            results = _fit_folds(run, project, prepared, watch)
        if resumed:  # what the folds took, whenever that was
            clock.took("folds", round(sum(result.seconds["total"] for result in results), 3))
        with clock("score"):
            predictions = out_of_fold(run, results)
            score = _score(run, project, prepared, predictions, results)
        watch(Event(kind="score", facts=vars(score)))
        if isinstance(project.file, ForecastingFile):
            with clock("baselines"):
                _beside_baselines(run, project, prepared, predictions, watch)
        with clock("package"):
            _package(run, project, prepared, predictions, score)
        with clock("report"):
            _report(run, prepared.table, watch)
        run.update(status="done", reason=None)
        with clock("tracking"):
            problem = mirror.finish()
        run.update(mirror_problem=problem)
        if problem:
            watch(Event(kind="warning", facts={"text": f"the run is kept, but MLflow does not mirror it: {problem}"}))
    except BaseException:
        mirror.fail()
        raise
    told = run.facts.get("report_problem") is None
    watch(Event(kind="done", facts={"run": run.id, "folder": str(run.folder), "report": told}))


def _fit_folds(run: Run, project: Project, prepared: _Prepared, watch: Watch) -> list[FoldResult]:
    """Fit the folds that are not done, where the project says; return the results of all."""
    where, n_folds = project.file.cluster, prepared.folds.n_folds
    plan = clusters.plan(where.kind, workers=where.workers, items=n_folds)
    key = str(project.cache_folder / "tables" / f"{run.id}.parquet")
    jobs = [FoldJob(run=str(run.folder), fold=fold, table=key, threads=plan.threads) for fold in range(n_folds)]
    metric = main_metric(project, prepared.task)

    def tell(index: int, result: FoldResult) -> None:
        watch(Event(kind="fold", fold=index, facts={**vars(result), "metric": metric}))

    with _table_for_workers(key, prepared.table, here=where.kind == "inline"), followed(run, range(n_folds), watch):
        try:
            return clusters.map(
                fit_fold, jobs, kind=where.kind, workers=where.workers, threads=plan.threads, on_result=tell
            )
        except clusters.ClusterError as error:
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from error
            raise


@contextlib.contextmanager
def _table_for_workers(key: str, table: pl.DataFrame, *, here: bool) -> Iterator[None]:
    """Hold the usable rows where the folds find them: in memory for this process, as a file for others."""
    from pathlib import Path

    if here:
        keep_table(key, table)
    else:
        with whole(Path(key)) as beside:
            table.write_parquet(beside)
    try:
        yield
    finally:
        keep_table(key, None)
        Path(key).unlink(missing_ok=True)


def _score(
    run: Run, project: Project, prepared: _Prepared, predictions: pl.DataFrame, results: list[FoldResult]
) -> Score:
    """Score the out-of-fold predictions, with a 95 % interval that keeps groups together."""
    import numpy as np

    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import interval

    task = prepared.task
    validated = prepared.table[np.flatnonzero(prepared.folds.fold >= 0)]
    metric = find_metric(main_metric(project, task))
    truth, scored = task.truth(validated), task.scored(predictions)
    groups = validated[task.roles.group].to_numpy() if task.roles.group else None
    low, high = interval(metric, truth, scored, groups=groups, seed=project.file.seed)
    score = Score(
        metric=metric.name,
        value=metric(truth, scored),
        low=low,
        high=high,
        all=task.score(validated, predictions),
        folds=tuple(result.scores for result in results),
    )
    with whole(run.folder / "predictions.parquet") as beside:
        predictions.write_parquet(beside)
    write_json(run.folder / "scores.json", vars(score))
    return score


def _beside_baselines(run: Run, project: Project, prepared: _Prepared, predictions: pl.DataFrame, watch: Watch) -> None:
    """Keep the forecasts as a long table, and judge the naive ones on the same origins."""
    from sanmaru.experiments.baselines import Ground, facts_of, judge_baselines, verdict_on
    from sanmaru.experiments.forecasting import keep_forecasts

    task: Any = prepared.task
    keep_forecasts(run, task, predictions)
    ground = Ground(run=run, project=project, task=task, table=prepared.table, folds=prepared.folds)
    found = judge_baselines(ground, predictions)
    run.update(baselines=facts_of(found))
    for one in found:
        watch(Event(kind="baseline", facts={**vars(one), "text": one.text}))
    warning = verdict_on(found)
    if warning is not None:
        run.update(notes=[*(note for note in run.facts["notes"] if note != warning), warning])
        watch(Event(kind="warning", facts={"text": warning}))


def _package(run: Run, project: Project, prepared: _Prepared, predictions: pl.DataFrame, score: Score) -> None:
    """Write the model package: the folds' estimators, averaged, or one that has seen every row."""
    import numpy as np

    from sanmaru.experiments.final import fit_final, refits
    from sanmaru.packages.write import write_package

    task, table = prepared.task, prepared.table
    spread = np.unique(np.linspace(0, table.height - 1, min(GOLDEN_ROWS, table.height)).astype(np.int64))
    validated = table[np.flatnonzero(prepared.folds.fold >= 0)]
    threads = clusters.plan(project.file.cluster.kind, workers=1, items=1).threads
    if isinstance(project.file, ForecastingFile):
        from sanmaru.experiments.forecasting import package_forecaster

        card = {**_card(run, project, score), "baselines": run.facts["baselines"]}
        package_forecaster(run, task, table, predictions, card=card, golden=table[spread], threads=threads)
        return
    inputs = [task.roles.id, *(column.name for column in task.signature().inputs)]
    added = [validated[task.roles.targets[0]].alias("truth")]
    if task.roles.group:
        added.append(validated[task.roles.group].alias("group"))
    write_package(
        run.package_folder,
        task=task,
        estimators=[fit_final(run, task, table[prepared.folds.latest()], threads)]
        if refits(project, prepared.folds)
        else [run.fold_folder(fold) / "estimator" for fold in range(prepared.folds.n_folds)],
        golden=table[spread].select(list(dict.fromkeys(inputs))),
        evaluation=predictions.with_columns(added),
        card=_card(run, project, score),
    )


def _card(run: Run, project: Project, score: Score) -> dict[str, Any]:
    facts, file = run.facts, project.to_dict()
    return {
        "name": project.name,
        **{key: file[key] for key in ("problem", "goal", "constraints", "baseline", "task")},
        "metric": score.metric,
        "score": {"value": score.value, "low": score.low, "high": score.high},
        "scores": dict(score.all),
        "data": {key: facts[key] for key in ("fingerprint", "rows", "quarantined")},
        "split": file["split"],
        "model": file["model"],
        "train": file["train"],
        "environment": facts["environment"],
        "git_commit": facts["git_commit"],
        "created": facts["created"],
        "run": run.id,
    }


def _report(run: Run, table: pl.DataFrame, watch: Watch) -> None:
    """Write the report. A defect there loses a page, not the run: it is told, and `sanmaru report` tries again."""
    from sanmaru.experiments.report import report

    try:
        report(run, table=table)
        run.update(report_problem=None)
    except Exception as error:
        text = f"no report was written ({type(error).__name__}: {error}). Try again with: sanmaru report {run.id}"
        run.update(report_problem=text)
        watch(Event(kind="warning", facts={"text": text}))


@contextlib.contextmanager
def _marked(run: Run) -> Iterator[None]:
    """Say in `run.json` that the run is worked on, and if it fails, why."""
    if run.status != "running":
        run.update(status="running", reason=None)
    try:
        yield
    except KeyboardInterrupt:
        run.update(status="failed", reason="interrupted")
        raise
    except BaseException as error:
        run.update(status="failed", reason=f"{type(error).__name__}: {error}")
        raise


class _Stages:
    """Tells which stage a run is in, and keeps the seconds each took in `run.json`."""

    def __init__(self, run: Run, watch: Watch) -> None:
        self._run = run
        self._watch = watch

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._watch(Event(kind="stage", facts={"name": name}))
        began = time.perf_counter()
        yield
        self.took(name, _since(began))

    def took(self, name: str, seconds: float) -> None:
        self._run.update(seconds={**self._run.facts.get("seconds", {}), name: seconds})


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)
