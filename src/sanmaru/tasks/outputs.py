"""Arithmetic on outputs: logits (n, n_classes) or numbers (n, 1), as `tasks.base` defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-30
"""Probabilities are held above this before their logarithm is taken; float32 logits then lie above -70."""

_FEW = 4096
"""Up to so many numbers are averaged in one array: a single row then costs one pass instead of one per model."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities float64 of logits (..., n_classes)."""
    shifted = logits.astype(np.float64)
    shifted -= np.maximum.reduce(shifted, axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= np.add.reduce(shifted, axis=-1, keepdims=True)
    return shifted


def to_logits(probs: np.ndarray) -> np.ndarray:
    """Return float32 logits (n, n_classes) whose softmax gives these probabilities back."""
    return np.asarray(np.log(np.maximum(probs, SMALLEST)), dtype=np.float32)


def mean_outputs(outputs: Sequence[np.ndarray], kind: str, weights: Sequence[float] | None = None) -> np.ndarray:
    """Average the outputs of several models.

    Args:
        outputs: Arrays float32 (n, n_outputs) of equal shape.
        kind: `classification` (probabilities are averaged and given back as logits) or `regression` (numbers are).
        weights: One per model; equal where absent. They need not sum to 1.

    Returns:
        float32 (n, n_outputs).
    """
    if weights is None and outputs[0].size * len(outputs) <= _FEW:
        stacked = np.array(outputs)
        values = softmax(stacked) if kind == "classification" else stacked.astype(np.float64)
        mean = np.add.reduce(values, axis=0) / len(outputs)
        return to_logits(mean) if kind == "classification" else np.asarray(mean, dtype=np.float32)
    shares = np.ones(len(outputs)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = shares / shares.sum()
    mean = np.zeros(outputs[0].shape)
    for share, values in zip(shares, outputs, strict=True):
        mean += share * (softmax(values) if kind == "classification" else values)
    return to_logits(mean) if kind == "classification" else mean.astype(np.float32)
