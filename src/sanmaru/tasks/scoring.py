"""What every task with one classification or regression target shares: truth, prediction tables, scores, diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.html.blocks import Section
from sanmaru.metrics.base import find_metric
from sanmaru.metrics.regression import is_defined
from sanmaru.tables.match import align
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import Output
from sanmaru.tasks.classification_errors import diagnose_classification
from sanmaru.tasks.outputs import mean_outputs, softmax
from sanmaru.tasks.quantile_errors import quantile_section
from sanmaru.tasks.regression_errors import diagnose_regression
from sanmaru.tasks.targets import (
    classification_output,
    codes,
    labels_of,
    numbers,
    regression_output,
    usual_metrics,
)

__all__ = ["BaseScoredTask", "classification_output", "regression_output", "usual_metrics"]


class BaseScoredTask:
    """A task with one classification or regression target. Subclasses set the three attributes."""

    roles: Roles
    outputs: tuple[Output, ...]
    metrics: tuple[str, ...]
    """Names of metrics, the usual main one first; `usual_metrics` picks them."""

    @property
    def output(self) -> Output:
        """The one predicted column."""
        return self.outputs[0]

    @property
    def shown(self) -> Output:
        """The output with its classes as people read them: codes of joint classes with what they stand for."""
        joint = self.roles.joint
        return self.output if joint is None else replace(self.output, classes=joint.shown)

    def truth(self, table: pl.DataFrame) -> np.ndarray:
        """Return the target: int64 class codes (n,) or float64 numbers (n,).

        Raises:
            DataError: when the target column is absent, or holds a label that is no class or a missing value.
        """
        column = self._column(table, self.output.name, "the table")
        if self.output.kind == "classification":
            return codes(column, self.output)
        return numbers(column, self.output.name)

    def scored(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return what metrics take: probabilities float64 (n, n_classes), or numbers float64 (n,).

        Probabilities are made from the logits where they are there: near 0 and 1 these keep apart what float32
        probabilities have rounded together.

        Raises:
            DataError: when the prediction columns are absent, of the wrong width, or not finite.
        """
        name = self.output.name
        if self.output.kind == "regression":
            return numbers(self._column(predictions, name, "the predictions"), name)
        logits = f"{name}.logits" in predictions.columns
        column = self._column(predictions, f"{name}.logits" if logits else f"{name}.probs", "the predictions")
        values = _matrix(column, len(self.output.classes))
        if logits:
            return softmax(values)
        probs = values.astype(np.float64)
        return np.asarray(probs / probs.sum(axis=1, keepdims=True), dtype=np.float64)

    def predictions(self, ids: pl.Series, outputs: np.ndarray) -> pl.DataFrame:
        """Make a prediction table from outputs float32 (n, n_outputs); `tasks.base` describes its columns.

        Raises:
            DataError: when an output is not finite, with the number of rows and the first id.
        """
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            first = ids[int(np.flatnonzero(~finite)[0])]
            raise DataError(
                f"the model gave values that are not finite for {int((~finite).sum())} of {len(ids)} rows "
                f"(first {ids.name} {first!r}). Training may have diverged: try a smaller learning rate."
            )
        output = self.output
        if output.kind == "regression":
            names = (output.name, *output.quantile_names)
            columns = np.asarray(outputs, dtype=np.float64).T
            return pl.DataFrame([ids, *(pl.Series(name, v) for name, v in zip(names, columns, strict=True))])
        logits = np.ascontiguousarray(outputs, dtype=np.float32)
        probs = softmax(logits)
        array = pl.Array(pl.Float32, len(output.classes))
        return pl.DataFrame(
            [
                ids,
                labels_of(logits.argmax(axis=1), output),
                *self._labels_of_targets(probs),
                pl.Series(f"{output.name}.probs", probs.astype(np.float32), dtype=array),
                pl.Series(f"{output.name}.logits", logits, dtype=array),
            ]
        )

    def _labels_of_targets(self, probs: np.ndarray) -> list[pl.Series]:
        """The label of each target behind a joint one, by its own probabilities: it may differ from the joint label's
        part, for the likeliest combination need not be made of the likeliest parts."""
        joint = self.roles.joint
        if joint is None:
            return []
        marginals = zip(joint.targets, joint.marginals(probs), strict=True)
        return [target.labels_of(own.argmax(axis=1)) for target, own in marginals if target.name in self.roles.parts]

    def outputs_of(self, predictions: pl.DataFrame) -> np.ndarray:
        """Return the outputs, float32 (n, n_outputs), from which a prediction table was made."""
        if self.output.kind == "regression":
            names = (self.output.name, *self.output.quantile_names)
            columns = [numbers(self._column(predictions, name, "the predictions"), name) for name in names]
            return np.column_stack(columns).astype(np.float32)
        column = self._column(predictions, f"{self.output.name}.logits", "the predictions")
        return _matrix(column, len(self.output.classes)).astype(np.float32)

    def combine(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """Average the outputs of several models: mean probabilities (as logits) or mean numbers."""
        return mean_outputs(outputs, self.output.kind)

    def score(self, table: pl.DataFrame, predictions: pl.DataFrame) -> dict[str, float]:
        """Return every metric of `metrics` that the truth allows. Rows are matched by id.

        Raises:
            DataError: when ids do not match, with counts.
        """
        places = align(
            table[self.roles.id], predictions[self.roles.id], left_name="the table", right_name="the predictions"
        )
        truth, scored = self.truth(table), self.scored(predictions)[places]
        names = [name for name in self.metrics if self.output.kind == "classification" or is_defined(name, truth)]
        return {name: find_metric(name)(truth, scored) for name in names}

    def diagnose(self, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterable[Section]:
        """Analyse the errors of out-of-fold predictions; rows of the table that have none are left out.

        Raises:
            DataError: when a prediction's id is not in the table.
        """
        ids = predictions[self.roles.id]
        places = align(ids, table[self.roles.id], left_name="the predictions", right_name="the table", subset=True)
        truth, scored = self.truth(table[places]), self.scored(predictions)
        if self.output.kind == "classification":
            if self.roles.joint is not None and len(self.roles.joint.targets) > 1:
                from sanmaru.tasks.target_errors import diagnose_targets

                yield from diagnose_targets(self.roles.joint, truth, scored)
            yield from diagnose_classification(self.shown, ids, truth, scored)
        else:
            yield from diagnose_regression(self.output, ids, truth, scored)
            if self.output.quantiles:
                yield quantile_section(self.output, truth, self.outputs_of(predictions)[:, 1:])

    def _column(self, table: pl.DataFrame, name: str, what: str) -> pl.Series:
        if name not in table.columns:
            raise DataError(f"{what} has no column {name!r}. It has: {', '.join(table.columns)}.")
        return table[name]


def _matrix(column: pl.Series, width: int) -> np.ndarray:
    """Values of an array column, (n, width), all finite."""
    found = column.dtype.size if isinstance(column.dtype, pl.Array) else None
    if found != width:
        raise DataError(
            f"column {column.name!r} should hold {width} numbers per row, one per class, got {column.dtype}."
        )
    broken = column.null_count()
    values = column.to_numpy() if not broken else np.empty((0, width))
    if broken or not np.isfinite(values).all():
        raise DataError(f"column {column.name!r} holds missing or not finite values.")
    return np.asarray(values).reshape(-1, width)
