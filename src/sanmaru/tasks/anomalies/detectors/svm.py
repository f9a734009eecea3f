"""One-class SVM: fitted by scikit-learn, kept as its support vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sanmaru.tasks.anomalies.config import OneClassSVMConfig
from sanmaru.tasks.anomalies.detectors.base import drawn, without_channels
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext

_AT_ONCE = 4096


class OneClassSVM:
    """The score is the distance outside of the boundary, in the units of the kernel; negative inside."""

    kind = "one-class-svm"
    window = 1

    def __init__(self, config: OneClassSVMConfig) -> None:
        self.config = config
        self._vectors: Floats = np.zeros((0, 0))
        self._weights: Floats = np.zeros(0)
        self._gamma = 1.0
        self._offset = 0.0

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Find the boundary; the kernel's width is scikit-learn's `scale`."""
        from sklearn.svm import OneClassSVM as Machine

        kept = features.values[drawn(learn, self.config.rows, context.seed)]
        self._gamma = 1.0 / (kept.shape[1] * float(kept.var()) or 1.0)
        model = Machine(nu=self.config.nu, gamma=self._gamma).fit(kept)
        self._vectors, self._weights = model.support_vectors_, model.dual_coef_[0]
        self._offset = float(model.intercept_[0])

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the distances, float64 (n,)."""
        from scipy.spatial.distance import cdist

        parts = np.array_split(rows, max(1, -(-len(rows) // _AT_ONCE)))
        kernel = (
            np.exp(-self._gamma * cdist(features.values[part], self._vectors, "sqeuclidean")) @ self._weights
            for part in parts
        )
        return np.asarray(-(np.concatenate(list(kernel)) + self._offset))

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return by how much scores fall without each channel, float64 (n, C)."""
        return without_channels(self, features, rows)

    def save(self, folder: Path) -> None:
        """Write the support vectors."""
        arrays = {"vectors": self._vectors, "weights": self._weights, "numbers": [self._gamma, self._offset]}
        with (folder / "svm.npz").open("wb") as handle:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]

    def load(self, folder: Path) -> None:
        """Read the support vectors."""
        with np.load(folder / "svm.npz", allow_pickle=False) as arrays:
            self._vectors, self._weights = arrays["vectors"], arrays["weights"]
            self._gamma, self._offset = map(float, arrays["numbers"])
