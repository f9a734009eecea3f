"""The figures of a forecast page as plain JSON: `forecast.json`, from which the page itself is drawn.

`forecast.schema.json` says what is in it. Series lie on a regular grid: `start`, `step_s` and arrays with null where a
value is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from sanmaru.publish.grades import GRADES, SCALES
from sanmaru.publish.state import ForecastState, TargetInfo, Words

FORMAT = 1
MOST_STEPS = 24 * 14
"""Longer tables are cut to their newest steps: a page shows days, not years."""


def make_payload(state: ForecastState) -> dict[str, Any]:
    """Return what `forecast.json` holds."""
    names = [one.id for one in state.series]
    parts: dict[str, dict[str, pl.DataFrame]] = {
        "observed": _by_series(state.observations, names),
        "forecast": _by_series(state.forecast, names),
        "earlier": _by_series(state.earlier, names) if state.earlier is not None else {},
    }
    series: list[dict[str, Any]] = []
    for one in state.series:
        label = one.label or Words(one.id, one.id)
        observed = _observed(parts["observed"].get(one.id), state)
        series.append(
            {
                "id": one.id,
                "label": {"en": label.en, "ko": label.ko},
                "place": list(one.place) if one.place else None,
                "observed": observed,
                "anomalies": _anomalies(parts["observed"].get(one.id)),
                "forecast": _forecast(parts["forecast"].get(one.id), state),
                "earlier": _scored(_forecast(parts["earlier"].get(one.id), state), observed, state),
            }
        )
    last = max((one["observed"]["last"] for one in series if one["observed"]), default=None)
    return {
        "format": FORMAT,
        "title": {"en": state.title.en, "ko": state.title.ko},
        "language": state.language,
        "generated_at": _text(state.generated_at),
        "zone": state.zone,
        "live": state.live,
        "sources": {"en": state.sources.en, "ko": state.sources.ko},
        "freshness": _freshness(last, series, state),
        "model": _model(state),
        "targets": [_target(target) for target in state.targets],
        "grades": [{"name": one.name, "en": one.en, "ko": one.ko, "colour": one.colour} for one in GRADES],
        "series": series,
    }


def _target(target: TargetInfo) -> dict[str, Any]:
    label = target.label or Words(target.name, target.name)
    return {
        "name": target.name,
        "unit": target.unit,
        "label": {"en": label.en, "ko": label.ko},
        "limits": list(SCALES[target.grade]) if target.grade else None,
        "digits": target.digits,
    }


def _model(state: ForecastState) -> dict[str, Any] | None:
    model = state.model
    if model is None:
        return None
    old_at = model.trained_at + model.old_after if model.trained_at else None
    score = model.score
    return {
        "name": model.name,
        "version": model.version,
        "trained_at": _text(model.trained_at) if model.trained_at else None,
        "old_at": _text(old_at) if old_at else None,
        "old": old_at is not None and state.generated_at >= old_at,
        "score": {
            "metric": score.metric,
            "value": _number(score.value),
            "unit": score.unit,
            "baseline": score.baseline,
            "baseline_value": _number(score.baseline_value),
        }
        if score
        else None,
    }


def _freshness(last: str | None, series: Sequence[dict[str, Any]], state: ForecastState) -> dict[str, Any]:
    stale_at = _moment(last) + state.stale_after if last else None
    behind = [one["id"] for one in series if not one["observed"] or one["observed"]["last"] != last]
    return {
        "last": last,
        "stale_at": _text(stale_at) if stale_at else None,
        "stale": stale_at is None or state.generated_at >= stale_at,
        "behind": behind,
    }


def _by_series(table: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.DataFrame]:
    kept = table.filter(pl.col("series").is_in(list(names))).with_columns(_utc(table, "time")).sort("series", "time")
    return {str(key[0]): part for key, part in kept.partition_by("series", as_dict=True).items()}


def _utc(table: pl.DataFrame, column: str) -> pl.Expr:
    kind = table.schema[column]
    zone = kind.time_zone if isinstance(kind, pl.Datetime) else None
    moments = pl.col(column).cast(pl.Datetime("us", zone))
    return moments.dt.convert_time_zone("UTC") if zone else moments.dt.replace_time_zone("UTC")


def _observed(table: pl.DataFrame | None, state: ForecastState) -> dict[str, Any] | None:
    names = [target.name for target in state.targets]
    if table is not None:  # a row without any value says nothing
        table = table.filter(pl.any_horizontal(pl.col(name).is_not_null() & ~pl.col(name).is_nan() for name in names))
    if table is None or table.is_empty():
        return None
    start, values = _grid(table, names, state.every)
    return {
        "start": _text(start),
        "step_s": state.every.total_seconds(),
        "last": _text(table["time"][-1]),
        "values": values,
    }


def _anomalies(table: pl.DataFrame | None) -> list[dict[str, Any]]:
    if table is None or "anomaly" not in table.columns:
        return []
    columns = [name for name in ("time", "anomaly.score", "anomaly.reason") if name in table.columns]
    marked = table.filter(pl.col("anomaly").fill_null(value=False)).select(columns)
    return [
        {"time": _text(row["time"]), "score": _number(row.get("anomaly.score")), "reason": row.get("anomaly.reason")}
        for row in marked.to_dicts()
    ]


def _forecast(table: pl.DataFrame | None, state: ForecastState) -> dict[str, Any] | None:
    if table is None or table.is_empty():
        return None
    # Where several origins meet, the newest one speaks.
    table = table.with_columns(_utc(table, "origin")).sort("time", "origin").unique("time", keep="last").sort("time")
    columns = [
        name
        for target in state.targets
        for name in table.columns
        if name == target.name or name.startswith(f"{target.name}.q")
    ]
    start, values = _grid(table, columns, state.every)
    return {
        "origin": _text(table["origin"].max()),  # type: ignore[arg-type]
        "start": _text(start),
        "step_s": state.every.total_seconds(),
        "values": values,
    }


def _scored(
    earlier: dict[str, Any] | None, observed: dict[str, Any] | None, state: ForecastState
) -> dict[str, Any] | None:
    """Add how far the earlier forecast was off, per target: mean absolute error, hours compared, share in the band."""
    if earlier is None:
        return None
    scores = {}
    for target in state.targets:
        errors, inside = [], []
        for place, point in enumerate(earlier["values"][target.name]):
            came = _at(observed, earlier, place, target.name)
            if point is None or came is None:
                continue
            errors.append(abs(point - came))
            low, high = (earlier["values"].get(f"{target.name}.{end}") for end in ("q10", "q90"))
            if low and high and low[place] is not None and high[place] is not None:
                inside.append(low[place] <= came <= high[place])
        scores[target.name] = {
            "mae": _number(sum(errors) / len(errors)) if errors else None,
            "n": len(errors),
            "inside": _number(sum(inside) / len(inside)) if inside else None,
        }
    return {**earlier, "scores": scores}


def _at(observed: dict[str, Any] | None, earlier: dict[str, Any], place: int, name: str) -> float | None:
    if observed is None:
        return None
    moment = _moment(earlier["start"]) + timedelta(seconds=earlier["step_s"] * place)
    index = (moment - _moment(observed["start"])).total_seconds() / observed["step_s"]
    values: list[float | None] = observed["values"][name]
    return values[round(index)] if 0 <= round(index) < len(values) and abs(index - round(index)) < 1e-6 else None


def _grid(
    table: pl.DataFrame, columns: Sequence[str], every: timedelta
) -> tuple[datetime, dict[str, list[float | None]]]:
    """Lay rows (sorted by time) on a regular grid; of rows of one time the last counts."""
    first, last = table["time"][0], table["time"][-1]
    start = max(first, last - every * (MOST_STEPS - 1))
    n = int((last - start) / every) + 1
    values: dict[str, list[float | None]] = {name: [None] * n for name in columns}
    for row in table.select("time", *columns).iter_rows(named=True):
        place = round((row["time"] - start) / every)
        if 0 <= place < n:
            for name in columns:
                values[name][place] = _number(row[name])
    return start, values


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 3)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
