"""k nearest neighbours: a row is predicted from the training rows most like it.

Numbers are put on a normal scale by their training quantiles, so that neither a unit nor a heavy tail rules the
distance; missing ones stand at the middle and are marked. Of a column of categories the most frequent have an axis
each, so that two rows of different categories are as far apart as two numbers one standard deviation apart; rare ones
share the axis "other". No encoding looks at the target: a row that helped to place itself would seem better known than
it is.

Distances are scikit-learn's: brute force where there are many axes, a k-d tree where there are few and many rows.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.files import whole
from sanmaru.tasks.outputs import to_logits
from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows
from sanmaru.tasks.tabular.prepare import Prepare, learn_preparation

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.config import NearestNeighboursConfig
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

GRID = (1, 3, 5, 8, 12, 20, 35, 60, 100)
"""Numbers of neighbours that `auto` tries."""
MOST_AXES = 30
"""Categories of a column that have an axis of their own."""
CHUNK_ROWS = 4096
"""Rows predicted at once: what memory holds beside the training rows does not grow with the rows asked for."""
TREE_AXES = 12
"""Up to so many axes a tree finds neighbours sooner than brute force."""
TREE_ROWS = 5000
_PARTS = 5
_MOST_TRIED = 5000
"""Rows on which `auto` compares numbers of neighbours."""


class Neighbours(BaseTabularEstimator):
    """Nearest neighbours for regression, binary or multiclass targets, and for quantiles of numbers."""

    kind = "neighbours"
    config: NearestNeighboursConfig

    selects = False
    """`valid` is not used to choose anything: `auto` chooses by cross-validation within `train`."""

    def __init__(self, task: Tabular, config: NearestNeighboursConfig, train: TrainConfig) -> None:
        super().__init__(task, config, train)
        self._prepare: Prepare | None = None
        self._axes = np.empty((0, 0), dtype=np.float32)
        self._truth = np.empty(0)
        self._k = 1
        self._index: Any = None
        self._lock = threading.Lock()

    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """Keep the rows; with `n_neighbours: auto`, choose how many count by the named metric over parts of them."""
        self._begin(train, context)
        self._prepare = learn_preparation(train.matrix, self.columns)
        axes, truth = self._place(train.matrix), self._targets(train)
        self.threads = context.threads
        tried: dict[int, float] = {}
        chosen = self.config.n_neighbours
        if chosen == "auto":
            chosen, tried = self._choose(axes, truth, train, context)
        self._k = min(chosen, len(truth))
        self._axes, self._truth, self._index = axes, truth, None
        if valid is not None:
            value = self._value(valid, self.forward(valid.matrix), context)
            context.log(1, **{f"valid_{context.metric.name}": value})
        context.progress(1, 1, "fit")
        self._details = {
            "n_neighbours": self._k,
            "n_neighbours_tried": {str(k): value for k, value in tried.items()},
            "rows": len(truth),
            "axes": axes.shape[1],
            "target_scale": self.scale.kind,
        }

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores float64 (n, n_scores)."""
        found = [
            self._answer(*self._nearest(self._place(matrix[start : start + CHUNK_ROWS]), self._k), self._truth)
            for start in range(0, len(matrix), CHUNK_ROWS)
        ]
        return np.concatenate([np.empty((0, self.task.output.width)), *found])

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write `rows.npz`: plain arrays."""
        assert self._prepare is not None, "fit or load first"
        arrays: dict[str, Any] = {**self._prepare.arrays(), "axes": self._axes, "truth": self._truth}
        with whole(folder / "rows.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        return {"k": self._k}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        with np.load(folder / "rows.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self._axes, self._truth = arrays.pop("axes"), arrays.pop("truth")
        self._prepare = Prepare(**arrays)
        self._k = content["k"]

    def _place(self, matrix: np.ndarray) -> np.ndarray:
        """Where rows lie, float32 (n, n_axes)."""
        assert self._prepare is not None, "fit or load first"
        prepared = self._prepare.rows(matrix)
        plain = len(self._prepare.numbers) + len(self._prepare.marked)
        sizes = np.minimum(self._prepare.sizes, MOST_AXES + 2)
        out = np.zeros((len(matrix), plain + int(sizes.sum())), dtype=np.float32)
        out[:, :plain] = prepared[:, :plain]
        start = plain
        for place, (size, known) in enumerate(zip(sizes.tolist(), self._prepare.sizes.tolist(), strict=True)):
            codes = prepared[:, plain + place].astype(np.int64)
            # The most frequent keep their axis, "missing" is the last, all else is the one before it.
            own = np.where(codes == known - 1, size - 1, np.minimum(codes, size - 2))
            out[np.arange(len(codes)), start + own] = np.sqrt(0.5)
            start += size
        return out

    def _nearest(self, axes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances float64 and places int64, both (n, k), nearest first."""
        index = self._index
        if index is None:
            with self._lock:
                index = self._index = _index(self._axes, self.config.metric)
        return _asked(index, axes, k, self.threads)

    def _answer(self, distances: np.ndarray, places: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Scores (n, n_scores) of rows whose neighbours are known."""
        weights = self._closeness(distances)
        if self.problem != "regression":
            n_classes = len(self.task.output.classes)
            votes = np.zeros((len(places), n_classes))
            rows = np.arange(len(places))
            for rank in range(places.shape[1]):
                votes[rows, truth[places[:, rank]]] += weights[:, rank]
            # One vote more, spread over the classes: what the few nearest do not show is not impossible.
            total = votes.sum(axis=1, keepdims=True)
            share = total / places.shape[1]
            return np.asarray(to_logits((votes + share / n_classes) / (total + share)), dtype=np.float64)
        values = truth[places]
        mean = (values * weights).sum(axis=1) / weights.sum(axis=1)
        return np.column_stack([mean, *(weighted_quantile(values, weights, q) for q in self.task.output.quantiles)])

    def _closeness(self, distances: np.ndarray) -> np.ndarray:
        """Weights (n, k), above 0."""
        if self.config.weights == "uniform":
            return np.ones_like(distances)
        # A twin of a training row is answered by its twins nearly alone.
        return np.asarray(1 / np.maximum(distances, 1e-6))

    def _choose(
        self, axes: np.ndarray, truth: np.ndarray, train: Rows, context: FitContext
    ) -> tuple[int, dict[int, float]]:
        """Return the number of neighbours with the best metric over parts of the rows, and the metric of each."""
        from sanmaru.tasks.tabular.penalty import draw_parts

        parts = draw_parts(len(truth), _PARTS, context.seed, train.groups)
        chosen = np.random.default_rng(context.seed).permutation(len(truth))[:_MOST_TRIED]
        asked = np.zeros(len(truth), dtype=bool)
        asked[chosen] = True
        smallest = min(int((parts != part).sum()) for part in range(_PARTS))
        grid = [k for k in GRID if k <= smallest] or [1]
        outputs = {k: np.empty((len(truth), self.task.output.width), dtype=np.float32) for k in grid}
        for part in range(_PARTS):
            held, rest = np.flatnonzero((parts == part) & asked), parts != part
            if not len(held) or not rest.any():
                asked[held] = False
                continue
            index = _index(axes[rest], self.config.metric)
            distances, places = _asked(index, axes[held], grid[-1], context.threads)
            for k in grid:
                scores = self._answer(distances[:, :k], places[:, :k], truth[rest])
                outputs[k][held] = self.scale.back(scores) if self.problem == "regression" else scores
        if not asked.any():
            return grid[0], {}
        rows = Rows(matrix=axes[:0], truth=train.truth[asked])
        values = {k: self._value(rows, outputs[k][asked], context) for k in grid}
        best = min(values, key=lambda k: -values[k] if context.metric.greater_is_better else values[k])
        return best, values


def weighted_quantile(values: np.ndarray, weights: np.ndarray, level: float) -> np.ndarray:
    """Return the quantile of each row, float64 (n,), between the values as `numpy.quantile` does for equal weights.

    Args:
        values: float64 (n, k).
        weights: (n, k), above 0.
        level: In (0, 1).
    """
    if values.shape[1] == 1:
        return values[:, 0].astype(np.float64)
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1).astype(np.float64)
    heavy = np.take_along_axis(weights, order, axis=1).astype(np.float64)
    # Value i stands at the weight of all before it and half of its own, stretched so that the ends stand at 0 and 1.
    middle = np.cumsum(heavy, axis=1) - heavy / 2
    stand = (middle - middle[:, :1]) / (middle[:, -1:] - middle[:, :1])
    above = np.clip((stand < level).sum(axis=1), 1, values.shape[1] - 1)
    rows = np.arange(len(values))
    low, high = stand[rows, above - 1], stand[rows, above]
    share = (level - low) / np.maximum(high - low, 1e-300)
    return np.asarray(ordered[rows, above - 1] + share * (ordered[rows, above] - ordered[rows, above - 1]))


def _index(axes: np.ndarray, metric: str) -> Any:
    from sklearn.neighbors import NearestNeighbors

    tree = axes.shape[1] <= TREE_AXES and len(axes) >= TREE_ROWS
    return NearestNeighbors(algorithm="kd_tree" if tree else "brute", metric=metric).fit(axes)


def _asked(index: Any, axes: np.ndarray, k: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        distances, places = index.kneighbors(axes, k)
    return np.asarray(distances, dtype=np.float64), np.asarray(places)
