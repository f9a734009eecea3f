"""Ridge regression, or multinomial logistic regression, on standardised numbers and one-hot categories.

The model is plain arrays: filled numbers times weights, plus the weights of missing marks and of levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import read_json, whole, write_json
from sanmaru.tasks.tabular.classes import balanced_weights
from sanmaru.tasks.tabular.config import LinearConfig

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.design import Layout
    from sanmaru.tasks.tabular.penalty import Weights
    from sanmaru.tasks.tabular.task import Tabular

MOST_COEFFICIENTS = 200
"""Largest coefficients kept with the run."""

_ARRAYS = ("places", "median", "numbers", "marks", "leveled", "sizes", "levels", "intercept")


class Linear:
    """A linear model for regression, binary or multiclass targets."""

    selects = False
    """`valid` is not used to choose anything: the penalty is chosen by cross-validation within `train`."""

    def __init__(self, task: Tabular, config: LinearConfig) -> None:
        self.task = task
        self.config = config
        self.encoder = task.encoder
        self.encoding = task.encoding
        self._arrays: dict[str, np.ndarray] = {}
        self._starts = np.empty(0, dtype=np.int64)
        self._details: dict[str, Any] = {}

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train`; on `valid`, where given, the metric is only told.

        Raises:
            DataError: when `train` has no rows or holds a value of the wrong type.
        """
        from threadpoolctl import threadpool_limits

        truth = self.task.truth(train)
        if not len(truth):
            raise DataError("there are no rows to train on.")
        with threadpool_limits(context.threads):
            self._fit(self.encode(train), truth, context)
        if valid is not None and len(valid):
            predicted = self.task.predictions(valid[self.task.roles.id], self.forward(self.encode(valid)))
            value = context.metric(self.task.truth(valid), self.task.scored(predicted))
            context.log(1, **{f"valid_{context.metric.name}": value})
        context.progress(1, 1, "fit")

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Turn rows into a float64 matrix."""
        return self.encoder.encode(table)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from a list of mappings; a missing key is a missing value.

        Raises:
            DataError: naming the row and column of a value of the wrong type.
        """
        return self.encoder.encode_rows(rows)

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n_rows, n_outputs). A binary model's logits are (0, log odds)."""
        arrays = self._arrays
        numbers = array[:, arrays["places"]]
        marks = np.isnan(numbers)
        scores = np.where(marks, arrays["median"], numbers) @ arrays["numbers"] + arrays["intercept"]
        if marks.any():
            scores += marks @ arrays["marks"]
        if len(self._starts):
            codes = array[:, arrays["leveled"]]
            sizes = arrays["sizes"]
            levels = np.where(np.isnan(codes), sizes - 1, np.minimum(codes, sizes - 2)).astype(np.int64)
            scores += arrays["levels"][levels + self._starts].sum(axis=1)
        if self.task.output.kind == "classification" and scores.shape[1] == 1:
            scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
        return np.asarray(scores, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write `estimator.json` and `weights.npz` (plain arrays)."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = self._arrays
        with whole(folder / "weights.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        content = {"kind": "linear", "config": self.config.model_dump(mode="json"), "encoding": self.encoding}
        write_json(folder / "estimator.json", {**content, "details": self._details})

    @classmethod
    def load(cls, task: Tabular, folder: Path) -> Linear:
        """Read what `save` wrote. scikit-learn is not imported."""
        content = read_json(folder / "estimator.json")
        estimator = cls(task, LinearConfig(**content["config"]))
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            estimator._take({name: arrays[name] for name in _ARRAYS})
        estimator._details = content["details"]
        return estimator

    def details(self) -> dict[str, Any]:
        """Return the penalty, the largest coefficients, and each column's importance.

        Importance is a column's share of the spread that all columns together give to the scores of the training rows.
        """
        return self._details

    def _take(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._starts = np.cumsum(arrays["sizes"]) - arrays["sizes"]

    def _fit(self, matrix: np.ndarray, truth: np.ndarray, context: FitContext) -> None:
        from sanmaru.tasks.tabular import penalty
        from sanmaru.tasks.tabular.design import learn_layout

        layout = learn_layout(matrix, self.task.schema.encoded)
        design = layout.design(matrix)
        output = self.task.output
        tried: dict[float, float] = {}
        chosen = self.config.penalty
        if output.kind == "regression":
            if chosen == "auto":
                chosen, tried = penalty.choose_ridge(design, truth, context.seed)
            fitted = penalty.ridge(design, truth, chosen)
        else:
            n_classes = len(output.classes)
            weight = balanced_weights(truth, n_classes) if self.config.class_weights == "balanced" else None
            if chosen == "auto":
                chosen, tried = penalty.choose_logistic(design, truth, n_classes, weight, context.seed)
            fitted = penalty.logistic(design, truth, n_classes, chosen, weight)
            if not fitted.converged:
                context.note("The logistic regression ended before it converged; a stronger penalty would help.")
        n = len(layout.numbers)
        self._take(
            {
                "places": layout.numbers,
                "median": layout.median,
                # The scaling is folded into the weights, so that a row needs none.
                "numbers": fitted.weights[:n] / layout.scale[:, None],
                "marks": fitted.weights[n : 2 * n],
                "leveled": layout.leveled,
                "sizes": layout.sizes,
                "levels": fitted.weights[2 * n :],
                "intercept": fitted.intercept - (layout.mean / layout.scale) @ fitted.weights[:n],
            }
        )
        self._details = self._describe(layout, fitted, matrix, chosen, tried)

    def _describe(
        self, layout: Layout, fitted: Weights, matrix: np.ndarray, chosen: float, tried: Mapping[float, float]
    ) -> dict[str, Any]:
        columns = self.task.schema.encoded
        numbers, marks, levels = layout.fill(matrix)
        n = len(layout.numbers)
        weights, spread = fitted.weights, {}
        for place, column in enumerate(layout.numbers.tolist()):
            scaled = (numbers[:, place] - layout.mean[place]) / layout.scale[place]
            part = np.outer(scaled, weights[place]) + np.outer(marks[:, place], weights[n + place])
            spread[columns[column].name] = float(part.std(axis=0).mean())
        for place, column in enumerate(layout.leveled.tolist()):
            spread[columns[column].name] = float(weights[2 * n + levels[:, place]].std(axis=0).mean())
        total = sum(spread.values()) or 1.0
        names = self._names(layout)
        order = np.argsort(-np.abs(weights).max(axis=1), kind="stable")[:MOST_COEFFICIENTS]
        coefficients = {names[int(i)]: weights[i].round(6).tolist() for i in order if np.abs(weights[i]).max() > 0}
        return {
            "parameters": int(weights.size + fitted.intercept.size),
            "penalty": chosen,
            "penalties_tried": {f"{penalty:g}": value for penalty, value in tried.items()},
            "converged": fitted.converged,
            "intercept": fitted.intercept.round(6).tolist(),
            "coefficients": coefficients,
            "importance_kind": "share of the spread of the scores",
            "importance": dict(sorted(((k, v / total) for k, v in spread.items()), key=lambda item: -item[1])),
        }

    def _names(self, layout: Layout) -> list[str]:
        """What each weight stands for."""
        columns = self.task.schema.encoded
        numbers = [columns[place].name for place in layout.numbers.tolist()]
        names = [*numbers, *(f"{name} is missing" for name in numbers)]
        known = {feature.name: feature.categories for feature in self.task.schema.features}
        for place, size in zip(layout.leveled.tolist(), layout.sizes.tolist(), strict=True):
            column = columns[place]
            own = known[column.source] if column.n_codes else tuple(str(i) for i in range(size - 2))
            names += [f"{column.name} = {level}" for level in (*own, "(other)", "(missing)")]
        return names
