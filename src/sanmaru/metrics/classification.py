"""Accuracy, macro F1, ROC AUC and log loss, with sample weights.

Every function takes truth int64 codes (n,), probabilities float64 (n, n_classes) with one column per known class, and
weights (n,) or None. A row of weight 0 counts exactly as a row that is not there, and a row of weight 2 as the same
row twice: bootstrap intervals rest on that. scikit-learn is the reference; where it leaves a case open, the docstring
says what happens here.
"""

from __future__ import annotations

import numpy as np

from sanmaru.metrics.base import Metric

EPSILON = float(np.finfo(np.float64).eps)
"""Smallest probability that the log loss believes, 2.2e-16, as in scikit-learn for float64."""


def accuracy(truth: np.ndarray, probs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the weighted share of rows whose most probable class is the true one; nan for no rows.

    Equal probabilities go to the first class.
    """
    hit = probs.argmax(axis=1) == truth
    weight = np.ones(len(truth)) if sample_weight is None else sample_weight
    total = weight.sum()
    return float(hit @ weight / total) if total > 0 else float("nan")


def confusion(
    truth: np.ndarray, predicted: np.ndarray, n_classes: int, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return the confusion matrix, float64 (n_classes, n_classes), rows true and columns predicted."""
    cells = truth.astype(np.int64) * n_classes + predicted
    counts = np.bincount(cells, weights=sample_weight, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.float64)


def precision_recall_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 per class of confusion matrices.

    Args:
        matrix: (..., n_classes, n_classes), rows true and columns predicted.

    Returns:
        Three float64 arrays (..., n_classes); 0 where the denominator is 0.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1)
    predicted, true = matrix.sum(axis=-2), matrix.sum(axis=-1)
    return _ratio(hit, predicted), _ratio(hit, true), _ratio(2.0 * hit, predicted + true)


def macro_f1_of(matrix: np.ndarray) -> np.ndarray:
    """Return macro F1 of confusion matrices (..., n_classes, n_classes), float64 (...); nan where a matrix is empty.

    The mean is over the classes that occur in the truth or among the predictions, as scikit-learn takes it.
    """
    seen = (matrix.sum(axis=-1) + matrix.sum(axis=-2)) > 0
    f1 = precision_recall_f1(matrix)[2]
    n_seen = seen.sum(axis=-1)
    mean = (f1 * seen).sum(axis=-1) / np.maximum(n_seen, 1)
    return np.where(n_seen > 0, mean, np.nan)


def macro_f1(truth: np.ndarray, probs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the mean F1 over the classes that occur in the truth or among the predictions."""
    return float(macro_f1_of(confusion(truth, probs.argmax(axis=1), probs.shape[1], sample_weight)))


def roc_auc(truth: np.ndarray, probs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the area under the ROC curve.

    With two classes, that of the second class's probability. With more, the mean over classes of one class against
    the rest; a class that is absent from the truth (or is all of it) has no curve and is left out of the mean, so
    that a small fold can be scored (scikit-learn refuses). nan where no class has a curve.
    """
    weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if probs.shape[1] == 2:
        return _binary_auc(truth == 1, probs[:, 1], weight)
    areas = [_binary_auc(truth == code, probs[:, code], weight) for code in range(probs.shape[1])]
    known = [area for area in areas if not np.isnan(area)]
    return float(np.mean(known)) if known else float("nan")


def log_loss(truth: np.ndarray, probs: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the mean of -log P(true class), with P clipped to at least 2.2e-16 (`EPSILON`); nan for no rows."""
    losses = row_log_losses(truth, probs)
    weight = np.ones(len(truth)) if sample_weight is None else sample_weight
    total = weight.sum()
    return float(losses @ weight / total) if total > 0 else float("nan")


def row_log_losses(truth: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return each row's own -log P(true class), float64 (n,)."""
    chosen = probs[np.arange(len(truth)), truth]
    return np.asarray(-np.log(np.clip(chosen, EPSILON, 1.0)), dtype=np.float64)


def _binary_auc(positive: np.ndarray, scores: np.ndarray, weight: np.ndarray) -> float:
    """Mann-Whitney form: the chance that a positive outranks a negative, ties counting half."""
    levels, place = np.unique(scores, return_inverse=True)
    up = np.bincount(place, weights=weight * positive, minlength=len(levels))
    down = np.bincount(place, weights=weight * ~positive, minlength=len(levels))
    total = up.sum() * down.sum()
    if total <= 0:
        return float("nan")
    below = np.cumsum(down) - down
    return float((up * (below + down / 2)).sum() / total)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)
    return ratio


METRICS = (
    Metric(name="accuracy", kind="classification", greater_is_better=True, function=accuracy, title="accuracy"),
    Metric(name="macro_f1", kind="classification", greater_is_better=True, function=macro_f1, title="macro F1"),
    Metric(name="roc_auc", kind="classification", greater_is_better=True, function=roc_auc, title="ROC AUC"),
    Metric(name="log_loss", kind="classification", greater_is_better=False, function=log_loss, title="log loss"),
)
