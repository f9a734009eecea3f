"""How much worse a model does on rows it was not fitted on when columns are shuffled among them.

Breiman, "Random forests", Machine Learning 45, 2001, on held rows. A column of the table is shuffled with all that was
made of it, feature steps included; a feature step is shuffled on its own, while the columns it was made of stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.tasks.outputs import softmax

if TYPE_CHECKING:
    from sanmaru.metrics.base import Metric
    from sanmaru.tasks.base import Estimator
    from sanmaru.tasks.tabular.task import Tabular

MOST_ROWS = 1000
"""Held rows that are shuffled."""
REPEATS = 3
MOST_FORWARD = 250_000
"""Rows predicted in all; tables of many columns shuffle fewer rows, but not fewer than `FEWEST_ROWS`."""
FEWEST_ROWS = 200
MOST_COLUMNS = 100
"""Columns that are shuffled at most; of wider tables those that the model itself calls important."""

Forward = Callable[[np.ndarray], np.ndarray]


class Shuffles:
    """Held rows, and what shuffling some of their columns does to the score."""

    def __init__(self, task: Tabular, metric: Metric, truth: np.ndarray, seed: int) -> None:
        self._metric = metric
        self._truth = truth
        self._regression = task.output.kind == "regression"
        self._sign = 1.0 if metric.greater_is_better else -1.0
        self._orders = [np.random.default_rng([seed, repeat]).permutation(len(truth)) for repeat in range(REPEATS)]

    def value(self, outputs: np.ndarray) -> float:
        """The metric of outputs float32 (n, n_outputs)."""
        scored = outputs[:, 0].astype(np.float64) if self._regression else softmax(outputs)
        return self._metric(self._truth, scored)

    def losses(self, forward: Forward, matrix: np.ndarray, places: Sequence[int], whole: float) -> list[float]:
        """What the score loses, once per repeat, above 0 where the columns help; NaN where it cannot be told."""
        out = []
        for order in self._orders:
            shuffled = matrix.copy()
            shuffled[:, places] = matrix[order][:, places]
            out.append(self._sign * (whole - self.value(forward(shuffled))))
        return out


def column_losses(
    task: Tabular, estimator: Estimator, matrix: np.ndarray, shuffles: Shuffles, details: Mapping[str, Any]
) -> dict[str, list[float]]:
    """Loss of score per column of the table, once per repeat.

    Args:
        task: Names the columns.
        estimator: Fitted.
        matrix: Encoded held rows.
        shuffles: Of the same rows.
        details: What the estimator tells of itself; its importance chooses among very many columns.
    """
    places = source_places(task, estimator)
    names = _chosen(task, places, details)
    whole = shuffles.value(estimator.forward(matrix))
    return {name: shuffles.losses(estimator.forward, matrix, places[name], whole) for name in names}


def rows_to_shuffle(n_rows: int, n_columns: int) -> int:
    """How many held rows are shuffled, so that the whole stays affordable."""
    affordable = MOST_FORWARD // (max(1, min(n_columns, MOST_COLUMNS)) * REPEATS)
    return min(n_rows, MOST_ROWS, max(FEWEST_ROWS, affordable))


def source_places(task: Tabular, estimator: Any) -> dict[str, list[int]]:
    """Where each column of the table stands in encoded rows, its counted terms included."""
    places: dict[str, list[int]] = {}
    for place, column in enumerate(task.schema.encoded):
        places.setdefault(column.source, []).append(place)
    start = len(task.schema.encoded)
    counter = getattr(estimator, "counter", None)
    for terms in counter.learned if counter is not None else ():
        places.setdefault(terms.column, []).extend(range(start, start + len(terms.terms)))
        start += len(terms.terms)
    return places


def _chosen(task: Tabular, places: Mapping[str, list[int]], details: Mapping[str, Any]) -> list[str]:
    if len(places) <= MOST_COLUMNS:
        return list(places)
    told = details.get("importance") or {}
    weight = dict.fromkeys(places, 0.0)
    for column in task.schema.encoded:
        weight[column.source] += float(told.get(column.name, 0.0))
    return sorted(places, key=lambda name: -weight[name])[:MOST_COLUMNS]
