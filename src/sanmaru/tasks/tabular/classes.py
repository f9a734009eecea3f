"""Weights that make rare classes count as much as frequent ones."""

from __future__ import annotations

import numpy as np


def balanced_weights(codes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return weights float64 (n,) with which every class that occurs has the same sum; their mean is 1.

    Args:
        codes: Class codes int64 (n,).
        n_classes: Number of classes, some of which may not occur.
    """
    counts = np.bincount(codes, minlength=n_classes)
    per_class = len(codes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.asarray(per_class[codes], dtype=np.float64)
