"""RMSE, MAE, RMSLE, MAPE and R², with sample weights.

Every function takes truth and predictions float64 (n,) and weights (n,) or None, and returns nan for no rows. A row of
weight 0 counts as a row that is not there. scikit-learn is the reference.
"""

from __future__ import annotations

import numpy as np

from sanmaru.errors import DataError
from sanmaru.metrics.base import Metric
from sanmaru.metrics.forecasting import window_metric

_EPSILON = float(np.finfo(np.float64).eps)


def rmse(truth: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the root of the mean squared error, in the target's unit."""
    return float(np.sqrt(_mean((truth - predicted) ** 2, sample_weight)))


def mae(truth: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the mean absolute error, in the target's unit."""
    return _mean(np.abs(truth - predicted), sample_weight)


def rmsle(truth: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the root of the mean squared difference of log(1 + x).

    Predictions below 0 are taken as 0: a model of a price may dip below it, and the metric should still rank it.

    Raises:
        DataError: when the truth has values below 0, for which the metric says nothing.
    """
    return float(np.sqrt(_mean(squared_log_errors(truth, predicted), sample_weight)))


def squared_log_errors(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return each row's squared difference of log(1 + x), float64 (n,), predictions clipped at 0.

    Raises:
        DataError: when the truth has values below 0.
    """
    below = truth < 0
    if below.any():
        raise DataError(
            f"the metric rmsle needs targets of 0 or more, and {int(below.sum())} of {len(truth)} are below 0 "
            f"(smallest {truth.min():g}). Use rmse or mae."
        )
    return np.asarray((np.log1p(truth) - np.log1p(np.maximum(predicted, 0.0))) ** 2, dtype=np.float64)


def mape(truth: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the mean of |error| / |truth|, as a fraction (0.1 is ten per cent).

    As in scikit-learn a truth of 0 is taken as 2.2e-16, which makes the value huge rather than infinite.
    """
    return _mean(absolute_percentage_errors(truth, predicted), sample_weight)


def absolute_percentage_errors(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return each row's |error| / max(|truth|, 2.2e-16), float64 (n,)."""
    return np.asarray(np.abs(truth - predicted) / np.maximum(np.abs(truth), _EPSILON), dtype=np.float64)


def r2(truth: np.ndarray, predicted: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Return the share of the target's variance that is explained; 1 is perfect, below 0 is worse than the mean.

    Where the truth is constant: 1 for a perfect prediction, else 0, as in scikit-learn.
    """
    weight = np.ones(len(truth)) if sample_weight is None else sample_weight
    if weight.sum() <= 0:
        return float("nan")
    mean = np.average(truth, weights=weight)
    total = float(((truth - mean) ** 2) @ weight)
    rest = float(((truth - predicted) ** 2) @ weight)
    if total == 0.0:
        return 1.0 if rest == 0.0 else 0.0
    return 1.0 - rest / total


def why_undefined(name: str, truth: np.ndarray) -> str | None:
    """Say why a metric is of no use for this truth, with counts; None where it is."""
    if is_defined(name, truth):
        return None
    wrong = int((truth < 0).sum()) if name == "rmsle" else int((truth == 0).sum())
    what = "below 0" if name == "rmsle" else "0"
    return f"{name} says nothing of targets that are {what}, and {wrong:,} of {len(truth):,} are"


def is_defined(name: str, truth: np.ndarray) -> bool:
    """Tell whether a metric says something useful for this truth: rmsle needs values >= 0, mape none that is 0."""
    if name == "rmsle":
        return not bool((truth < 0).any())
    if name == "mape":
        return not bool((truth == 0).any())
    return True


def _mean(values: np.ndarray, sample_weight: np.ndarray | None) -> float:
    weight = np.ones(len(values)) if sample_weight is None else sample_weight
    total = weight.sum()
    return float(values @ weight / total) if total > 0 else float("nan")


METRICS = (
    Metric(
        name="rmse",
        kind="regression",
        greater_is_better=False,
        function=rmse,
        title="RMSE",
        windows=window_metric("rmse"),
    ),
    Metric(
        name="mae",
        kind="regression",
        greater_is_better=False,
        function=mae,
        title="MAE",
        windows=window_metric("mae"),
    ),
    Metric(name="rmsle", kind="regression", greater_is_better=False, function=rmsle, title="RMSLE"),
    Metric(name="mape", kind="regression", greater_is_better=False, function=mape, title="MAPE"),
    Metric(name="r2", kind="regression", greater_is_better=True, function=r2, title="R²"),
)
