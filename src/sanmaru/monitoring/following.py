"""Sequential detectors on the watched columns: what they follow, their thresholds, their alarms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sanmaru.monitoring.between_alarms import USUAL, follow, resampled, threshold_for
from sanmaru.monitoring.calibrate import YEAR_H, Fold
from sanmaru.monitoring.columns import HOUR_US, Values, Watched
from sanmaru.monitoring.config import MonitorConfig, Sequential, hours
from sanmaru.monitoring.reference import Reference

FOLLOWS: dict[Sequential, str] = {"page-hinkley": "residual", "adwin": "residual", "ddm": "error", "eddm": "error"}
YEARS = {"page-hinkley": 400, "adwin": 60, "ddm": 60, "eddm": 60}
"""Resampled years behind a threshold."""
BLOCK_WINDOWS = 4
"""Windows in a block."""
MOST_VALUES = 4_000_000
"""Resampled values at most, which bounds the time where rows are many."""
BEFORE = 365
"""Values of the reference that a detector has seen before it begins."""


@dataclass(frozen=True)
class Followed:
    """A detector's threshold, and its false alarms a year on resampled blocks."""

    threshold: float
    per_year: float


def pairs(columns: Mapping[str, tuple[Watched, list[Fold]]], config: MonitorConfig) -> list[tuple[str, Sequential]]:
    """Return which detector follows which column."""
    return [(key, name) for key, (one, _) in columns.items() for name in config.sequential if FOLLOWS[name] == one.kind]


def stream(one: Watched, reference: Reference, values: Values, config: MonitorConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return what a detector follows: times and values, the mean of each step for residuals, every row for errors.

    Means of whole steps carry no daily cycle and depend on each other far less than hours do.
    """
    if one.kind == "error":
        known = np.isfinite(values.values)
        return values.at[known], values.values[known]
    assert reference.season is not None
    standard = reference.season.standardise(values.month, values.hour, values.values)
    step = hours(config.step) * HOUR_US
    if not len(values.at):
        return np.empty(0, dtype=np.int64), np.empty(0)
    at = np.arange(values.at[0] // step * step + step, values.at[-1] // step * step + step + 1, step)
    place = (values.at - (at[0] - step)) // step
    known = np.isfinite(standard)
    number = np.bincount(place[known], minlength=len(at))
    total = np.bincount(place[known], weights=standard[known], minlength=len(at))
    means = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    if len(values.at) and at[-1] > values.at[-1] + HOUR_US:  # the last step is not over
        at, means = at[:-1], means[:-1]
    return at, means


def calibrate_followed(
    one: Watched, folds: list[Fold], name: Sequential, per_year: float, config: MonitorConfig
) -> Followed:
    """Choose a detector's threshold from resampled blocks of the reference."""
    if config.thresholds == "textbook":
        return Followed(USUAL[name], math.nan)
    stretches = [stream(one, fold.reference, fold.values, config)[1] for fold in folds]
    stretches = [part for part in stretches if np.isfinite(part).any()]
    span = sum(float(fold.values.at[-1] - fold.values.at[0]) for fold in folds) / HOUR_US / YEAR_H
    per = sum(len(part) for part in stretches) / span
    block = max(1, round(per * BLOCK_WINDOWS * hours(config.window) / YEAR_H))
    years = max(10.0, min(float(YEARS[name]), MOST_VALUES / per))
    streams = resampled(stretches, block=block, length=round(per), n=max(1, round(years)), seed=config.seed)
    return Followed(*threshold_for(name, streams, per_year, per))


def followed(
    one: Watched,
    reference: Reference,
    known: Values,
    values: Values,
    *,
    name: Sequential,
    threshold: float,
    config: MonitorConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follow new values after those of the reference.

    Returns:
        Times, the statistic after each, and the times of alarms.
    """
    at, found = stream(one, reference, values, config)
    before = stream(one, reference, known, config)[1][-BEFORE:]
    if not len(at):
        return at, found, at
    statistic, alarm = follow(name, threshold, found, before)
    return at, statistic, at[alarm]
