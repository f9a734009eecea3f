"""How much one feature alone tells of the target, on rows it was not measured on.

Each encoded column is cut into bins (quantiles of a number, codes of a category, missing values in a bin of their own)
and the target's mean per bin is learned on four fifths of the rows and judged on the rest, five times. A column that
names every row, an id, therefore tells nothing, however well it would fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.tabular.schema import Encoded

MOST_ROWS = 50_000
MOST_BINS = 50
_PARTS = 5
_PRIOR_ROWS = 5.0
"""A bin's mean is drawn towards the overall mean as if by so many rows."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What strength is measured in, for a kind of problem."""

    name: str
    nothing: float
    leak: float
    """From here on, one column alone nearly equals the target."""


SCALES = {
    "regression": Scale(name="R²", nothing=0.0, leak=0.98),
    "binary": Scale(name="ROC AUC", nothing=0.5, leak=0.99),
    "multiclass": Scale(name="share of log loss removed", nothing=0.0, leak=0.9),
}


def bins_of(values: np.ndarray, column: Encoded, most: int = MOST_BINS) -> tuple[np.ndarray, np.ndarray]:
    """Cut an encoded column into bins.

    Returns:
        The bin of each row, int64 (n,), and the upper edges of the bins of a number (empty for codes). Missing
        values have the last bin.
    """
    missing = np.isnan(values)
    if column.n_codes:
        return np.where(missing, column.n_codes + 1, np.nan_to_num(values)).astype(np.int64), np.empty(0)
    present = values[~missing]
    if not len(present):
        return np.zeros(len(values), dtype=np.int64), np.empty(0)
    edges = np.unique(np.quantile(present, np.linspace(0, 1, most + 1)[1:], method="inverted_cdf"))
    return np.where(missing, len(edges), np.searchsorted(edges, np.nan_to_num(values))).astype(np.int64), edges


def strengths(matrix: np.ndarray, columns: Sequence[Encoded], truth: np.ndarray, n_classes: int) -> dict[str, float]:
    """Measure each feature of a table; the best of the columns it is encoded as speaks for it.

    Args:
        matrix: float64 (n, n_columns), encoded rows.
        columns: What the matrix holds.
        truth: Class codes int64 (n,), or float64 numbers.
        n_classes: 0 for regression.

    Returns:
        Strength per source column, strongest first, in the unit of `SCALES`.
    """
    generator = np.random.default_rng(0)
    if len(truth) > MOST_ROWS:
        chosen = np.sort(generator.permutation(len(truth))[:MOST_ROWS])
        matrix, truth = matrix[chosen], truth[chosen]
    parts = generator.permutation(len(truth)) % _PARTS
    # A bin should hold some ten rows, or its mean is noise.
    most = int(np.clip(len(truth) // 10, 2, MOST_BINS))
    found: dict[str, float] = {}
    for place, column in enumerate(columns):
        values = matrix[:, place]
        bins, _ = bins_of(values, column, most)
        if n_classes > 2:
            strength = _removed(bins, truth, n_classes, parts)
        else:
            means = _cross_fitted(bins, truth.astype(np.float64), parts)
            strength = find_metric("roc_auc" if n_classes else "r2")(
                truth, np.stack([1 - means, means], axis=1) if n_classes else means
            )
            if not n_classes and not column.n_codes:
                strength = max(strength, _linear(values, truth))
        found[column.source] = max(found.get(column.source, -np.inf), strength)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _cross_fitted(bins: np.ndarray, target: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Mean target of each row's bin, learned on the other parts, float64 (n,)."""
    size = int(bins.max()) + 1
    out = np.empty(len(target))
    for part in range(_PARTS):
        rest, held = parts != part, parts == part
        counts = np.bincount(bins[rest], minlength=size)
        sums = np.bincount(bins[rest], weights=target[rest], minlength=size)
        overall = target[rest].mean() if rest.any() else 0.0
        out[held] = ((sums + _PRIOR_ROWS * overall) / (counts + _PRIOR_ROWS))[bins[held]]
    return out


def _removed(bins: np.ndarray, codes: np.ndarray, n_classes: int, parts: np.ndarray) -> float:
    """Share of the log loss of the class frequencies that knowing the bin removes."""
    size = int(bins.max()) + 1
    before = after = 0.0
    for part in range(_PARTS):
        rest, held = parts != part, parts == part
        counts = np.zeros((size, n_classes))
        np.add.at(counts, (bins[rest], codes[rest]), 1.0)
        prior = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * n_classes)
        smoothed = counts + _PRIOR_ROWS * prior
        smoothed /= smoothed.sum(axis=1, keepdims=True)
        before -= float(np.log(prior[codes[held]]).sum())
        after -= float(np.log(smoothed[bins[held], codes[held]]).sum())
    return 1.0 - after / before if before > 0 else 0.0


def _linear(values: np.ndarray, target: np.ndarray) -> float:
    """Squared correlation over the rows where the number is there, times their share."""
    there = ~np.isnan(values)
    x, y = values[there], target[there]
    if len(x) < 3 or x.std() == 0 or y.std() == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2) * float(there.mean())
