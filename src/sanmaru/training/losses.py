"""Losses, made from their config."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sanmaru.training.config import LossConfig


def make_loss(config: LossConfig, labels: NDArray[np.int64], n_classes: int) -> nn.Module:
    """Return a loss of (logits (B, n_classes), labels (B,)).

    Label smoothing after Szegedy et al. (2016). With weights, the mean is weighted as `torch.nn.CrossEntropyLoss`
    does: divided by the sum of the weights of the batch.

    Args:
        config: Which loss.
        labels: Class codes of the training rows, for balanced weights.
        n_classes: Number of classes.
    """
    weights = balanced_weights(labels, n_classes) if config.class_weights == "balanced" else None
    return nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float32),
        label_smoothing=config.label_smoothing,
    )


def balanced_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return n / (n_classes · count) per class (n_classes,), as scikit-learn's "balanced"; 0 for a class not seen."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    return np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)
