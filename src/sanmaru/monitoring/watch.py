"""One look at everything that is watched: compare, decide, remember, report."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.errors import DataError
from sanmaru.monitoring.calibrate import Calibration, Threshold, calibrate, folds_of, whole_of
from sanmaru.monitoring.columns import HOUR_US, Values, Watched, values_of, watched, with_times
from sanmaru.monitoring.config import MonitorConfig, Sequential, hours
from sanmaru.monitoring.decide import SEVERITIES, Alarm, Alert, Look, decide
from sanmaru.monitoring.detectable import smallest_shift
from sanmaru.monitoring.estimates import estimate
from sanmaru.monitoring.following import Followed, calibrate_followed, followed, pairs
from sanmaru.monitoring.reference import Reference, statistics_of
from sanmaru.monitoring.report import ColumnFigures, MonitorReport, ServiceFigure, StatisticFigures, moment
from sanmaru.monitoring.service import TEXTS, service_figures
from sanmaru.monitoring.windows import window_us

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.monitoring.state import MonitorState

VERSION = 1
"""Of what calibrations are made by; another one makes kept calibrations void."""


@dataclass(frozen=True)
class Known:
    """The reference of one column: the column, what is known of all of it, its values."""

    one: Watched
    whole: Reference
    values: Values


@dataclass(frozen=True)
class Limits:
    """Thresholds of everything, and what shifts they find."""

    windows: Calibration
    sequential: Mapping[tuple[str, Sequential], Followed]
    shifts: Mapping[str, float]


def watch(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    config: MonitorConfig,
    state: MonitorState | None = None,
    *,
    requests: pl.DataFrame | None = None,
    now: datetime | None = None,
) -> MonitorReport:
    """Compare what came since with the undisturbed period.

    Args:
        reference: Table of the undisturbed period, with the columns that the config names.
        current: Table of what came since; rows not newer than the reference are passed over, so it may hold those too.
        config: What is watched, and how often it may cry wolf.
        state: Remembers alarms and calibrations between looks; without it every look begins anew.
        requests: Log of requests, for the figures of the service.
        now: The present; the clock's where absent.

    Returns:
        Plain figures. `report.drift` says whether an alarm of a column stands. Alerts are kept in the state for
        `monitoring.deliver`, not sent.

    Raises:
        DataError: when columns are missing, the reference is too short, or nothing is newer than it.

    Example:
        >>> import polars as pl
        >>> from datetime import datetime
        >>> times = pl.datetime_range(datetime(2026, 1, 1), datetime(2026, 6, 30), "1h", eager=True)
        >>> noise = np.random.default_rng(0).normal(0, 1, len(times))
        >>> table = pl.DataFrame({"time": times, "x": noise})
        >>> report = watch(table[:3000], table[3000:], MonitorConfig(data=("x",)))
        >>> report.drift
        False
    """
    import polars as pl

    now = now or datetime.now(UTC)
    reference = with_times(reference, config, "reference")
    current = with_times(current, config, "current")
    if not len(reference):
        raise DataError("the reference holds no row with a time.")
    last = reference[config.time][-1]
    current = current.filter(pl.col(config.time) > last)
    if not len(current):
        raise DataError(f"no row of the current table is newer than the reference, which ends at {last}.")
    known = {}
    for one in watched(reference, config):
        values = values_of(reference, one, config).known_since()
        known[one.key] = Known(one, whole_of(one, values, config), values)
    limits = _limits(known, reference, config, state)
    before = state.alarms() if state is not None else {}
    alarms: list[Alarm] = []
    alerts: list[Alert] = []
    columns = []
    for key, each in known.items():
        figures, looks = _look_at(each, values_of(current, each.one, config), limits, config)
        alarm, new = decide(
            before.get(key, Alarm(cause=key)),
            looks,
            SEVERITIES[each.one.kind],
            raise_after=config.raise_after,
            clear_after=config.clear_after,
        )
        alarms.append(alarm)
        alerts += new
        columns.append(_with_standing(figures, looks, alarm))
    # Of residuals and errors the newest are missing until the truth comes.
    missing = {one.key: one.missing_fraction for one in columns if one.kind in ("data", "prediction")}
    service = _service(current, requests, missing, config=config, now=now, before=before, alarms=alarms, alerts=alerts)
    estimates = None if config.estimate is None else estimate(reference, current, config, state)
    alerts.sort(key=lambda one: one.at)
    if state is not None:
        from sanmaru.monitoring.deliver import note

        note(state, alarms, alerts, config.alerts)
    return MonitorReport(
        columns=tuple(columns),
        service=service,
        estimates=estimates,
        alerts=tuple(alerts),
        stated=config.false_alarms_per_year if config.thresholds == "calibrated" else math.nan,
        in_reference=limits.windows.in_reference,
        reference_years=limits.windows.years,
        reference=(reference[config.time][0], last),
        current=(current[config.time][0], current[config.time][-1]),
        power=config.power,
        window=config.window,
        notes=limits.windows.notes,
    )


def _limits(
    known: Mapping[str, Known], reference: pl.DataFrame, config: MonitorConfig, state: MonitorState | None
) -> Limits:
    """Return thresholds: kept ones where neither reference nor config changed, else new ones."""
    fingerprint = _fingerprint(reference, config)
    kept = state.calibration(fingerprint) if state is not None else None
    if kept is not None:
        return _from_plain(kept)
    columns = {key: (each.one, folds_of(each.one, each.values, config)[0]) for key, each in known.items()}
    sequential = pairs(columns, config)
    # Detectors that follow values and windows that are compared share the stated rate in halves.
    part = config.false_alarms_per_year / 2 if sequential else config.false_alarms_per_year
    found = calibrate(columns, config, part)
    limits = Limits(
        found,
        {
            (key, name): calibrate_followed(*columns[key], name, part / len(sequential), config)
            for key, name in sequential
        },
        {key: smallest_shift(*column, found.thresholds, config) for key, column in columns.items()},
    )
    if state is not None:
        state.keep_calibration(fingerprint, _plain(limits))
    return limits


def _look_at(each: Known, values: Values, limits: Limits, config: MonitorConfig) -> tuple[ColumnFigures, list[Look]]:
    one, step = each.one, hours(config.step) * HOUR_US
    if len(values.at):
        first = int(values.at[0]) // step * step + step
        at = np.arange(first, (int(values.at[-1]) + HOUR_US) // step * step + 1, step, dtype=np.int64)
    else:
        at = np.empty(0, dtype=np.int64)
    names = statistics_of(one, config)
    found = np.full((len(names), len(at)), math.nan)
    means, missing = np.empty(0), math.nan
    if len(at):
        whole = at - window_us(config) >= values.at[0] - HOUR_US
        found = np.where(whole, each.whole.statistics(values, at, names, config), math.nan)
        windows = each.whole.windows(values, at, config)
        counts = np.isfinite(windows).sum(axis=1)
        missing = 1 - min(1.0, float(counts[-1]) / max(each.whole.usual, 1.0))
        if one.categories is None:
            means = np.where(counts > 0, np.nansum(windows, axis=1) / np.maximum(counts, 1), math.nan)
    figures = []
    for name, row in zip(names, found, strict=True):
        threshold = limits.windows.thresholds[one.key, name]
        figures.append(
            StatisticFigures(
                name=name,
                value=float(row[-1]) if len(row) else math.nan,
                threshold=threshold.value,
                per_year=threshold.per_year,
                largest=threshold.largest,
                at=at,
                values=row,
            )
        )
    raised = np.empty(0, dtype=np.int64)
    for (key, name), followed_by in limits.sequential.items():
        if key == one.key:
            threshold_at = followed_by.threshold
            times, statistic, alarms = followed(
                one, each.whole, each.values, values, name=name, threshold=threshold_at, config=config
            )
            raised = np.concatenate([raised, alarms])
            figures.append(
                StatisticFigures(
                    name=name,
                    value=float(statistic[-1]) if len(statistic) else math.nan,
                    threshold=followed_by.threshold,
                    per_year=followed_by.per_year,
                    largest=math.nan,
                    at=times,
                    values=statistic,
                    alarms=alarms,
                )
            )
    column = ColumnFigures(
        key=one.key,
        kind=one.kind,
        statistics=tuple(figures),
        smallest_shift=limits.shifts[one.key],
        spread=math.nan if each.whole.season is None else float(each.whole.season.spread.mean()),
        standing="quiet",
        since=None,
        missing_fraction=missing,
        means=means,
    )
    return column, _looks(figures, len(names), at, np.sort(raised), config)


def _looks(
    figures: list[StatisticFigures], n_windows: int, at: np.ndarray, raised: np.ndarray, config: MonitorConfig
) -> list[Look]:
    """What each step says; a sequential detector's alarm stands for a window's length."""
    looks = []
    compared = np.stack([one.values for one in figures[:n_windows]])
    limits = np.array([one.threshold for one in figures[:n_windows]])
    for place, end in enumerate(at):
        recent = raised[(raised > end - window_us(config)) & (raised <= end)]
        now = compared[:, place]
        if not np.isfinite(now).any() and not len(recent):
            continue
        ratio = np.where(np.isfinite(now), now / np.maximum(limits, 1e-12), -np.inf)
        lead = int(ratio.argmax())
        beyond, value, threshold, name = ratio[lead] > 1, now[lead], limits[lead], figures[lead].name
        if len(recent) and not beyond:
            detector = next(one for one in figures[n_windows:] if recent[-1] in one.alarms)
            value = detector.values[int(np.searchsorted(detector.at, recent[-1]))]
            beyond, threshold, name = True, detector.threshold, detector.name
        looks.append(
            Look(
                at=int(end),
                beyond=bool(beyond),
                at_once=len(recent) > 0,
                value=float(value),
                threshold=float(threshold),
                statistic=name,
            )
        )
    return looks


def _with_standing(figures: ColumnFigures, looks: list[Look], alarm: Alarm) -> ColumnFigures:
    from dataclasses import replace

    last = figures.statistics[0].at
    judged = bool(looks) and len(last) > 0 and looks[-1].at == int(last[-1])
    if alarm.raised:
        return replace(figures, standing="alarm", since=moment(alarm.since))
    if not judged:
        return replace(figures, standing="too little data")
    return replace(figures, standing="beyond" if alarm.over else "quiet")


def _service(
    current: pl.DataFrame,
    requests: pl.DataFrame | None,
    missing: Mapping[str, float],
    *,
    config: MonitorConfig,
    now: datetime,
    before: Mapping[str, Alarm],
    alarms: list[Alarm],
    alerts: list[Alert],
) -> tuple[ServiceFigure, ...]:
    if requests is not None:
        requests = with_times(requests, config, "requests")
    shown = {key: value for key, value in missing.items() if math.isfinite(value)}
    found = []
    for name, value in service_figures(current, requests, shown, config, now).items():
        limit = getattr(config.limits, name)
        cause = f"service:{name}"
        alarm = before.get(cause, Alarm(cause=cause))
        if limit is not None:
            at = int(now.timestamp() * 1e6)
            look = Look(at=at, beyond=value > limit, value=value, threshold=limit, statistic=name)
            alarm, new = decide(
                alarm, [look], SEVERITIES["service"], raise_after=config.raise_after, clear_after=config.clear_after
            )
            alarms.append(alarm)
            alerts += new
        found.append(ServiceFigure(name=name, value=value, limit=limit, alarm=alarm.raised, text=TEXTS[name]))
    return tuple(found)


def _fingerprint(reference: pl.DataFrame, config: MonitorConfig) -> str:
    """Of everything that thresholds depend on."""
    buffer = io.BytesIO()
    columns = [config.time, config.series, *config.data, *config.predictions, *config.residuals, *config.errors]
    kept = [name for name in columns if name] if len(columns) > 2 else reference.columns
    reference.select(list(dict.fromkeys(kept))).write_ipc(buffer)
    without = {"reference", "current", "requests", "state", "limits", "alerts", "estimate"}
    text = f"{VERSION}|{config.model_dump_json(exclude=without)}"
    return hashlib.sha256(buffer.getvalue() + text.encode()).hexdigest()


def _plain(limits: Limits) -> dict[str, Any]:
    windows = limits.windows
    return {
        "thresholds": [[*key, one.value, one.per_year, one.largest] for key, one in windows.thresholds.items()],
        "windows": [windows.stated, windows.in_reference, windows.years, list(windows.notes)],
        "sequential": [[*key, one.threshold, one.per_year] for key, one in limits.sequential.items()],
        "shifts": dict(limits.shifts),
    }


def _from_plain(body: Mapping[str, Any]) -> Limits:
    stated, in_reference, years, notes = body["windows"]
    thresholds = {
        (key, name): Threshold(value=value, per_year=per_year, largest=largest)
        for key, name, value, per_year, largest in body["thresholds"]
    }
    windows = Calibration(
        thresholds=thresholds, stated=stated, in_reference=in_reference, years=years, notes=tuple(notes)
    )
    sequential = {(key, name): Followed(threshold, rate) for key, name, threshold, rate in body["sequential"]}
    return Limits(windows, sequential, body["shifts"])
