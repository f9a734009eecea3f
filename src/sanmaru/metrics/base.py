"""What a metric is, and finding one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sanmaru.errors import ProjectFileError, nearest
from sanmaru.metrics.names import NAMES


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that says how good predictions are."""

    name: str
    kind: Literal["classification", "regression", "forecasting"]
    greater_is_better: bool
    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    """(truth, scored, sample_weight or None) -> value. Classification: truth int64 codes (n,), scored probabilities
    (n, n_classes). Regression: both float64 (n,). Weights are non-negative (n,)."""
    title: str
    """As people write it: "macro F1", "RMSE"."""
    windows: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float] | None = None
    """The same metric of forecasts, on the records of `metrics.forecasting`."""

    def __call__(self, truth: np.ndarray, scored: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """Return the metric's value as a plain float."""
        function = self.windows if self.windows is not None and truth.dtype.names else self.function
        return float(function(truth, scored, sample_weight))

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a > b if self.greater_is_better else a < b


def find_metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        ProjectFileError: for an unknown name.
    """
    from sanmaru.metrics.classification import METRICS as CLASSIFICATION
    from sanmaru.metrics.forecasting import METRICS as FORECASTING
    from sanmaru.metrics.regression import METRICS as REGRESSION

    metrics = {metric.name: metric for metric in (*CLASSIFICATION, *REGRESSION, *FORECASTING)}
    if name not in metrics:
        raise ProjectFileError(f"unknown metric {name!r}. {nearest(name, NAMES)}")
    return metrics[name]
