"""The estimator that a package predicts with where its folds are blocks of time: one, fitted once more on every row.

The folds tell how well the recipe predicts what comes later; each knows only rows before its own block, and the first
of them least. What is used should have learned from the latest rows too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.experiments import events
from sanmaru.experiments.folds import fit_context, fold_seed, rows_that_select, seed_everything
from sanmaru.experiments.runs import Run
from sanmaru.files import whole

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project
    from sanmaru.tables.split import Folds


def refits(project: Project, folds: Folds) -> bool:
    """Whether the package of a run gets an estimator of its own in place of the folds'."""
    final = project.file.split.final
    return final == "refit" or (final == "auto" and folds.kind == "time")


def fit_final(run: Run, task: Any, table: pl.DataFrame, threads: int) -> Path:
    """Fit on all of a table, and return the folder of what was saved; one that is there is not fitted again.

    Args:
        run: With its folds done.
        task: Of the run.
        table: The rows to learn from.
        threads: Cores the fit may use.
    """
    folder, project = run.folder / "final", run.project
    if (folder / "estimator").is_dir():
        return folder / "estimator"
    folder.mkdir(parents=True, exist_ok=True)
    events.mend(folder / events.FILE_NAME)
    estimator: Any = task.estimator(project.file.model, project.file.train)
    seed = fold_seed(project.file.seed, run.facts["folds"])
    fit, selection = table, None
    if getattr(estimator, "selects", True):
        fit, selection = rows_that_select(project, task, table, table, seed, final=True)
    context = fit_context(project, task, folder, seed, threads)
    seed_everything(seed)
    estimator.fit(fit, selection, context)
    with whole(folder / "estimator") as beside:
        beside.mkdir()
        estimator.save(beside)
    return folder / "estimator"
