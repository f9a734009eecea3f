"""Whether runs validated the same rows in the same folds: only then do their scores differ by the models alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sanmaru.errors import RunError
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.tables.match import align

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Differences:
    """How many rows of two runs do not meet."""

    only_a: int
    """Rows that only A has."""
    only_b: int
    both: int
    other_fold: int
    """Rows of both whose fold differs."""
    other_target: int
    """Rows of both whose target differs."""

    def __bool__(self) -> bool:
        return bool(self.only_a or self.only_b or self.other_fold or self.other_target)

    def text(self, a: str, b: str) -> str:
        """Say the counts that are not zero."""
        parts = [
            f"{count} rows {what}"
            for count, what in (
                (self.only_a, f"only in {a}"),
                (self.only_b, f"only in {b}"),
                (self.other_fold, f"of {self.both} in both lie in another fold"),
                (self.other_target, f"of {self.both} in both have another target"),
            )
            if count
        ]
        return "; ".join(parts) or "same rows, same folds"


def differences(a: Run, b: Run) -> Differences:
    """Count the rows in which two runs differ; ids are compared as text."""
    import polars as pl

    left, right = _keyed(a), _keyed(b)
    both = left.join(right, on="id", suffix="_b")
    return Differences(
        only_a=left.height - both.height,
        only_b=right.height - both.height,
        both=both.height,
        other_fold=both.filter(pl.col("fold") != pl.col("fold_b")).height,
        other_target=both.filter(pl.col("target").ne_missing(pl.col("target_b"))).height,
    )


def fingerprint(run: Run) -> tuple[int, int]:
    """Return what is equal for runs with the same rows, targets and folds, whatever the order of rows."""
    rows = _keyed(run)
    return rows.height, int(rows.hash_rows(seed=0).sum())


def check_same(runs: Sequence[Run]) -> None:
    """Check that all runs have the rows, targets and folds of the first.

    Raises:
        RunError: with counts, when one has not.
    """
    for run in runs[1:]:
        found = differences(runs[0], run)
        if found:
            raise RunError(
                f"runs {runs[0].id} and {run.id} were not validated on the same rows and folds: "
                f"{found.text(runs[0].id, run.id)}. Train one of them again with split.reuse={runs[0].id}."
            )


def check_same_output(runs: Sequence[Run]) -> None:
    """Check that all runs predict the same column with the same classes.

    Raises:
        RunError: when one does not.
    """
    first = runs[0].task().outputs[0]
    for run in runs[1:]:
        output = run.task().outputs[0]
        if (output.name, output.kind, output.classes) != (first.name, first.kind, first.classes):
            raise RunError(
                f"runs {runs[0].id} and {run.id} predict different things: {first.name!r} ({first.kind}, "
                f"{len(first.classes)} classes) and {output.name!r} ({output.kind}, {len(output.classes)} classes)."
            )
        if output.quantiles != first.quantiles:
            raise RunError(
                f"runs {runs[0].id} and {run.id} predict different quantiles ({list(first.quantiles)} and "
                f"{list(output.quantiles)}). Train one of them again with the model.quantiles of the other."
            )


@dataclass(frozen=True, kw_only=True)
class Validated:
    """The validated rows of a run: what scores are computed on."""

    rows: pl.DataFrame
    """Id, target, group, time and fold, in the order of `truth`."""
    truth: np.ndarray
    folds: np.ndarray
    """int32 (n,)."""
    groups: np.ndarray | None


def validated(run: Run, task: Task) -> Validated:
    """Return the rows of a run that were validated, in the order of its `rows.parquet`."""
    rows = run.rows().filter(_fold_column() >= 0)
    group = task.roles.group
    return Validated(
        rows=rows,
        truth=task.truth(rows),
        folds=rows[FOLD].to_numpy(),
        groups=rows[group].to_numpy() if group else None,
    )


def scored_on(run: Run, task: Task, rows: pl.DataFrame) -> np.ndarray:
    """Return a run's out-of-fold predictions as metrics take them, in the order of `rows`."""
    predictions = run.predictions()
    name = task.roles.id
    places = align(rows[name], predictions[name], left_name="the rows", right_name=f"the predictions of {run.id}")
    scored: np.ndarray = task.scored(predictions)[places]
    return scored


def _keyed(run: Run) -> pl.DataFrame:
    import polars as pl

    roles = run.task().roles
    return run.rows().select(
        pl.col(roles.id).cast(pl.String).alias("id"),
        pl.col(FOLD).cast(pl.Int64).alias("fold"),
        pl.col(roles.targets[0]).cast(pl.String).alias("target"),
    )


def _fold_column() -> pl.Expr:
    import polars as pl

    return pl.col(FOLD)
