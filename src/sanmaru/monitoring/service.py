"""Figures of the service: latency, errors, freshness of data, age of the model, where the log has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sanmaru.monitoring.config import MonitorConfig, hours

if TYPE_CHECKING:
    import polars as pl

TEXTS = {
    "latency_ms": "of 95 in 100 requests, ms",
    "error_fraction": "requests answered with an error, fraction",
    "freshness_h": "since the newest row, hours",
    "model_age_d": "since the newest version's first row, days",
    "missing_fraction": "of the column that misses most in its newest window, fraction",
}


def service_figures(
    current: pl.DataFrame,
    requests: pl.DataFrame | None,
    missing: Mapping[str, float],
    config: MonitorConfig,
    now: datetime,
) -> dict[str, float]:
    """Return the figures that can be told, by name as in `monitor.limits`.

    Args:
        current: The watched table, times in UTC; its column `version` tells the model's age.
        requests: Log of requests, times in UTC, with `latency_ms`, `status` (HTTP) or `version`; of the newest window.
        missing: Column -> share of missing values in its newest window.
        config: Of the monitor.
        now: The present, with a time zone.
    """
    import polars as pl

    found: dict[str, float] = {}
    if requests is not None and len(requests):
        recent = requests.filter(pl.col(config.time) > now - timedelta(hours=hours(config.window)))
        if "latency_ms" in recent.columns and recent["latency_ms"].count():
            found["latency_ms"] = float(recent["latency_ms"].cast(pl.Float64).quantile(0.95, "linear") or 0.0)
        if "status" in recent.columns and recent["status"].count():
            status = recent["status"].drop_nulls().cast(pl.Int64)
            found["error_fraction"] = int((status >= 500).sum()) / len(status)
    newest = current[config.time].max()
    if isinstance(newest, datetime):
        found["freshness_h"] = (now - newest).total_seconds() / 3600
    for table in (current, requests):
        if table is not None and "version" in table.columns:
            known = table.filter(pl.col("version").is_not_null()).sort(config.time)
            if len(known):
                first = known.filter(pl.col("version") == known["version"][-1])[config.time].min()
                assert isinstance(first, datetime)
                found["model_age_d"] = (now - first).total_seconds() / 86400
                break
    if missing:
        found["missing_fraction"] = max(missing.values())
    return found
