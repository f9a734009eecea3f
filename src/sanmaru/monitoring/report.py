"""What a look at everything that is watched found: plain figures, for people, pages, scripts and triggers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np

from sanmaru.monitoring.columns import Kind
from sanmaru.monitoring.decide import Alert

Standing = Literal["quiet", "beyond", "alarm", "too little data"]
"""`beyond`: the newest window lies beyond a threshold, and an alarm is not raised yet."""


@dataclass(frozen=True, kw_only=True)
class StatisticFigures:
    """One statistic of one column.

    Attributes:
        name: ks, wasserstein, psi, js, page-hinkley, adwin, ddm, eddm.
        value: In the newest window (after the newest value); nan where it could not be judged.
        threshold: Beyond which it counts.
        per_year: False alarms a year of this one alone; nan where unknown.
        largest: Its largest in the reference; nan for sequential detectors.
        at: int64 (n,), ends of windows, microseconds since 1970 UTC.
        values: float64 (n,).
        alarms: int64, times of a sequential detector's alarms.
    """

    name: str
    value: float
    threshold: float
    per_year: float
    largest: float
    at: np.ndarray
    values: np.ndarray
    alarms: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class ColumnFigures:
    """One watched column.

    Attributes:
        key: Name, and series where there are several.
        kind: data, prediction, residual or error.
        statistics: Of its windows, and of the sequential detectors that follow it.
        smallest_shift: Found with the stated power by its windows; its own unit, or a share of rows for categories.
        spread: Usual spread of the column around its season, in its own unit; nan for categories.
        standing: How things stand.
        since: When the alarm was raised, or None.
        missing_fraction: Of its values in the newest window.
        means: Mean of each window, float64 (n,), in usual spreads from the usual mean; empty for categories.
    """

    key: str
    kind: Kind
    statistics: tuple[StatisticFigures, ...]
    smallest_shift: float
    spread: float
    standing: Standing
    since: datetime | None
    missing_fraction: float
    means: np.ndarray

    @property
    def worst(self) -> StatisticFigures:
        """The statistic that lies furthest beyond its threshold, or nearest to it."""
        return max(self.statistics, key=lambda one: one.value / one.threshold if one.value == one.value else -1.0)


@dataclass(frozen=True, kw_only=True)
class ServiceFigure:
    """A figure of the service, its limit where one is set, and whether an alarm stands."""

    name: str
    value: float
    limit: float | None
    alarm: bool
    text: str
    """What it is, with its unit."""


@dataclass(frozen=True, kw_only=True)
class EstimateFigures:
    """The estimated error by window, and what it turned out to be.

    Attributes:
        name: Such as `mean |pm25.residual|`.
        rows: at (microseconds), estimated, low, high, realised (None while the truth is missing), rows_known.
    """

    name: str
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class MonitorReport:
    """Everything a look found.

    Attributes:
        columns: What is watched.
        service: Figures of the service and the machine.
        estimates: Of the error before the truth is known, or None.
        alerts: New ones of this look.
        stated: False alarms a year over everything together; nan for a textbook's thresholds.
        in_reference: Alarms that the thresholds of windows raise in the reference itself.
        reference_years: Length of the reference.
        reference: Its first and last time.
        current: First and last time of what was watched.
        notes: What a reader should know of how far thresholds can be trusted.
        undelivered: Alerts that a channel did not take, with what it said.
    """

    columns: tuple[ColumnFigures, ...]
    service: tuple[ServiceFigure, ...]
    estimates: EstimateFigures | None
    alerts: tuple[Alert, ...]
    stated: float
    in_reference: int
    reference_years: float
    reference: tuple[datetime, datetime]
    current: tuple[datetime, datetime]
    power: float
    window: str
    notes: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[str, ...]:
        """Causes of the alarms that stand."""
        columns = [one.key for one in self.columns if one.standing == "alarm"]
        return (*columns, *(f"service:{one.name}" for one in self.service if one.alarm))

    @property
    def drift(self) -> bool:
        """Whether an alarm of a watched column stands: what a trigger for training asks."""
        return any(one.standing == "alarm" for one in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; numbers that are not finite become None. Series over time are left out."""
        columns = [
            {
                "column": one.key,
                "kind": one.kind,
                "state": one.standing,
                "since": _text(one.since),
                "smallest_shift": _plain(one.smallest_shift),
                "smallest_shift_spreads": _plain(one.smallest_shift / one.spread) if one.spread else None,
                "missing_fraction": _plain(one.missing_fraction),
                "statistics": [
                    {
                        "name": each.name,
                        "value": _plain(each.value),
                        "threshold": _plain(each.threshold),
                        "false_alarms_per_year": _plain(each.per_year),
                        "largest_in_reference": _plain(each.largest),
                    }
                    for each in one.statistics
                ],
            }
            for one in self.columns
        ]
        return {
            "alarms": list(self.alarms),
            "drift": self.drift,
            "columns": columns,
            "service": [
                {"name": one.name, "value": _plain(one.value), "limit": one.limit, "alarm": one.alarm, "text": one.text}
                for one in self.service
            ],
            "estimates": None if self.estimates is None else [
                {**row, "at": _text(moment(row["at"]))} for row in self.estimates.rows
            ],
            "alerts": [one.body() for one in self.alerts],
            "false_alarms_per_year": _plain(self.stated),
            "alarms_in_reference": self.in_reference,
            "reference_years": _plain(self.reference_years),
            "reference": [_text(one) for one in self.reference],
            "current": [_text(one) for one in self.current],
            "window": self.window,
            "power": self.power,
            "notes": list(self.notes),
            "undelivered": list(self.undelivered),
        }  # fmt: skip


def moment(at: int) -> datetime:
    """Return microseconds since 1970 UTC as a time."""
    return datetime.fromtimestamp(at / 1e6, UTC)


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(value: datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")
