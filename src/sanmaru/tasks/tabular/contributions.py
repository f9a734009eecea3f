"""What each column adds to the prediction of single rows.

Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, 2020 (TreeSHAP, as LightGBM and CatBoost bring it); for a linear model each column's own term. A model
that cannot tell gives None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sanmaru.tasks.base import Estimator
    from sanmaru.tasks.tabular.schema import Encoded

MOST_COLUMNS = 15
"""Columns of which single rows are kept for the chart, those that add most."""
DRAWN_ROWS = 80
"""Rows per fold that are kept for the chart."""
MOST_LEAVES = 2_000_000
"""Leaves passed in all, about a second of one core; a large forest is asked for fewer rows."""
MOST_ROWS = 500


def told_contributions(
    estimator: Estimator, matrix: np.ndarray, details: dict[str, Any], seed: int
) -> dict[str, Any] | None:
    """Ask a model what each column adds, on some held rows.

    Args:
        estimator: Fitted.
        matrix: Encoded held rows, float64 (n, width).
        details: What the estimator tells of itself; `leaves` say how dear a row is.
        seed: Draws the rows.

    Returns:
        `rows`; `mean`: column to mean absolute contribution, summed over classes, largest first; and for one score
        per row `points`: column to [contributions, ranks of the column's values in [0, 1], None for categories].
    """
    inner: Any = getattr(estimator, "inner", estimator)
    ask = getattr(inner, "contributions", None)
    if ask is None:
        return None
    leaves = max(1, int(details.get("leaves") or 64 * int(details.get("trees") or 0)))
    rows = int(np.clip(MOST_LEAVES // leaves, 50, MOST_ROWS))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(matrix))[:rows])
    wide = estimator.widen(matrix[chosen]) if hasattr(estimator, "widen") else matrix[chosen]
    found = ask(wide)
    if found is None:
        return None
    columns: Sequence[Encoded] = inner.columns
    strength = np.abs(found).mean(axis=0).sum(axis=0)
    order = np.argsort(-strength, kind="stable")
    told: dict[str, Any] = {
        "rows": len(chosen),
        "mean": {columns[place].name: _short(strength[place]) for place in order.tolist() if strength[place] > 0},
    }
    if found.shape[1] == 1:
        drawn = slice(0, DRAWN_ROWS)
        told["points"] = {
            columns[place].name: [
                [_short(value) for value in found[drawn, 0, place].tolist()],
                _ranks(wide[:, place], columns[place])[drawn],
            ]
            for place in order[:MOST_COLUMNS].tolist()
            if strength[place] > 0
        }
    return told


def _ranks(values: np.ndarray, column: Encoded) -> list[float | None]:
    """Each value's rank among the rows in [0, 1]; None where missing, and for categories, which have no order."""
    if column.n_codes:
        return [None] * len(values)
    there = ~np.isnan(values)
    known = np.sort(values[there])
    if not len(known) or known[0] == known[-1]:
        return [None] * len(values)
    places = (np.searchsorted(known, values) + np.searchsorted(known, values, "right") - 1) / 2 / (len(known) - 1)
    return [round(float(place), 3) if seen else None for place, seen in zip(places, there, strict=True)]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
