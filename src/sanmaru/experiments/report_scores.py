"""Scores per fold, with the interval that chance alone gives each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sanmaru.experiments.runs import FOLD, Run
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Section
from sanmaru.html.numbers import short

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import Task

MOST_ROWS = 100_000
"""With more rows than this the folds get no interval of their own: it would be narrower than the dot."""


def scores_section(run: Run, task: Task, rows: pl.DataFrame, predictions: pl.DataFrame) -> Section | None:
    """Show every metric of every fold, and the main one with intervals; None where there are no folds."""
    from sanmaru.metrics.base import find_metric

    score = run.score()
    if not score.folds:
        return None
    main = find_metric(score.metric)
    n = len(score.folds)
    names = [*(f"fold {fold}" for fold in range(n)), "all rows"]
    values = [*(fold.get(main.name, float("nan")) for fold in score.folds), score.value]
    intervals = [*fold_intervals(task, rows, predictions, main.name, n), (score.low, score.high)]
    chart = Bars(
        title=f"{main.title} per fold, with 95 % intervals",
        labels=names,
        series=[("", values)],
        value_label=f"{main.title} ({'higher' if main.greater_is_better else 'lower'} is better)",
        intervals=intervals,
        dots=True,
    )
    metrics = list(score.all)
    grid = Grid(
        columns=["", *(find_metric(name).title for name in metrics)],
        rows=[
            *(
                [name, *(fold.get(metric) for metric in metrics)]
                for name, fold in zip(names, score.folds, strict=False)
            ),
            ["all rows", *(score.all[metric] for metric in metrics)],
        ],
        caption="All metrics",
    )
    blocks: list[Block] = [chart, grid]
    return Section(
        title="Scores per fold",
        lead="Each fold is scored by a model that has not seen it. The intervals show what chance alone does.",
        blocks=blocks,
        findings=_odd_folds(values[:-1], intervals[:-1], score.value, main.title),
    )


def fold_intervals(
    task: Task, rows: pl.DataFrame, predictions: pl.DataFrame, metric: str, n_folds: int
) -> list[tuple[float, float]]:
    """Return the bootstrap interval of each fold's own score; (NaN, NaN) where it is not computed."""
    import polars as pl

    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import interval
    from sanmaru.tables.match import align

    nothing = (float("nan"), float("nan"))
    if predictions.height > MOST_ROWS:
        return [nothing] * n_folds
    main, roles = find_metric(metric), task.roles
    places = align(
        predictions[roles.id], rows[roles.id], left_name="predictions.parquet", right_name="rows.parquet", subset=True
    )
    validated = rows[places]
    truth, scored = task.truth(validated), task.scored(predictions)
    groups = validated[roles.group].cast(pl.String).fill_null("").to_numpy() if roles.group else None
    found = []
    for fold in range(n_folds):
        mine = (predictions[FOLD] == fold).to_numpy()
        if mine.sum() < 5:
            found.append(nothing)
            continue
        part = None if groups is None else groups[mine]
        found.append(interval(main, truth[mine], scored[mine], groups=part, seed=fold, rounds=200))
    return found


def _odd_folds(values: list[float], intervals: list[tuple[float, float]], whole: float, title: str) -> list[Finding]:
    """Folds that lie further from the whole than chance explains: more than twice the half-width of their interval."""
    findings = []
    for fold, (value, (low, high)) in enumerate(zip(values, intervals, strict=True)):
        if high > low and abs(value - whole) > high - low:
            findings.append(
                Finding(
                    title=f"Fold {fold} is unlike the others",
                    severity="warning",
                    evidence=f"{title} {short(value)} (95 % interval {short(low)} to {short(high)}), "
                    f"{short(whole)} on all rows.",
                    advice="Look at what its rows have in common: a group, a time, a class that the others lack.",
                    kind="odd-fold",
                )
            )
    return findings
