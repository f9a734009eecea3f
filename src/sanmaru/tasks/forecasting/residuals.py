"""Quantiles around a point forecast, from how far it was off in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sanmaru.tasks.forecasting.windows import Floats

MOST_WINDOWS = 20_000
"""Windows that quantiles are taken from; more are thinned evenly."""


def residual_quantiles(truth: Floats, points: Floats, levels: Sequence[float]) -> Floats:
    """Return what is to be added to a point forecast to reach each quantile, per step ahead and target.

    Args:
        truth: What came, float32 (n, horizon, targets); NaN where missing.
        points: What was forecast, the same shape.
        levels: Levels in (0, 1), rising.

    Returns:
        float32 (horizon, targets, levels), rising along the last axis; 0 where no pair is known.
    """
    errors = (truth - points).astype(np.float64)
    out = np.zeros((*errors.shape[1:], len(levels)), dtype=np.float32)
    known = ~np.isnan(errors)
    for step, target in np.ndindex(errors.shape[1:]):
        column = errors[known[:, step, target], step, target]
        if len(column) and len(levels):
            out[step, target] = np.quantile(column, levels)
    return out


def with_quantiles(points: Floats, offsets: Floats) -> Floats:
    """Return outputs float32 (n, horizon * targets * (1 + levels)): each point, then its quantiles.

    Args:
        points: float32 (n, horizon, targets).
        offsets: float32 (horizon, targets, levels), as `residual_quantiles` gives them.
    """
    bands = points[..., None] + offsets
    out = np.concatenate([points[..., None], bands], axis=-1).astype(np.float32)
    return out.reshape(len(points), -1)
