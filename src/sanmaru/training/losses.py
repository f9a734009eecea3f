"""Losses, made from their config."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sanmaru.training.config import LossConfig


class CrossEntropy(nn.Module):
    """Cross-entropy of logits, with class weights and label smoothing (Szegedy et al., 2016).

    Args:
        class_weights: float32 (n_classes,), each row's loss is multiplied by the weight of its class.
        label_smoothing: Share of the label given to all classes alike, in [0, 1).
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean of the rows' losses, weighted by `weights` (B,) where given."""
        rows = functional.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing, reduction="none")
        if self.class_weights is not None:
            rows = rows * self.class_weights[labels]
        return rows.mean() if weights is None else (rows * weights).sum() / weights.sum()


def make_loss(config: LossConfig, labels: NDArray[np.int64], n_classes: int) -> nn.Module:
    """Return a loss of (outputs (B, n_classes), labels (B,), weights (B,) or None).

    It is the mean over the rows of class weight · loss, weighted by `weights`; class weights do not divide it. So
    parts of a batch add up to the whole, which `torch.nn.CrossEntropyLoss` with weights, that divides by the sum of
    the weights that happen to be in the batch, does not.

    Args:
        config: Which loss.
        labels: Class codes of the training rows, for balanced weights.
        n_classes: Number of classes.
    """
    weights = balanced_weights(labels, n_classes) if config.class_weights == "balanced" else None
    return CrossEntropy(None if weights is None else torch.tensor(weights, dtype=torch.float32), config.label_smoothing)


def balanced_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return n / (n_classes · count) per class (n_classes,), as scikit-learn's "balanced"; 0 for a class not seen."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    return np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)
