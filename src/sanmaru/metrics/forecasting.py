"""MAE, RMSE, MASE, pinball loss and interval coverage of forecasts, one window a row.

Truth and forecasts of windows are records, so that rows can be chosen and drawn as those of any metric: `truth_records`
and `forecast_records` make them. A missing value (NaN) counts for nothing. Of several targets each has its own value,
and the metric is their mean: for MASE, which has no unit, that says something; the others then mix units.

A sum per window and target is enough for all of them, which makes the bootstrap one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sanmaru.metrics.base import Metric


def truth_records(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return what came, as records (n,).

    Args:
        values: (n, horizon, targets), NaN where missing.
        scale: Mean absolute error of seasonal-naive in the training past of each window's series, (n, targets); NaN
            where there is none.
    """
    n, horizon, targets = values.shape
    out = np.empty(n, dtype=[("value", np.float64, (horizon, targets)), ("scale", np.float64, (targets,))])
    out["value"], out["scale"] = values, scale
    return out


def forecast_records(outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return forecasts as records (n,): `point`, and one field per level, named by it.

    Args:
        outputs: (n, horizon, targets, 1 + levels): the point, then the quantiles, rising.
        levels: In (0, 1), rising.
    """
    n, horizon, targets, _ = outputs.shape
    shape = (horizon, targets)
    fields = [("point", np.float64, shape), *((f"{level:g}", np.float64, shape) for level in levels)]
    out = np.empty(n, dtype=fields)
    for place, (name, *_) in enumerate(fields):
        out[name] = outputs[..., place]
    return out


def levels_of(scored: np.ndarray) -> tuple[float, ...]:
    """The levels of the quantiles in forecast records, rising."""
    return tuple(float(name) for name in (scored.dtype.names or ())[1:])


def seasonal_scale(values: np.ndarray, season: int) -> np.ndarray:
    """Return the mean absolute difference of values one season apart, (n_series, targets); NaN where none is known.

    Args:
        values: (n_series, n_steps, targets), NaN where missing.
        season: Steps of a season.
    """
    apart = np.abs(values[:, season:].astype(np.float64) - values[:, :-season])
    count = (~np.isnan(apart)).sum(axis=1)
    total = np.nansum(apart, axis=1)
    scale = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.where(scale > 0, scale, np.nan)  # a constant series has no scale


def window_sums(name: str, truth: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return what a metric adds up: per window the losses of each target, then the counts, (n, 2 targets)."""
    value = truth["value"]
    known = ~np.isnan(value)
    match name:
        case "mae":
            losses = np.abs(value - scored["point"])
        case "rmse":
            losses = (value - scored["point"]) ** 2
        case "mase":
            losses = np.abs(value - scored["point"]) / truth["scale"][:, None, :]
            known = known & ~np.isnan(truth["scale"])[:, None, :]
        case "pinball":
            losses = pinball_losses(value, scored)
        case "coverage_gap":
            low, high = _ends(scored)
            losses = ((value >= low) & (value <= high)).astype(np.float64)
        case _:
            raise AssertionError(name)
    return np.concatenate([np.where(known, losses, 0.0).sum(axis=1), known.sum(axis=1)], axis=1)


def finish(name: str, scored: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from weighted sums (rounds, 2 targets) to values of the metric (rounds,)."""
    levels = levels_of(scored)

    def value(sums: np.ndarray) -> np.ndarray:
        losses, counts = np.split(sums, 2, axis=1)
        means = np.divide(losses, counts, out=np.full(losses.shape, np.nan), where=counts > 0)
        if name == "rmse":
            means = np.sqrt(means)
        if name == "coverage_gap":
            means = np.abs(means - (levels[-1] - levels[0])) if len(levels) > 1 else np.full(means.shape, np.nan)
        there = ~np.isnan(means)
        n = there.sum(axis=1)
        total = np.where(there, means, 0.0).sum(axis=1)
        out: np.ndarray = np.divide(total, n, out=np.full(len(sums), np.nan), where=n > 0)
        return out

    return value


def pinball_losses(value: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return the pinball loss of each value, averaged over the levels, in the target's unit; NaN without levels."""
    levels = levels_of(scored)
    if not levels:
        return np.full(value.shape, np.nan)
    losses = np.zeros(value.shape)
    for level in levels:
        error = value - scored[f"{level:g}"]
        losses += np.maximum(level * error, (level - 1) * error)
    return losses / len(levels)


def coverage(truth: np.ndarray, scored: np.ndarray) -> float:
    """Return the share of known values within the outermost quantiles, in [0, 1]; nan where there are none."""
    value = truth["value"]
    known = ~np.isnan(value)
    low, high = _ends(scored)
    inside = (value >= low) & (value <= high)
    return float(inside[known].mean()) if known.any() else float("nan")


def _ends(scored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    names = (scored.dtype.names or ())[1:]
    if len(names) < 2:
        nothing = np.full(scored["point"].shape, np.nan)
        return nothing, nothing
    low: np.ndarray = scored[names[0]]
    high: np.ndarray = scored[names[-1]]
    return low, high


def window_metric(name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]:
    """Return a metric of records as a function (truth, scored, sample_weight of windows or None) -> value."""

    def function(truth: np.ndarray, scored: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        weight = np.ones(len(truth)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        sums = weight @ window_sums(name, truth, scored)
        return float(finish(name, scored)(sums[None])[0])

    return function


METRICS = tuple(
    Metric(
        name=name,
        kind="forecasting",
        greater_is_better=False,
        function=window_metric(name),
        windows=window_metric(name),
        title=title,
    )
    for name, title in (("mase", "MASE"), ("pinball", "pinball loss"), ("coverage_gap", "coverage gap"))
)
"""Those that only forecasts have; `mae` and `rmse` stand with regression and take records as well."""
