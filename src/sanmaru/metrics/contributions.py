"""A metric as a function of how often each unit counts, evaluated for many draws at once.

A unit is a row, or a bundle of rows that are drawn together. Most metrics are a function of a few weighted sums (RMSE
of the summed squared errors and the summed weights, macro F1 of the counts in the confusion matrix), so that many draws
are one matrix product: weights (rounds, n_units) times contributions (n_units, n_sums).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from sanmaru.metrics.base import Metric
from sanmaru.metrics.classification import row_log_losses
from sanmaru.metrics.forecasting import finish, window_sums
from sanmaru.metrics.regression import absolute_percentage_errors, squared_log_errors

Evaluate = Callable[[np.ndarray], np.ndarray]
"""Weights float64 (rounds, n_units) -> values of the metric float64 (rounds,), nan where it is not defined."""

MOST_RANKED = 50_000
"""ROC AUC of more rows times curves is linearised instead of ranked anew in every draw."""


def evaluator(metric: Metric, truth: np.ndarray, scored: np.ndarray, units: np.ndarray, n_units: int) -> Evaluate:
    """Return the metric as a function of the units' weights.

    Args:
        metric: Any metric; one that is not among Sanmaru's own is simply called once per draw.
        truth: As the metric takes it, (n,); of forecasts the records of `metrics.forecasting`.
        scored: As the metric takes it, (n,) or (n, n_classes).
        units: The unit of each row, int64 (n,) in [0, n_units).
        n_units: Number of units.
    """

    if truth.dtype.names:
        return _of_sums(window_sums(metric.name, truth, scored), finish(metric.name, scored), units, n_units)

    def ratio(losses: np.ndarray) -> Evaluate:
        return _of_sums(np.column_stack([losses, np.ones(len(losses))]), _mean, units, n_units)

    match metric.name:
        case "accuracy":
            return ratio((scored.argmax(axis=1) == truth).astype(np.float64))
        case "log_loss":
            return ratio(row_log_losses(truth, scored))
        case "mae":
            return ratio(np.abs(truth - scored))
        case "mape":
            return ratio(absolute_percentage_errors(truth, scored))
        case "rmse":
            mean_square = ratio((truth - scored) ** 2)
            return lambda weights: np.sqrt(mean_square(weights))
        case "rmsle":
            mean_log_square = ratio(squared_log_errors(truth, scored))
            return lambda weights: np.sqrt(mean_log_square(weights))
        case "r2":
            # Centred first, so that the variance is not a small difference of large sums.
            centred = truth - truth.mean()
            parts = np.column_stack([(truth - scored) ** 2, centred, centred**2, np.ones(len(truth))])
            return _of_sums(parts, _explained, units, n_units)
        case "macro_f1":
            return _of_sums(_class_counts(truth, scored), _macro_f1, units, n_units)
        case "roc_auc" if len(truth) * _n_curves(scored) <= MOST_RANKED:
            return _ranked_auc(truth, scored, units)
        case "roc_auc":
            return _linear_auc(truth, scored, units, n_units)
    return lambda weights: np.array([metric(truth, scored, row[units]) for row in weights])


def _of_sums(parts: Any, finish: Evaluate, units: np.ndarray, n_units: int) -> Evaluate:
    n_rows = len(units)
    gather = sparse.csr_array((np.ones(n_rows), (units, np.arange(n_rows))), shape=(n_units, n_rows))
    summed = gather @ parts
    if sparse.issparse(summed):
        turned = summed.T.tocsr()
        return lambda weights: finish((turned @ weights.T).T)
    return lambda weights: finish(weights @ summed)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return out


def _mean(sums: np.ndarray) -> np.ndarray:
    return _divide(sums[:, 0], sums[:, 1])


def _explained(sums: np.ndarray) -> np.ndarray:
    total = sums[:, 2] - _divide(sums[:, 1] ** 2, sums[:, 3])
    return 1.0 - _divide(sums[:, 0], total)


def _class_counts(truth: np.ndarray, probs: np.ndarray) -> Any:
    """Per row and class: hit, predicted, true; sparse (n, 3 n_classes)."""
    n_rows, n_classes = probs.shape
    predicted = probs.argmax(axis=1)
    rows = np.arange(n_rows)
    hit = predicted == truth
    row_places = np.concatenate([rows[hit], rows, rows])
    columns = np.concatenate([truth[hit], n_classes + predicted, 2 * n_classes + truth])
    return sparse.csr_array((np.ones(len(columns)), (row_places, columns)), shape=(n_rows, 3 * n_classes))


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    hit, predicted, true = np.split(sums, 3, axis=1)
    both = predicted + true
    f1 = np.divide(2 * hit, both, out=np.zeros_like(both), where=both > 0)
    return _divide(f1.sum(axis=1), (both > 0).sum(axis=1).astype(np.float64))


def _n_curves(probs: np.ndarray) -> int:
    return 1 if probs.shape[1] == 2 else probs.shape[1]


def _curves(truth: np.ndarray, probs: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(is positive, score) of each curve: the second of two classes, or each class against the rest."""
    chosen = [1] if probs.shape[1] == 2 else range(probs.shape[1])
    return [(truth == code, probs[:, code]) for code in chosen]


def _ranked_auc(truth: np.ndarray, probs: np.ndarray, units: np.ndarray) -> Evaluate:
    """Rank once, then only re-weigh: in every draw the rows keep their order."""
    curves = []
    for positive, scores in _curves(truth, probs):
        order = np.argsort(scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        curves.append((units[order], positive[order], starts))

    def evaluate(weights: np.ndarray) -> np.ndarray:
        areas = np.full((len(curves), len(weights)), np.nan)
        for place, (ordered, positive, starts) in enumerate(curves):
            drawn = weights[:, ordered]
            up = np.add.reduceat(drawn * positive, starts, axis=1)
            down = np.add.reduceat(drawn * ~positive, starts, axis=1)
            area = (up * (np.cumsum(down, axis=1) - down / 2)).sum(axis=1)
            areas[place] = _divide(area, up.sum(axis=1) * down.sum(axis=1))
        return _mean_of_known(areas)

    return evaluate


def _linear_auc(truth: np.ndarray, probs: np.ndarray, units: np.ndarray, n_units: int) -> Evaluate:
    """The area's first-order expansion in the weights: means of placement values (DeLong et al., 1988).

    The placement of a positive is the share of negatives below it, of a negative the share of positives above it.
    """
    columns, areas = [], []
    for positive, scores in _curves(truth, probs):
        ups, downs = np.sort(scores[positive]), np.sort(scores[~positive])
        if len(ups) == 0 or len(downs) == 0:
            continue
        below = (np.searchsorted(downs, scores, "left") + np.searchsorted(downs, scores, "right")) / (2 * len(downs))
        above = 1 - (np.searchsorted(ups, scores, "left") + np.searchsorted(ups, scores, "right")) / (2 * len(ups))
        columns += [below * positive, positive, above * ~positive, ~positive]
        areas.append(below[positive].mean())
    if not areas:
        return lambda weights: np.full(len(weights), np.nan)

    def finish(sums: np.ndarray) -> np.ndarray:
        parts = sums.reshape(len(sums), -1, 4)
        curves = _divide(parts[..., 0], parts[..., 1]) + _divide(parts[..., 2], parts[..., 3]) - np.array(areas)
        return _mean_of_known(curves.T)

    return _of_sums(np.column_stack(columns).astype(np.float64), finish, units, n_units)


def _mean_of_known(areas: np.ndarray) -> np.ndarray:
    known = ~np.isnan(areas)
    return _divide(np.where(known, areas, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
