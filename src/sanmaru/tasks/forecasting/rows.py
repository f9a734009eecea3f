"""Windows tables on their way to a model: which rows are learned from, and their features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tasks.forecasting.windows import Floats

if TYPE_CHECKING:
    from sanmaru.tasks.forecasting.estimator import BaseForecaster
    from sanmaru.tasks.forecasting.features import Features
    from sanmaru.training.config import TrainConfig


def together(train: pl.DataFrame, valid: pl.DataFrame | None, config: TrainConfig) -> pl.DataFrame:
    """Return the windows that may be learned from once all is chosen: `valid` counts where it is the fold's own.

    Raises:
        DataError: when there are none.
    """
    if valid is not None and len(valid) and config.selection == "inner":
        train = pl.concat([train, valid.select(train.columns)])
    require_windows(train)
    return train


def thinned(table: pl.DataFrame, most: int) -> pl.DataFrame:
    """Return at most so many rows, evenly spaced."""
    if len(table) <= most:
        return table
    return table[np.linspace(0, len(table) - 1, most).round().astype(np.int64)]


def features_of(model: BaseForecaster, features: Features, table: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Return both blocks of features and the truth of a windows table, gathering a few thousand windows at a time.

    Returns:
        float32 (n, B), (n, horizon, S) and (n, horizon, targets).
    """
    horizon = model.layout.horizon
    base = np.empty((len(table), len(features.base_names)), dtype=np.float32)
    steps = np.empty((len(table), horizon, len(features.step_names)), dtype=np.float32)
    truth = np.empty((len(table), horizon, len(model.layout.targets)), dtype=np.float32)
    start = 0
    for windows, came in model.batches(table):
        rows = slice(start, start + len(windows))
        base[rows], truth[rows] = features.base(windows), came
        for step in range(horizon):
            steps[rows, step] = features.step(windows, step + 1)
        start += len(windows)
    return base, steps, truth


def known_share(truth: Floats, targets: Sequence[str]) -> dict[str, float]:
    """Return the share of the values of each target that are there to learn from, of (n, horizon, targets)."""
    shares = 1.0 - np.isnan(truth).mean(axis=(0, 1))
    return {name: round(float(share), 4) for name, share in zip(targets, shares, strict=True)}


def require_windows(table: pl.DataFrame) -> None:
    """Check that there is something to train on.

    Raises:
        DataError: when there are no windows.
    """
    if not len(table):
        raise DataError("there are no windows to train on. Give more rows, or a smaller forecast.lookback.")


def goal_of(objective: str, metric: str) -> str:
    """Return what is minimised for the number, `squared` or `absolute`; `auto` follows the metric."""
    if objective != "auto":
        return objective
    return "absolute" if metric in {"mae", "mase", "pinball", "coverage_gap"} else "squared"


def typical_values(values: Floats, targets: Sequence[str]) -> Floats:
    """Return the median of each target, float32 (targets,), of values (n, steps, targets).

    Raises:
        DataError: when a target has no value.
    """
    known = [column[~np.isnan(column)] for column in values.reshape(-1, len(targets)).T]
    for name, column in zip(targets, known, strict=True):
        if not len(column):
            raise DataError(f"no training window has a value of {name!r} to learn from. Give more rows.")
    return np.array([np.median(column) for column in known], dtype=np.float32)
