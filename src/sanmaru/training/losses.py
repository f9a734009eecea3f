"""Losses, made from their config.

All are modules of (outputs (B, K) float32, labels (B,) int64, weights (B,) float32 or None) and return the sum over the
rows of weight · loss, divided by B. No loss is divided by the weights that happen to be in a batch, so that the losses
of parts of a batch, each times its share of the rows, add up to that of the whole: accumulated gradients and several
devices give what one large batch gives. The exception is `SoftMacroF1`, which is not a sum over rows.

B batch, K classes.
"""

from __future__ import annotations

import abc

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sanmaru.training.config import LossConfig


def make_loss(config: LossConfig, labels: NDArray[np.int64], n_classes: int) -> nn.Module:
    """Return the loss that a config names.

    Args:
        config: Which loss.
        labels: Class codes of the training rows (n,), for class weights and frequencies.
        n_classes: Number of classes.
    """
    weights = class_weights(config, labels, n_classes)
    smoothing = config.label_smoothing
    match config.kind:
        case "cross-entropy":
            return CrossEntropy(weights, smoothing)
        case "focal":
            return Focal(2.0 if config.gamma is None else config.gamma, weights, smoothing)
        case "binary-cross-entropy":
            return BinaryCrossEntropy(weights, smoothing)
        case "logit-adjustment":
            counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
            # A class that is not seen counts as seen once: the logarithm of nothing would end the training.
            frequency = torch.tensor(np.maximum(counts, 1) / max(1, len(labels)), dtype=torch.float32)
            return LogitAdjusted(frequency, 1.0 if config.tau is None else config.tau, smoothing)
        case "soft-macro-f1":
            return SoftMacroF1()


def class_weights(config: LossConfig, labels: NDArray[np.int64], n_classes: int) -> Tensor | None:
    """Return the weight of each class, float32 (n_classes,), with a mean over the rows of about 1; None for none."""
    if config.class_weights == "none":
        return None
    if config.class_weights == "balanced":
        weights = balanced_weights(labels, n_classes)
    else:
        weights = effective_weights(labels, n_classes, 0.999 if config.beta is None else config.beta)
    return torch.tensor(weights, dtype=torch.float32)


def balanced_weights(labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Return n / (n_classes · count) per class (n_classes,), as scikit-learn's "balanced"; 0 for a class not seen."""
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    return np.divide(len(labels), n_classes * counts, out=np.zeros(n_classes), where=counts > 0)


def effective_weights(labels: NDArray[np.int64], n_classes: int, beta: float) -> NDArray[np.float64]:
    """Return weights (n_classes,) by the inverse of the effective number of rows, (1 - beta) / (1 - beta^count).

    After Cui et al. (2019), but scaled so that their mean over the rows is 1 instead of that over the classes: the
    learning rate then means the same with and without weights. 0 for a class not seen.
    """
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    weights = np.divide(1 - beta, 1 - beta**counts, out=np.zeros(n_classes), where=counts > 0)
    return np.asarray(weights * len(labels) / max(float((weights * counts).sum()), 1e-12))


def soft_labels(labels: Tensor, outputs: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return (B, K) like `outputs`: 1 - smoothing on the label, and smoothing / K on every class besides."""
    n_classes = outputs.shape[1]
    return functional.one_hot(labels, n_classes).to(outputs.dtype) * (1 - smoothing) + smoothing / n_classes


class BaseRowLoss(nn.Module, abc.ABC):
    """A loss that is a sum over rows.

    Args:
        class_weights: float32 (K,), or None: each row's loss is multiplied by the weight of its class.
        label_smoothing: Share of the label given to all classes alike (Szegedy et al., 2016), in [0, 1).
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.label_smoothing = label_smoothing

    @abc.abstractmethod
    def rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (B,), classes not yet weighed."""

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the sum over the rows of weight · class weight · loss, divided by their number."""
        rows = self.rows(outputs, labels)
        if self.class_weights is not None:
            rows = rows * self.class_weights[labels]
        if weights is not None:
            rows = rows * weights
        return rows.mean()


class CrossEntropy(BaseRowLoss):
    """-log p of the label, p = softmax(outputs)."""

    def rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (B,)."""
        return functional.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing, reduction="none")


class Focal(BaseRowLoss):
    """-(1 - p)^gamma · log p of the label: rows that are right already count less (Lin et al., 2017).

    The paper's alpha are the class weights. With smoothed labels q it is the sum over the classes of
    -q · (1 - p)^gamma · log p.

    Args:
        gamma: 0 is cross-entropy.
        class_weights: As in `BaseRowLoss`.
        label_smoothing: As in `BaseRowLoss`.
    """

    def __init__(self, gamma: float = 2.0, class_weights: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__(class_weights, label_smoothing)
        self.gamma = gamma

    def rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (B,)."""
        log_probs = functional.log_softmax(outputs, dim=1)
        if not self.label_smoothing:
            log_probs = log_probs.gather(1, labels[:, None])
        # 1 - p is never quite 0 here: with a gamma below 1, the power's slope at 0 would be infinite.
        rest = (-torch.expm1(log_probs)).clamp(min=1e-12)
        values = -log_probs * rest**self.gamma
        if self.label_smoothing:
            values = values * soft_labels(labels, outputs, self.label_smoothing)
        return values.sum(dim=1)


class BinaryCrossEntropy(BaseRowLoss):
    """Each class against the rest: the sum over the classes of binary cross-entropies, p = sigmoid(outputs)."""

    def rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (B,)."""
        target = soft_labels(labels, outputs, self.label_smoothing)
        return functional.binary_cross_entropy_with_logits(outputs, target, reduction="none").sum(dim=1)


class LogitAdjusted(BaseRowLoss):
    """Cross-entropy of outputs + tau · log(frequency) (Menon et al., 2021).

    What the frequencies explain need not be learned: the outputs themselves are logits as if classes were equally
    frequent, which is best for the mean of the recalls.

    Args:
        frequency: float32 (K,), of each class among the training rows, above 0.
        tau: 0 is cross-entropy.
        label_smoothing: As in `BaseRowLoss`.
    """

    shift: Tensor

    def __init__(self, frequency: Tensor, tau: float = 1.0, label_smoothing: float = 0.0) -> None:
        super().__init__(None, label_smoothing)
        self.register_buffer("shift", tau * frequency.log())

    def rows(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row (B,)."""
        return functional.cross_entropy(
            outputs + self.shift, labels, label_smoothing=self.label_smoothing, reduction="none"
        )


class SoftMacroF1(nn.Module):
    """1 minus the macro F1 of a batch, with probabilities in the place of decisions.

    Per class, 2 · Σ p·y / (Σ p + Σ y); the mean is over the classes that the batch holds, since one that it lacks has
    no F1. It needs batches that hold most classes. Not a sum over rows: with accumulated gradients it is the mean over
    the parts.
    """

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of the rows so weighted, times their weight's share of the batch."""
        probs = functional.softmax(outputs, dim=1)
        truth = functional.one_hot(labels, outputs.shape[1]).to(probs.dtype)
        share: Tensor | float = 1.0
        if weights is not None:
            probs, truth = probs * weights[:, None], truth * weights[:, None]
            share = weights.mean()
        true = truth.sum(dim=0)
        f1 = 2 * (probs * functional.one_hot(labels, outputs.shape[1])).sum(dim=0) / (probs.sum(dim=0) + true + 1e-12)
        present = (true > 0).to(f1.dtype)
        return share * (1 - (f1 * present).sum() / present.sum().clamp(min=1))
