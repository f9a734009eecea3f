"""Detectors beside each other, on faults injected into the last fifth of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from sanmaru.tasks.anomalies.blocks import divide
from sanmaru.tasks.anomalies.config import AnomalyConfig
from sanmaru.tasks.anomalies.fitted import Fitted, fit_parts
from sanmaru.tasks.anomalies.inject import DAILY_LENGTHS, KINDS, LENGTHS, Injected, inject
from sanmaru.tasks.anomalies.series import DAY_S, TIME, Floats, Indexes, series_rows, watched

EVENTS = 20
"""Faults of each kind."""
_AT_MOST = 0.25
"""Fraction of the rows that faults of one kind may take: a drift is no anomaly when most rows drift."""
NEUTRAL = 3
"""Rows after a fault that count neither way: the return to normal is a step too."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """How the faults of one kind, or of all, were found."""

    events: int
    recall: float
    """Fraction of the faults of which at least one row was flagged."""
    precision: float
    """Fraction of the flagged rows that belong to a fault; nan where none was flagged."""
    average_precision: float
    """Of rows ranked by their score, whatever the threshold; over all kinds, the mean of the kinds."""
    delay_s: float
    """Seconds from the beginning of a fault to its first flagged row, the mean over those found; nan where none was."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One detector."""

    detector: str
    overall: Found
    kinds: dict[str, Found]
    alarms_per_thousand: float
    """Alarms among the later rows as they are, without injected faults: the measured rate of false ones."""
    budget_per_thousand: float
    fit_s: float
    score_s_per_thousand: float
    """Seconds for a thousand rows, features included."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Detectors, the one with the highest average precision first."""

    results: tuple[Result, ...]
    rows: int
    check_rows: int
    columns: tuple[str, ...]
    series: int
    every_s: float
    events: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for scripts."""
        return asdict(self)


def compare_detectors(
    table: pl.DataFrame,
    configs: Sequence[AnomalyConfig],
    *,
    events: int = EVENTS,
    seed: int = 7,
    kinds: Sequence[str] = KINDS,
    threads: int = 1,
    told: Callable[[str], None] | None = None,
    kept: Callable[[Fitted], None] | None = None,
) -> Comparison:
    """Fit detectors on past rows and count what they find of faults injected into the last fifth.

    Every detector learns from the same rows, has its threshold set by the same blocks, and meets the same faults. Each
    kind is injected by itself, so that its precision is its own. Real faults among the later rows count against a
    detector that flags them.

    Args:
        table: Long table of past rows.
        configs: One per detector; they watch the same columns and differ in `model`, and maybe `train`.
        events: Faults of each kind.
        seed: Of the faults.
        kinds: Of faults.
        threads: Cores that may be used.
        told: Called with each kind of detector before it is fitted.
        kept: Called with each detector after.

    Raises:
        DataError: when the table cannot be used or has too few rows.
    """
    first = configs[0]
    channels = watched(table, first.columns)
    rows = series_rows(table, channels, zone=first.zone, counters=first.counters)
    parts = divide(rows)
    late = np.zeros(table.height, dtype=bool)
    late[rows.order[parts.check]] = True
    moving = [name for name in channels if name not in first.counters]
    daily = float(np.nanmedian(rows.steps_s())) > DAY_S / 2
    faults = {
        kind: inject(
            table, kind, moving, events=min(events, _fitting(kind, daily, int(late.sum()))), seed=seed, among=late
        )
        for kind in kinds
    }
    results = []
    for config in configs:
        if told is not None:
            told(config.model.kind)
        began = time.perf_counter()
        fitted = fit_parts(table, config, parts, threads=threads)
        results.append(_one(table, fitted, faults, late=late, fit_s=time.perf_counter() - began))
        if kept is not None:
            kept(fitted)
    results.sort(key=lambda result: -result.overall.average_precision)
    steps = rows.steps_s()
    return Comparison(
        results=tuple(results),
        rows=table.height,
        check_rows=int(late.sum()),
        columns=channels,
        series=len(rows.names),
        every_s=float(np.nanmedian(steps[steps > 0])),
        events=events,
        seed=seed,
    )


def judge(scores: Floats, threshold: float, faults: Injected, inside: Indexes, every_s: float) -> tuple[Found, Any]:
    """Count what a detector found of one kind.

    Args:
        scores: Of the rows at `inside`, float64 (n,).
        threshold: A row is flagged above it.
        faults: The table with its events.
        inside: Rows of the table that count, (n,), in the order of time within each series.
        every_s: Seconds between rows.

    Returns:
        What was found, and (labels, scores, flags, delays) of the rows that count, to be pooled over kinds.
    """
    event = faults.event[inside]
    counted = (event >= 0) | ~_just_after(event)
    flags = scores > threshold
    delays = []
    for number in range(len(faults.lasts)):
        hit = np.flatnonzero(flags[event == number])
        delays.append(float(hit[0]) * every_s if len(hit) else np.nan)
    pooled = (event[counted] >= 0, scores[counted], flags[counted], np.array(delays))
    return _found(*pooled), pooled


def _fitting(kind: str, daily: bool, n_rows: int) -> int:
    low, high = (DAILY_LENGTHS if daily else LENGTHS)[kind]
    return max(1, int(_AT_MOST * n_rows / ((low + high) / 2)))


def _one(table: pl.DataFrame, fitted: Fitted, faults: dict[str, Injected], *, late: Any, fit_s: float) -> Result:
    border = table[TIME].filter(pl.Series(late)).min()
    earlier = table.filter(pl.col(TIME) < border)
    inside = late_rows(table, late)
    kinds, pooled, score_s, n_scored = {}, [], 0.0, 0
    for kind, injected in faults.items():
        began = time.perf_counter()
        scores = fitted.scores(injected.table[inside], earlier)
        score_s += time.perf_counter() - began
        n_scored += len(inside)
        kinds[kind], one = judge(scores, fitted.threshold.value, injected, inside, fitted.reference.every_s)
        pooled.append(one)
    return Result(
        detector=fitted.detector.kind,
        overall=overall(kinds, pooled),
        kinds=kinds,
        alarms_per_thousand=1000 * fitted.threshold.check_rate,
        budget_per_thousand=1000 * fitted.threshold.budget_rate,
        fit_s=fit_s,
        score_s_per_thousand=1000 * score_s / n_scored,
    )


def overall(kinds: dict[str, Found], pooled: Sequence[Any]) -> Found:
    """Return what was found of all kinds.

    Args:
        kinds: What `judge` found of each kind.
        pooled: What it gave besides.
    """
    together = _found(*(np.concatenate(part) for part in zip(*pooled, strict=True)))
    return replace(together, average_precision=float(np.mean([one.average_precision for one in kinds.values()])))


def late_rows(table: pl.DataFrame, late: Any) -> Indexes:
    """Return the rows of the table that are marked, by series and time, (n,)."""
    order = table.with_row_index("row").filter(pl.Series(late)).sort("series", TIME, maintain_order=True)["row"]
    return order.cast(pl.Int64).to_numpy()


def _found(labels: Any, scores: Floats, flags: Any, delays: Floats) -> Found:
    from sklearn.metrics import average_precision_score

    hit = np.isfinite(delays)
    return Found(
        events=len(delays),
        recall=float(hit.mean()),
        precision=float(labels[flags].mean()) if flags.any() else float("nan"),
        average_precision=float(average_precision_score(labels, scores)),
        delay_s=float(delays[hit].mean()) if hit.any() else float("nan"),
    )


def _just_after(event: Indexes) -> Any:
    after = np.zeros(len(event), dtype=bool)
    for back in range(1, NEUTRAL + 1):
        after[back:] |= event[:-back] >= 0
    return after & (event < 0)
