"""Targets: what a column of the training table lets us learn, and labels to codes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.metrics.names import CLASSIFICATION, REGRESSION
from sanmaru.metrics.regression import is_defined
from sanmaru.tables.joint import JointTarget
from sanmaru.tables.labels import dtype_name, label_texts, typed_labels
from sanmaru.tasks.base import Output

MOST_CLASSES = 1000


def classification_output(target: pl.Series) -> Output:
    """Learn the classes of a target column.

    Integers, floats and booleans keep their type and are sorted by value; everything else is taken as text.

    Raises:
        DataError: when the column is empty, has missing values, one class only, or more than 1000 classes.
    """
    _check_filled(target)
    dtype = dtype_name(target.dtype)
    classes = tuple(label_texts(target.unique().sort(), dtype).to_list())
    if len(classes) == 1:
        raise DataError(
            f"the target {target.name!r} has one class only ({classes[0]!r} in all {len(target)} rows). "
            "Classification needs at least two; check data.target and how the rows were chosen."
        )
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"the target {target.name!r} has {len(classes)} classes in {len(target)} rows, more than {MOST_CLASSES}. "
            "If it is a number to predict, set problem_type: regression; if it names rows, it is an id."
        )
    return Output(name=target.name, kind="classification", classes=classes, dtype=dtype)


def joint_output(joint: JointTarget) -> Output:
    """Return the output of several targets: their joint classes, whether or not each occurs in the data."""
    return Output(name=joint.name, kind="classification", classes=joint.classes, dtype=joint.dtype)


def regression_output(target: pl.Series) -> Output:
    """Check that a target column holds numbers to learn.

    Raises:
        DataError: when the column is empty, not numeric, has missing, infinite or only equal values.
    """
    _check_filled(target)
    if not target.dtype.is_numeric():
        examples = ", ".join(repr(value) for value in target.head(3).to_list())
        raise DataError(
            f"the target {target.name!r} is not numeric (it holds {examples}). Regression needs numbers; "
            "mend the column, or set problem_type: classification."
        )
    values = target.cast(pl.Float64)
    broken = int((~values.is_finite()).sum())
    if broken:
        raise DataError(
            f"the target {target.name!r} is not finite in {broken} of {len(values)} rows. Remove those rows."
        )
    if values.n_unique() == 1:
        raise DataError(
            f"the target {target.name!r} is {values[0]:g} in all {len(values)} rows: there is nothing to learn."
        )
    return Output(name=target.name, kind="regression", dtype=dtype_name(target.dtype))


def usual_metrics(output: Output, target: pl.Series) -> tuple[str, ...]:
    """Return the metrics that a target allows, the usual main one first.

    Classification: macro F1 first. Regression: RMSE first; RMSLE is left out where values below 0 occur, MAPE
    where 0 occurs, for there they say nothing.
    """
    if output.kind == "classification":
        return ("macro_f1", *(name for name in CLASSIFICATION if name != "macro_f1"))
    values = target.cast(pl.Float64).to_numpy()
    return tuple(name for name in REGRESSION if is_defined(name, values))


def codes(labels: pl.Series, output: Output) -> np.ndarray:
    """Return int64 class codes (n,) of a column of labels.

    Raises:
        DataError: when a label is missing or was not among the classes, with counts.
    """
    texts = label_texts(labels, output.dtype)
    positions = {label: code for code, label in enumerate(output.classes)}
    found = texts.replace_strict(positions, default=None, return_dtype=pl.Int64)
    unknown = texts.filter(found.is_null())
    if len(unknown):
        shown = ", ".join("missing" if label is None else repr(label) for label in unknown.unique().head(5).to_list())
        raise DataError(
            f"{len(unknown)} of {len(labels)} labels in {labels.name!r} are not among the {len(output.classes)} "
            f"classes of the target {output.name!r}: {shown}."
        )
    return found.to_numpy().astype(np.int64)


def labels_of(class_codes: np.ndarray, output: Output) -> pl.Series:
    """Return the labels of class codes, in the target's own type."""
    return typed_classes(output).gather(pl.Series(class_codes, dtype=pl.UInt32)).rename(output.name)


def typed_classes(output: Output) -> pl.Series:
    """Return the classes in the target's own type, in the order of their codes."""
    return typed_labels(output.name, output.classes, output.dtype)


def typed_label(code: int, output: Output) -> Any:
    """Return one label as a plain value in the target's own type."""
    return typed_classes(output)[code]


def numbers(values: pl.Series, name: str) -> np.ndarray:
    """Return float64 numbers (n,) of a numeric column.

    Raises:
        DataError: when values are missing or not numbers.
    """
    cast = values.cast(pl.Float64, strict=False)
    broken = int((~cast.is_finite().fill_null(False)).sum())
    if broken:
        raise DataError(f"{broken} of {len(values)} values of {name!r} are missing or not finite numbers.")
    return cast.to_numpy()


def _check_filled(target: pl.Series) -> None:
    if len(target) == 0:
        raise DataError(f"the target {target.name!r} has no rows to learn from.")
    missing = target.null_count()
    if missing:
        raise DataError(
            f"the target {target.name!r} is missing in {missing} of {len(target)} rows. Remove those rows or fill them."
        )
