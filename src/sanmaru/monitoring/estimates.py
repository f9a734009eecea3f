"""The estimated error of each window, its 90 % band, and what it turned out to be when the truth came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.errors import DataError, nearest
from sanmaru.monitoring.columns import HOUR_US
from sanmaru.monitoring.config import EstimateConfig, MonitorConfig, hours
from sanmaru.monitoring.loss_estimate import ErrorEstimate, LossEstimate
from sanmaru.monitoring.report import EstimateFigures

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.monitoring.state import MonitorState

FOLDS = 5
BAND = 0.9


def estimate(
    reference: pl.DataFrame, current: pl.DataFrame, config: MonitorConfig, state: MonitorState | None = None
) -> EstimateFigures:
    """Estimate the error of each window of the current table, windows side by side.

    The band comes from the reference: each fifth of it is estimated by a model of the others, and how far estimates of
    its windows lay from the truth is how far they may lie now.

    Args:
        reference: With residual or error, and the inputs; times in UTC, in order.
        current: The same; the residual is null where the truth is still missing.
        config: Of the monitor, with `estimate`.
        state: Keeps the estimates as they were made; the truth is filled in later.

    Raises:
        DataError: when a column is absent or no row of the reference has both inputs and truth.
    """
    assert config.estimate is not None
    chosen = config.estimate
    name = f"mean |{chosen.residual}|" if chosen.residual else f"rate of {chosen.error}"
    X, loss = _inputs(reference, chosen, "reference"), _loss(reference, chosen)
    known = np.isfinite(loss) & np.isfinite(X).any(axis=1)
    if known.sum() < 10 * FOLDS:
        raise DataError(f"the reference has {int(known.sum())} rows with a known truth, too few for monitor.estimate.")
    X, loss, at = X[known], loss[known], reference[config.time].dt.timestamp("us").to_numpy()[known]
    part = np.arange(len(loss)) * FOLDS // len(loss)
    expected = np.empty(len(loss))
    for fold in range(FOLDS):
        inside = part == fold
        expected[inside] = _model(chosen, config).fit(X[~inside], loss[~inside]).predict(X[inside])
    size = hours(config.window) * HOUR_US
    off = [row["realised"] - row["estimated"] for row in _by_window(at, expected, loss, size)]
    low, high = np.quantile(off, [(1 - BAND) / 2, (1 + BAND) / 2])
    model = _model(chosen, config).fit(X, loss)
    now_at = current[config.time].dt.timestamp("us").to_numpy()
    rows = _by_window(now_at, model.predict(_inputs(current, chosen, "current")), _loss(current, chosen), size)
    for row in rows:
        row["low"], row["high"] = max(0.0, row["estimated"] + low), row["estimated"] + high
    if state is not None:
        state.keep_estimates(name, rows)
        return EstimateFigures(name=name, rows=tuple(state.estimates(name)))
    return EstimateFigures(name=name, rows=tuple(rows))


def _by_window(at: np.ndarray, expected: np.ndarray, loss: np.ndarray, size: int) -> list[dict[str, Any]]:
    """Means of complete windows: at, estimated, realised (of rows with a truth; None without any), rows_known."""
    if not len(at):
        return []
    number = at // size
    found = []
    for one in np.unique(number):
        inside = number == one
        end = int((one + 1) * size)
        if end > at[-1] + HOUR_US or one * size < at[0] - HOUR_US:
            continue
        truth = loss[inside][np.isfinite(loss[inside])]
        found.append(
            {
                "at": end,
                "estimated": float(expected[inside].mean()),
                "realised": float(truth.mean()) if len(truth) else None,
                "rows_known": len(truth),
            }
        )
    return found


def _model(chosen: EstimateConfig, config: MonitorConfig) -> LossEstimate | ErrorEstimate:
    return LossEstimate(chosen.model, config.seed) if chosen.residual else ErrorEstimate()


def _inputs(table: pl.DataFrame, chosen: EstimateConfig, which: str) -> np.ndarray:
    import polars as pl

    names = list(chosen.inputs) if chosen.residual else [chosen.confidence or ""]
    for name in names:
        if name not in table.columns:
            raise DataError(
                f"the {which} table has no column {name!r} (monitor.estimate). {nearest(name, table.columns)}"
            )
    kept = table.select(pl.col(name).cast(pl.Float64, strict=False) for name in names)
    for name in names:
        upper = name.removesuffix(".q10") + ".q90"
        if name.endswith(".q10") and upper in names:
            kept = kept.with_columns((pl.col(upper) - pl.col(name)).alias(f"{name} to q90"))
    return np.asarray(kept.fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _loss(table: pl.DataFrame, chosen: EstimateConfig) -> np.ndarray:
    import polars as pl

    name = chosen.residual or chosen.error or ""
    if name not in table.columns:
        return np.full(len(table), np.nan)  # no truth at all yet
    return np.asarray(np.abs(table[name].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()))
