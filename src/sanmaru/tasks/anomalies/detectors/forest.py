"""Isolation forest: grown by scikit-learn, kept and walked as arrays.

T trees, N nodes of the largest tree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanmaru.tasks.anomalies.config import IsolationForestConfig
from sanmaru.tasks.anomalies.detectors.base import without_channels
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext

_AT_ONCE = 2_000_000
"""Places (row, tree) that are walked at once."""


class IsolationForest:
    """A detector of random trees; the score is 2^(-mean depth / expected depth), in (0, 1)."""

    kind = "isolation-forest"
    window = 1

    def __init__(self, config: IsolationForestConfig) -> None:
        self.config = config
        self._arrays: dict[str, NDArray[Any]] = {}

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Grow the trees."""
        from sklearn.ensemble import IsolationForest as Forest

        # max_samples: scikit-learn warns where a tree would see more rows than there are.
        model = Forest(
            n_estimators=self.config.trees,
            max_samples=min(self.config.sample, len(learn)),
            random_state=context.seed,
            n_jobs=1,
        ).fit(features.values[learn].astype(np.float32))
        self._arrays = tree_arrays(model)

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the scores, float64 (n,)."""
        values = features.values[rows].astype(np.float32)  # as scikit-learn compares them
        n_trees = len(self._arrays["feature"])
        parts = np.array_split(np.arange(len(rows)), max(1, -(-len(rows) * n_trees // _AT_ONCE)))
        return np.concatenate([self._walk(values[part]) for part in parts])

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return by how much scores fall without each channel, float64 (n, C)."""
        return without_channels(self, features, rows)

    def save(self, folder: Path) -> None:
        """Write the trees."""
        with (folder / "forest.npz").open("wb") as handle:
            np.savez_compressed(handle, **self._arrays)  # type: ignore[arg-type]

    def load(self, folder: Path) -> None:
        """Read the trees."""
        with np.load(folder / "forest.npz", allow_pickle=False) as arrays:
            self._arrays = dict(arrays)

    def _walk(self, values: NDArray[np.float32]) -> Floats:
        feature, threshold = self._arrays["feature"], self._arrays["threshold"]
        child, depth = self._arrays["child"], self._arrays["depth"]
        trees = np.arange(len(feature))
        row = np.arange(len(values))[:, None]
        node = np.zeros((len(values), len(trees)), dtype=np.int64)
        while True:
            asked = feature[trees, node]
            if (asked < 0).all():  # every row stands on a leaf of every tree
                break
            right = values[row, np.maximum(asked, 0)] > threshold[trees, node]
            node = np.where(asked < 0, node, child[trees, node, right.astype(np.int64)])
        mean = depth[trees, node].sum(axis=1)
        return np.asarray(2.0 ** (-mean / (len(trees) * float(self._arrays["expected"]))))


def tree_arrays(model: Any) -> dict[str, NDArray[Any]]:
    """Return a fitted forest of scikit-learn as arrays.

    `feature` int32 (T, N), -1 on leaves; `threshold` float64 (T, N), at most which a value goes left; `child` int32
    (T, N, 2); `depth` float64 (T, N), on leaves the length of the path with what the rows left there would add;
    `expected` float64 (), the path that all rows would have.
    """
    trees = [one.tree_ for one in model.estimators_]
    largest = max(tree.node_count for tree in trees)
    feature = np.full((len(trees), largest), -1, dtype=np.int32)
    threshold = np.zeros((len(trees), largest))
    child = np.zeros((len(trees), largest, 2), dtype=np.int32)
    depth = np.zeros((len(trees), largest))
    for place, (tree, chosen) in enumerate(zip(trees, model.estimators_features_, strict=True)):
        n = tree.node_count
        inner = tree.children_left >= 0
        feature[place, :n] = np.where(inner, np.asarray(chosen)[np.maximum(tree.feature, 0)], -1)
        threshold[place, :n] = tree.threshold
        child[place, :n] = np.where(inner[:, None], np.stack([tree.children_left, tree.children_right], axis=1), 0)
        for node in np.flatnonzero(inner):  # parents stand before their children
            depth[place, child[place, node]] = depth[place, node] + 1
        depth[place, :n] += average_path(tree.n_node_samples)
    expected = np.asarray(average_path(np.array([model._max_samples]))[0])
    return {"feature": feature, "threshold": threshold, "child": child, "depth": depth, "expected": expected}


def average_path(n_rows: NDArray[np.integer]) -> Floats:
    """Return the mean depth of n rows in a random tree: 2 (H(n - 1) - (n - 1) / n), (n,) -> (n,)."""
    n = np.asarray(n_rows, dtype=np.float64)
    out = np.where(n == 2, 1.0, 0.0)
    many = n > 2
    out[many] = 2 * (np.log(n[many] - 1) + np.euler_gamma) - 2 * (n[many] - 1) / n[many]
    return np.asarray(out)
