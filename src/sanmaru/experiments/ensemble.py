"""Ensembles: runs, and files of predictions, combined on their out-of-fold predictions into a new run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RunError, nearest
from sanmaru.experiments.environment import environment
from sanmaru.experiments.runs import FOLD, Run, Score
from sanmaru.files import whole, write_json
from sanmaru.project import Project

if TYPE_CHECKING:
    import numpy as np

    from sanmaru.experiments.matching import Validated
    from sanmaru.experiments.members import Member
    from sanmaru.metrics.base import Metric
    from sanmaru.tasks.base import Task

COPIED_FILES = ("rows.parquet", "task.json", "folds.json", "quarantine.csv", "series.parquet")
COPIED_FACTS = ("task", "fingerprint", "rows", "quarantined", "quarantine_rules", "folds", "seed", "git_commit")
"""What an ensemble's `run.json` takes over from its first run: they speak of the rows, which are the same."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What an ensemble is made from, and what was learned."""

    task: Task
    metric: Metric
    common: Validated
    members: Sequence[Member]
    outputs: np.ndarray
    """Nested out-of-fold outputs float32 (n, n_outputs)."""
    spec: dict[str, Any]
    """How to combine new rows, learned on all rows (see `packages.combine`)."""


def ensemble(
    project: Project,
    names: Sequence[str],
    *,
    method: str,
    weights: Sequence[float] | None = None,
    files: Sequence[str | Path] = (),
    tracked: bool = True,
) -> Run:
    """Combine runs into a new run.

    What is learned of the combination (weights, the order of models, a stack) is learned on the other folds'
    out-of-fold predictions before it is applied to a fold: the run's predictions and scores are those, and so the
    gain is one on rows the combination has not seen. The package holds the parameters learned on all rows.

    Args:
        project: Where the new run is kept.
        names: Finished runs, by id, by a unique part of it, or `last`. At least one, and two members with the files.
        method: `soft`, `hard`, `weights`, `greedy`, `rank` or `stack` (see `packages.combine`).
        weights: Of the members, runs first, for the method `weights`: 0 or more, brought to the sum 1. Learned
            where absent.
        files: Tables of out-of-fold predictions made elsewhere, keyed by id (csv, tsv, Parquet). An ensemble with one
            has no package, for there is no model to put into it.
        tracked: Whether MLflow mirrors the run.

    Returns:
        The new run, done. Its facts hold the members with their scores and the gain over the best of them.

    Raises:
        RunError: when runs are missing, unfinished, or have other rows, folds or classes (with counts), or the
            method or weights cannot be used.
        DataError: when a file does not hold predictions of exactly the validated rows.
    """
    began = time.perf_counter()
    runs = _runs(project, names)
    checked = _check_method(method, weights, len(names) + len(files))

    from sanmaru.experiments.ensemble_package import keep_package
    from sanmaru.experiments.matching import check_same, check_same_output, validated
    from sanmaru.experiments.members import check_names, of_file, of_run
    from sanmaru.metrics.base import find_metric

    check_same_output(runs)
    check_same(runs)
    task = runs[0].task()
    common = validated(runs[0], task)
    members = [of_run(run, common.rows) for run in runs]
    members += [of_file(Path(file), task, common.rows) for file in files]
    check_names(members)
    metric = find_metric(project.file.metric or runs[0].score().metric)
    if task.name == "forecasting":
        if method != "soft" and checked is None:
            raise RunError(
                f"method {method!r} learns from one number per row, and forecasts have many. Use --method soft, or "
                "--method weights with --weights."
            )
    elif metric.kind != task.outputs[0].kind:
        raise RunError(f"metric {metric.name!r} does not fit runs of a {task.outputs[0].kind} target.")
    outputs, spec = _combined(method, checked, members, common, metric)
    work = Work(task=task, metric=metric, common=common, members=members, outputs=outputs, spec=spec)
    run = Run.create(
        _own_project(project, runs[0]),
        kind="ensemble",
        **{key: value for key, value in runs[0].facts.items() if key in COPIED_FACTS},
        method=method,
        metric=metric.name,
        combine={key: value for key, value in spec.items() if key != "knots"},
        environment=environment(),
    )
    try:
        score = _keep_predictions(run, runs[0], work)
        _keep_gain(run, work)
        keep_package(run, work, score)
        run.update(seconds={"combine": round(time.perf_counter() - began, 3)})
        _finish(run, tracked=tracked)
    except BaseException as error:
        run.update(status="failed", reason=f"{type(error).__name__}: {error}")
        raise
    return run


def _runs(project: Project, names: Sequence[str]) -> list[Run]:
    runs = [Run.load(project, name) for name in names]
    if not runs:
        raise RunError("an ensemble needs at least one run: it holds the rows, folds and true targets.")
    ids = [run.id for run in runs]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise RunError(f"run {twice[0]} was named more than once. Name each run once.")
    for run in runs:
        if run.status != "done":
            raise RunError(
                f"run {run.id} is not finished (status {run.status}). Finish it with: sanmaru train --resume {run.id}"
            )
    return runs


def _check_method(method: str, weights: Sequence[float] | None, n_members: int) -> list[float] | None:
    """Check the arguments before anything is read; return the given weights, if any."""
    import math

    from sanmaru.packages.combine import METHODS

    if method not in METHODS:
        raise RunError(f"unknown method {method!r}. {nearest(method, METHODS)}")
    if n_members < 2:
        raise RunError(f"an ensemble needs at least two members, got {n_members}. Name more runs, or add a file.")
    if weights is None:
        return None
    if method != "weights":
        raise RunError(f"weights were given, but method {method!r} takes none. Use --method weights.")
    if len(weights) != n_members:
        raise RunError(
            f"{len(weights)} weights were given for {n_members} members. Give one each, runs first, then files."
        )
    if any(not math.isfinite(weight) or weight < 0 for weight in weights) or sum(weights) <= 0:
        shown = ", ".join(f"{weight:g}" for weight in weights)
        raise RunError(f"weights must be 0 or more and not all 0, got {shown}.")
    total = sum(weights)
    return [weight / total for weight in weights]


def _combined(
    method: str, weights: list[float] | None, members: Sequence[Member], common: Validated, metric: Metric
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the nested out-of-fold outputs and the parameters learned on all rows."""
    from sanmaru.experiments.combining import learn, nested
    from sanmaru.packages.combine import combine

    outputs = [member.outputs for member in members]
    if weights is not None:
        spec: dict[str, Any] = {"method": "weights", "weights": weights}
        return combine(spec, outputs, metric.kind), spec
    held_out = nested(method, outputs, common.truth, common.folds, metric=metric)
    return held_out, learn(method, outputs, common.truth, common.folds, metric=metric)


def _own_project(project: Project, first: Run) -> Project:
    """The project file of the first run, which says what the rows are, kept where `project` keeps its runs."""
    content = {**first.project.to_dict(), "storage": project.to_dict()["storage"], "metric": project.file.metric}
    return Project.from_dict(project.folder, content)


def _keep_predictions(run: Run, first: Run, work: Work) -> Score:
    """Write rows, folds, task, predictions and scores, as a training does."""
    import shutil

    import numpy as np
    import polars as pl

    from sanmaru.metrics.bootstrap import interval

    for file in COPIED_FILES:
        if (first.folder / file).is_file():
            shutil.copyfile(first.folder / file, run.folder / file)
    task, common, metric, name = work.task, work.common, work.metric, work.task.roles.id
    predictions = task.predictions(common.rows[name], work.outputs)
    predictions = predictions.select(name, common.rows[FOLD].cast(pl.Int32), pl.exclude(name))
    scored = task.scored(predictions)
    low, high = interval(metric, common.truth, scored, groups=common.groups, seed=first.project.file.seed)
    parts = [np.flatnonzero(common.folds == fold) for fold in np.unique(common.folds)]
    score = Score(
        metric=metric.name,
        value=metric(common.truth, scored),
        low=low,
        high=high,
        all=task.score(common.rows, predictions),
        folds=tuple(task.score(common.rows[part], predictions[part]) for part in parts),
    )
    with whole(run.folder / "predictions.parquet") as beside:
        predictions.write_parquet(beside)
    write_json(run.folder / "scores.json", vars(score))
    return score


def _keep_gain(run: Run, work: Work) -> None:
    """Compare the ensemble with its best member, row by row, and note what looking at all rows would have promised."""
    from sanmaru.experiments.combining import as_scored, best_first
    from sanmaru.experiments.verdict import Verdict
    from sanmaru.metrics.bootstrap import paired
    from sanmaru.packages.combine import combine

    metric, common, task = work.metric, work.common, work.task
    outputs = [member.outputs for member in work.members]

    def records(values: np.ndarray) -> np.ndarray:
        if task.name != "forecasting":
            return as_scored(values, metric.kind)
        return task.scored(task.predictions(common.rows[task.roles.id], values))

    scored = [records(values) for values in outputs]
    scores = [metric(common.truth, values) for values in scored]
    if task.name == "forecasting":
        best = min(range(len(scores)), key=scores.__getitem__)
    else:
        best = best_first(outputs, common.truth, metric)[0]
    found = paired(
        metric,
        common.truth,
        records(work.outputs),
        scored[best],
        groups=common.groups,
        folds=common.folds,
    )
    said = Verdict(a=run.id, b=work.members[best].name, metric=metric.title, paired=found)
    seen = combine(work.spec, outputs, metric.kind)
    run.update(
        members=[
            {"name": member.name, "kind": "run" if member.run else "file", "score": value}
            for member, value in zip(work.members, scores, strict=True)
        ],
        best_member=work.members[best].name,
        best_member_score=scores[best],
        gain=said.to_json(),
        score_not_nested=metric(common.truth, records(seen)),
    )


def _finish(run: Run, *, tracked: bool) -> None:
    """Mark the run done, write its report and mirror it; neither of these loses the run when it fails."""
    run.update(status="done", reason=None)
    try:
        from sanmaru.experiments.report import report

        report(run)
    except Exception as error:
        text = f"no report was written ({type(error).__name__}: {error}). Try again with: sanmaru report {run.id}"
        run.update(report_problem=text)
    if tracked:
        from sanmaru.experiments.tracking import Mirror

        problem = Mirror(run).finish()
        if problem:
            run.update(mirror_problem=problem)
