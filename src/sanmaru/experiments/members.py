"""What an ensemble is made of: runs, and files of predictions that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.tables.match import align
from sanmaru.tasks.base import Output, Task
from sanmaru.tasks.outputs import to_logits
from sanmaru.tasks.targets import codes

LABEL_PROBABILITY = 0.99
"""What a bare label counts as; the rest is shared by the other classes."""

SUM_TOLERANCE = 1e-2
"""How far a row's probabilities may be from the sum 1, as rounding to two digits brings about."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model's out-of-fold outputs, in the order of the validated rows."""

    name: str
    outputs: np.ndarray
    """float32 (n, n_outputs)."""
    run: Run | None
    """None for a file."""


def of_run(run: Run, rows: pl.DataFrame) -> Member:
    """Take a run's out-of-fold predictions.

    Raises:
        DataError: when its predictions are not of these rows, with counts.
    """
    task = run.task()
    predictions = run.predictions()
    name = task.roles.id
    places = align(rows[name], predictions[name], left_name="the rows", right_name=f"the predictions of {run.id}")
    outputs = task.outputs_of(predictions)
    return Member(name=run.id, outputs=outputs[places], run=run)


def of_file(path: Path, task: Task, rows: pl.DataFrame) -> Member:
    """Read a file of out-of-fold predictions: the id column, and one column per class, or one label, or one number.

    Args:
        path: csv, tsv or Parquet. A column `fold` beside them, as Sanmaru writes it, is compared with the rows' folds.
        task: The task of the runs it joins.
        rows: The validated rows; the file must have exactly these ids, in any order.

    Raises:
        DataError: when a column is missing or unknown, an id is missing, unexpected or twice, a row lies in another
            fold (with counts), or a value is not a probability, label or number.
    """
    table = _read(path)
    name, output = task.roles.id, task.outputs[0]
    if name not in table.columns:
        raise DataError(
            f"{path} has no id column {name!r}. {nearest(name, table.columns)} Its first line should name the columns."
        )
    places = align(rows[name], table[name], left_name="the run", right_name=str(path))
    values = table[places].drop(name)
    if FOLD in values.columns and FOLD not in (output.name, *output.classes):
        _check_folds(values[FOLD], rows[FOLD], path)
        values = values.drop(FOLD)
    read = _probabilities if output.kind == "classification" else _numbers
    outputs = read(values, output, path)
    return Member(name=path.name, outputs=outputs, run=None)


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"there is no file {path}.")
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        separator = "\t" if path.suffix == ".tsv" else ","
        return pl.read_csv(path, separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table of predictions: {error}") from error


def _check_folds(theirs: pl.Series, ours: pl.Series, path: Path) -> None:
    """Compare a file's folds with those of the rows: in other folds the file's model has seen rows it is scored on."""
    other = int(theirs.cast(pl.Float64, strict=False).ne_missing(ours.cast(pl.Float64)).sum())
    if other:
        raise DataError(
            f"{path}: {other} of {len(ours)} rows lie in another {FOLD!r} than in the runs. Give predictions made on "
            "the runs' folds (`rows.parquet` in a run's folder has them)."
        )


def _probabilities(values: pl.DataFrame, output: Output, path: Path) -> np.ndarray:
    if f"{output.name}.probs" in values.columns:  # a prediction table as Sanmaru writes it
        stored = values[f"{output.name}.probs"]
        width = stored.dtype.size if isinstance(stored.dtype, pl.Array) else None
        if width != len(output.classes):
            raise DataError(f"{path}: {stored.name!r} should hold {len(output.classes)} numbers, got {stored.dtype}.")
        return to_logits(_checked_probabilities(stored.to_numpy().astype(np.float64), path))
    if len(values.columns) == 1:
        return _labels(values.to_series(), output)
    absent = [label for label in output.classes if label not in values.columns]
    unknown = [column for column in values.columns if column not in output.classes]
    if absent or unknown:
        hint = f" {nearest(unknown[0], output.classes)}" if unknown else ""
        raise DataError(
            f"{path} should have one column per class: {len(absent)} are absent ({', '.join(absent[:5])}), "
            f"{len(unknown)} are no class ({', '.join(unknown[:5])}).{hint}"
        )
    return to_logits(_checked_probabilities(_floats(values.select(output.classes), path), path))


def _checked_probabilities(probs: np.ndarray, path: Path) -> np.ndarray:
    broken = ((probs < 0) | (probs > 1)).any(axis=1) | (np.abs(probs.sum(axis=1) - 1) > SUM_TOLERANCE)
    if broken.any():
        first = probs[int(np.flatnonzero(broken)[0])]
        raise DataError(
            f"{path}: {int(broken.sum())} of {len(probs)} rows are no probabilities (each in [0, 1], sum 1); the first "
            f"is {np.round(first, 4).tolist()[:10]}, sum {first.sum():.4g}. Give probabilities, not logits."
        )
    return np.asarray(probs / probs.sum(axis=1, keepdims=True))


def _labels(labels: pl.Series, output: Output) -> np.ndarray:
    chosen = codes(labels, output)
    n_classes = len(output.classes)
    probs = np.full((len(chosen), n_classes), (1 - LABEL_PROBABILITY) / (n_classes - 1))
    probs[np.arange(len(chosen)), chosen] = LABEL_PROBABILITY
    return to_logits(probs)


def _numbers(values: pl.DataFrame, output: Output, path: Path) -> np.ndarray:
    if output.quantiles:
        names = [output.name, *output.quantile_names]
        if sorted(names) != sorted(values.columns):
            raise DataError(
                f"{path} should have the id and the columns {', '.join(names)}, for the runs predict quantiles; beside "
                f"the id it has {', '.join(values.columns[:5])}."
            )
        return _floats(values.select(names), path).astype(np.float32)
    if len(values.columns) != 1:
        raise DataError(
            f"{path} should have the id and one column of numbers, and has {len(values.columns)} beside the id: "
            f"{', '.join(values.columns[:5])}."
        )
    return _floats(values, path).astype(np.float32)


def _floats(values: pl.DataFrame, path: Path) -> np.ndarray:
    cast = values.select(pl.all().cast(pl.Float64, strict=False))
    broken = cast.select((~pl.all().is_finite()).fill_null(True).sum()).row(0, named=True)
    for column, count in broken.items():
        if count:
            bad = values[column].filter((~cast[column].is_finite()).fill_null(True))
            raise DataError(
                f"{path}: {count} of {len(values)} values of {column!r} are missing or no finite numbers, "
                f"such as {bad[0]!r}."
            )
    return cast.to_numpy()


def check_names(members: Sequence[Member]) -> None:
    """Check that no two members have one name.

    Raises:
        DataError: when two have.
    """
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)} was given more than once. Name each member once, or rename the file.")
