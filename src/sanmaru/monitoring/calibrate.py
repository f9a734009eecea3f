"""Thresholds from the undisturbed period itself: each stretch of it is judged by what the rest says is usual.

The windows are blocks of consecutive values, so whatever makes neighbouring values alike is kept, and seasons, trends
and weather lie in them as they do in real life. Statistics of all columns are brought to one scale, minus the
logarithm of their yearly rate; one threshold on that scale is then chosen so that the events of all columns together
come at the stated rate. That counts every column (their rates add up, however they depend on each other) and does not
count two statistics of one column twice when they see the same event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sanmaru.errors import DataError
from sanmaru.monitoring.columns import HOUR_US, Values, Watched
from sanmaru.monitoring.config import MonitorConfig, hours
from sanmaru.monitoring.reference import Reference, statistics_of
from sanmaru.monitoring.season import ENOUGH_DAYS, chosen
from sanmaru.monitoring.tail import Tail, bounded, fit_tail, peaks_of, unbounded
from sanmaru.monitoring.windows import cut, ends, held

YEAR_H = 365.25 * 24
FEWEST = 12
"""Separate windows that a reference must hold."""


@dataclass(frozen=True)
class Fold:
    """A stretch of the reference, judged by the rest of it."""

    reference: Reference
    values: Values
    ends: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Of one statistic of one column."""

    value: float
    per_year: float
    """False alarms a year of this statistic alone, by its own tail; nan for a textbook's."""
    largest: float
    """The largest held value in the reference itself, cross-fitted."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds of everything that is watched in windows.

    Attributes:
        thresholds: (key of the column, statistic) -> threshold.
        stated: False alarms a year that were asked for; nan where thresholds are a textbook's.
        in_reference: Alarms that these thresholds raise in the reference itself, cross-fitted.
        years: Length of the reference.
        notes: What a reader should know of how far this can be trusted.
    """

    thresholds: Mapping[tuple[str, str], Threshold]
    stated: float
    in_reference: int
    years: float
    notes: tuple[str, ...] = ()


def whole_of(one: Watched, values: Values, config: MonitorConfig) -> Reference:
    """Return the whole of a reference.

    Raises:
        DataError: when the reference is too short.
    """
    days, per_window = values.days, hours(config.window) / 24
    if days < FEWEST * per_window:
        raise DataError(
            f"the reference of {one.key} covers {days:.0f} days, and {FEWEST} windows of {config.window} need "
            f"{FEWEST * per_window:.0f}. Take a longer reference or a shorter monitor.window."
        )
    at = ends(int(values.at[0]), int(values.at[-1]), config)
    usual = float(np.median(np.isfinite(cut(values, at, config)).sum(axis=1)))
    return Reference.fit(one, [values], chosen(config.season, days), usual)


def folds_of(one: Watched, values: Values, config: MonitorConfig) -> tuple[list[Fold], Reference]:
    """Return the stretches of a reference and the whole of it.

    Two years and more are cut into years, so that the season of a stretch is learned from other years, as it will be
    when new data comes.

    Raises:
        DataError: when the reference is too short.
    """
    whole = whole_of(one, values, config)
    days, per_window = values.days, hours(config.window) / 24
    season = chosen(config.season, days)
    number = max(1, round(days / 365)) if season == "month-hour" else min(5, int(days / per_window / 4))
    if season == "month-hour" and days < ENOUGH_DAYS:
        number = 1  # another season would be judged by; `calibrate` says so
    edges = np.linspace(values.at[0], values.at[-1] + HOUR_US, number + 1).astype(np.int64)
    found = []
    for start, stop in pairwise(edges):
        inside = values.between(int(start), int(stop))
        if not len(inside.at):
            continue
        others = [values.between(int(edges[0]), int(start)), values.between(int(stop), int(edges[-1]))]
        fitted = whole if number == 1 else Reference.fit(one, others, season, whole.usual)
        if not len(fitted.values) and one.categories is None:
            continue
        found.append(Fold(fitted, inside, ends(int(inside.at[0]), int(inside.at[-1]), config)))
    return found, whole


def calibrate(columns: Mapping[str, tuple[Watched, list[Fold]]], config: MonitorConfig, per_year: float) -> Calibration:
    """Choose the thresholds.

    Args:
        columns: Key -> column and what `folds_of` returned for it.
        config: Of the monitor.
        per_year: False alarms a year, over all columns together.
    """
    apart = config.clear_after
    shown = {
        key: [fold.reference.statistics(fold.values, fold.ends, statistics_of(one, config), config) for fold in folds]
        for key, (one, folds) in columns.items()
    }
    kept = {key: [held(part, config.raise_after) for part in parts] for key, parts in shown.items()}
    years = max((_years(parts, config) for parts in shown.values()), default=0.0)
    if config.thresholds == "textbook":
        return _textbook(columns, kept, config, years)
    tails: dict[tuple[str, str], Tail] = {}
    scores: list[list[np.ndarray]] = []
    for key, (one, _) in columns.items():
        own = []
        for row, name in enumerate(statistics_of(one, config)):
            stretched = [unbounded(name, part[row]) for part in kept[key]]
            tail = fit_tail([stretched], _years(shown[key], config), apart)
            tails[key, name] = tail
            own.append([tail.score(part) for part in stretched])
        scores.append([np.max(np.stack(parts), axis=0) for parts in zip(*own, strict=True)])
    together = fit_tail(scores, years, apart) if scores else None
    threshold = together.threshold(per_year) if together else 0.0
    found = {
        (key, name): Threshold(
            value=bounded(name, tails[key, name].statistic(threshold)),
            per_year=math.exp(-threshold),
            largest=max((float(part[row].max(initial=-np.inf)) for part in kept[key]), default=math.nan),
        )
        for key, (one, _) in columns.items()
        for row, name in enumerate(statistics_of(one, config))
    }
    raised = sum(len(peaks_of(column, threshold, apart)) for column in scores)
    return Calibration(
        thresholds=found, stated=per_year, in_reference=raised, years=years, notes=_notes(columns, config, years)
    )


def _years(parts: list[np.ndarray], config: MonitorConfig) -> float:
    judged = sum(int(np.isfinite(part).any(axis=0).sum()) for part in parts)
    return max(judged, 1) * hours(config.step) / YEAR_H


def _textbook(
    columns: Mapping[str, tuple[Watched, list[Fold]]],
    kept: Mapping[str, list[np.ndarray]],
    config: MonitorConfig,
    years: float,
) -> Calibration:
    found: dict[tuple[str, str], Threshold] = {}
    raised = 0
    for key, (one, folds) in columns.items():
        usual = folds[0].reference.usual if folds else 1.0
        beyond = []
        for row, name in enumerate(statistics_of(one, config)):
            n_reference = len(folds[0].reference.values) if folds else 1
            value = textbook(name, usual, n_reference)
            largest = max((float(part[row].max(initial=-np.inf)) for part in kept[key]), default=math.nan)
            found[key, name] = Threshold(value=value, per_year=math.nan, largest=largest)
            beyond.append([part[row] - value for part in kept[key]])
        raised += len(peaks_of([np.max(np.stack(part), axis=0) for part in zip(*beyond, strict=True)], 0.0,
                               config.clear_after))  # fmt: skip
    note = "Thresholds are a textbook's: they assume independent values, and their false-alarm rate is unknown."
    return Calibration(thresholds=found, stated=math.nan, in_reference=raised, years=years, notes=(note,))


def textbook(name: str, n_window: float, n_reference: float) -> float:
    """Return the usual threshold: KS p < 0.05, Wasserstein 0.1 of a standard deviation, PSI 0.2, JS 0.1."""
    if name == "ks":
        return 1.3581 * math.sqrt((n_window + n_reference) / (max(n_window, 1) * max(n_reference, 1)))
    return {"wasserstein": 0.1, "psi": 0.2, "js": 0.1}[name]


def _notes(columns: Mapping[str, tuple[Watched, list[Fold]]], config: MonitorConfig, years: float) -> tuple[str, ...]:
    notes = []
    if years < 3:
        known = "not" if years < 1.5 else "hardly"
        notes.append(
            f"The reference judges {years:.1f} years: what differs from year to year is {known} in it, and false "
            "alarms may be more frequent than stated."
        )
    single = [key for key, (one, folds) in columns.items() if len(folds) == 1]
    if single:
        notes.append(
            f"{', '.join(single[:3])}: month-hour seasons of less than two years are judged by themselves, which "
            "makes thresholds too low."
        )
    return tuple(notes)
