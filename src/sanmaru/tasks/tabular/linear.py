"""Ridge regression, or multinomial logistic regression, on standardised numbers and one-hot categories.

The model is plain arrays: filled numbers times weights, plus the weights of missing marks and of levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.files import whole
from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows, shares

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.config import LinearConfig
    from sanmaru.tasks.tabular.design import Layout
    from sanmaru.tasks.tabular.penalty import Weights
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

MOST_COEFFICIENTS = 200
"""Largest coefficients kept with the run."""

_ARRAYS = ("places", "median", "numbers", "marks", "leveled", "sizes", "levels", "intercept")


class Linear(BaseTabularEstimator):
    """A linear model for regression, binary or multiclass targets, and for quantiles of numbers."""

    kind = "linear"
    config: LinearConfig

    selects = False
    """`valid` is not used to choose anything: the penalty is chosen by cross-validation within `train`."""

    def __init__(self, task: Tabular, config: LinearConfig, train: TrainConfig) -> None:
        super().__init__(task, config, train)
        self._arrays: dict[str, np.ndarray] = {}
        self._starts = np.empty(0, dtype=np.int64)

    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """Learn from `train`; on `valid`, where given, the metric is only told."""
        from threadpoolctl import threadpool_limits

        self._begin(train, context)
        with threadpool_limits(context.threads):
            self._fit(train, context)
        if valid is not None:
            value = self._value(valid, self.forward(valid.matrix), context)
            context.log(1, **{f"valid_{context.metric.name}": value})
        context.progress(1, 1, "fit")

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores float64 (n, n_scores)."""
        arrays = self._arrays
        numbers = matrix[:, arrays["places"]]
        marks = np.isnan(numbers)
        scores = np.where(marks, arrays["median"], numbers) @ arrays["numbers"] + arrays["intercept"]
        if marks.any():
            scores += marks @ arrays["marks"]
        if len(self._starts):
            codes = matrix[:, arrays["leveled"]]
            sizes = arrays["sizes"]
            levels = np.where(np.isnan(codes), sizes - 1, np.minimum(codes, sizes - 2)).astype(np.int64)
            scores += arrays["levels"][levels + self._starts].sum(axis=1)
        return np.asarray(scores)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """Each column's term less its mean over the rows, float64 (n, n_scores, n_columns)."""
        arrays = self._arrays
        n_scores = arrays["numbers"].shape[1]
        out = np.zeros((len(matrix), n_scores, matrix.shape[1]))
        numbers = matrix[:, arrays["places"]]
        marks = np.isnan(numbers)
        filled = np.where(marks, arrays["median"], numbers)
        terms = filled[:, :, None] * arrays["numbers"] + marks[:, :, None] * arrays["marks"]
        out[:, :, arrays["places"]] = terms.transpose(0, 2, 1)
        if len(self._starts):
            codes, sizes = matrix[:, arrays["leveled"]], arrays["sizes"]
            levels = np.where(np.isnan(codes), sizes - 1, np.minimum(codes, sizes - 2)).astype(np.int64)
            out[:, :, arrays["leveled"]] = arrays["levels"][levels + self._starts].transpose(0, 2, 1)
        return np.asarray(out - out.mean(axis=0))

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write `weights.npz`, plain arrays."""
        arrays: dict[str, Any] = self._arrays
        with whole(folder / "weights.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            self._take({name: arrays[name] for name in _ARRAYS})

    def _take(self, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._starts = np.cumsum(arrays["sizes"]) - arrays["sizes"]

    def _fit(self, train: Rows, context: FitContext) -> None:
        from sanmaru.tasks.tabular import penalty
        from sanmaru.tasks.tabular.design import learn_layout
        from sanmaru.tasks.tabular.quantile_regression import quantile_regression

        layout = learn_layout(train.matrix, self.columns)
        design, target = layout.design(train.matrix), self._targets(train)
        tried: dict[float, float] = {}
        chosen = self.config.penalty
        if self.problem == "regression":
            if chosen == "auto":
                chosen, tried = penalty.choose_ridge(design, target, context.seed, train.groups)
            fitted = penalty.ridge(design, target, chosen)
            for level in self.task.output.quantiles:
                fitted = fitted.beside(quantile_regression(design, target, level, chosen, start=fitted))
        else:
            n_classes = len(self.task.output.classes)
            weight = self._weights(train)
            if chosen == "auto":
                chosen, tried = penalty.choose_logistic(
                    design, target, n_classes, weight, seed=context.seed, groups=train.groups
                )
            fitted = penalty.logistic(design, target, n_classes, chosen, weight)
        if not fitted.converged:
            context.note("The linear model ended before it converged; a stronger penalty would help.")
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
        self._details = self._describe(layout, fitted, train.matrix, chosen, tried)

    def _describe(
        self, layout: Layout, fitted: Weights, matrix: np.ndarray, chosen: float, tried: Mapping[float, float]
    ) -> dict[str, Any]:
        columns = self.columns
        numbers, marks, levels = layout.fill(matrix)
        n = len(layout.numbers)
        weights, spread = fitted.weights, {}
        for place, column in enumerate(layout.numbers.tolist()):
            scaled = (numbers[:, place] - layout.mean[place]) / layout.scale[place]
            part = np.outer(scaled, weights[place]) + np.outer(marks[:, place], weights[n + place])
            spread[columns[column].name] = float(part.std(axis=0).mean())
        for place, column in enumerate(layout.leveled.tolist()):
            spread[columns[column].name] = float(weights[2 * n + levels[:, place]].std(axis=0).mean())
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
            "importance": shares(list(spread), np.array(list(spread.values()))),
        }

    def _names(self, layout: Layout) -> list[str]:
        """What each weight stands for."""
        columns = self.columns
        numbers = [columns[place].name for place in layout.numbers.tolist()]
        names = [*numbers, *(f"{name} is missing" for name in numbers)]
        known = {feature.name: feature.categories for feature in self.task.schema.features}
        for place, size in zip(layout.leveled.tolist(), layout.sizes.tolist(), strict=True):
            column = columns[place]
            own = known[column.source] if column.n_codes else tuple(str(i) for i in range(size - 2))
            names += [f"{column.name} = {level}" for level in (*own, "(other)", "(missing)")]
        return names
