"""Local outlier factor against kept rows: the neighbours are found by scikit-learn, the factor is a formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sanmaru.tasks.anomalies.config import LocalOutlierFactorConfig
from sanmaru.tasks.anomalies.detectors.base import drawn, without_channels
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext

_TINY = 1e-10
"""Added to mean distances, as scikit-learn does: equal rows have a finite density."""


class LocalOutlierFactor:
    """The score is the mean density of a row's neighbours over its own: 1 inside, more outside."""

    kind = "lof"
    window = 1

    def __init__(self, config: LocalOutlierFactorConfig) -> None:
        self.config = config
        self._kept: Floats = np.zeros((0, 0))
        self._reach: Floats = np.zeros(0)
        self._density: Floats = np.zeros(0)
        self._search: Any = None

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Keep rows and compute their densities."""
        self._kept = features.values[drawn(learn, self.config.rows, context.seed)]
        self._open()
        distance, neighbour = self._search.kneighbors()  # of the kept rows, without themselves
        self._reach = distance[:, -1]
        self._density = self._local_density(distance, neighbour)

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the factors, float64 (n,)."""
        distance, neighbour = self._search.kneighbors(features.values[rows])
        return np.asarray(self._density[neighbour].mean(axis=1) / self._local_density(distance, neighbour))

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return by how much scores fall without each channel, float64 (n, C)."""
        return without_channels(self, features, rows)

    def save(self, folder: Path) -> None:
        """Write the kept rows and their densities."""
        with (folder / "lof.npz").open("wb") as handle:
            np.savez_compressed(handle, kept=self._kept, reach=self._reach, density=self._density)

    def load(self, folder: Path) -> None:
        """Read the kept rows and their densities."""
        with np.load(folder / "lof.npz", allow_pickle=False) as arrays:
            self._kept, self._reach, self._density = arrays["kept"], arrays["reach"], arrays["density"]
        self._open()

    def _open(self) -> None:
        from sklearn.neighbors import NearestNeighbors

        n_neighbors = min(self.config.neighbours, len(self._kept) - 1)
        self._search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="kd_tree", n_jobs=1).fit(self._kept)

    def _local_density(self, distance: Floats, neighbour: Indexes) -> Floats:
        return np.asarray(1.0 / (np.maximum(distance, self._reach[neighbour]).mean(axis=1) + _TINY))
