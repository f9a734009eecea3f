"""Windows out of a frame that comes by itself, and forecasts as the long table that goes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.contract import Quarantine
from sanmaru.tables.long import to_long
from sanmaru.tables.raw import Raw
from sanmaru.tasks.forecasting.grid import Grid, make_grid
from sanmaru.tasks.forecasting.opening import off_grid
from sanmaru.tasks.forecasting.origins import window_ids
from sanmaru.tasks.forecasting.task import Forecasting

Origins = datetime | str | Sequence[datetime | str] | pl.Series | None
"""Moments to forecast from: each series' last observed step where None. Without a zone they are local."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """Windows that travel by themselves."""

    windows: pl.DataFrame
    """`window`, `series`, `origin`, `values`."""
    quarantine: Quarantine
    counts: dict[str, int]


def windows_of(task: Forecasting, frame: pl.DataFrame | Raw, origins: Origins = None) -> Made:
    """Make the windows of a long table at given origins.

    Args:
        task: Whose windows.
        frame: History of each series, at least a lookback of it, and future rows where columns are known in advance.
        origins: Moments to forecast from, for every series.

    Raises:
        DataError: when a column is absent, a history is too short (naming series), an origin is no step, or columns
            that are known in advance are missing after the origin.
    """
    zone = task.every.zone
    long = to_long(frame, task.data, zone=zone, columns=task.columns)
    grid, off = make_grid(long.table, task.every, task.channels.columns)
    panel = task.channels.panel(grid, task.layout)
    known = np.asarray(~np.isnan(panel.values[:, : grid.n_steps, : len(task.layout.targets)]).all(axis=2))
    codes, steps = _places(task, grid, known, origins)
    _check_history(task, grid, known, codes, steps)
    _check_future(task, grid, codes, steps)
    values = panel.gather(codes, steps)
    origin = task.every.time(steps + grid.first).alias("origin")
    names = pl.Series("series", list(grid.names), dtype=pl.String).gather(codes)
    windows = pl.DataFrame(
        [
            window_ids(names, origin),
            names,
            origin,
            pl.Series("values", values, dtype=pl.Array(pl.Float32, task.layout.width)),
        ]
    )
    quarantine = long.quarantine + off_grid(long, off, task.every)
    return Made(windows=windows, quarantine=quarantine, counts=dict(long.counts))


def forecast_table(task: Forecasting, windows: pl.DataFrame, outputs: np.ndarray) -> pl.DataFrame:
    """Return forecasts as a long table, one row per series, origin and step ahead.

    Args:
        task: Whose forecasts.
        windows: `series` and `origin` (Datetime, UTC) of each window.
        outputs: float32 (n, horizon * targets * (1 + quantiles)).

    Returns:
        `series`, `origin`, `horizon` (Int32, from 1), `time`, then per target `t`, `t.q10` and so on (Float64).
    """
    horizon = task.layout.horizon
    values = np.asarray(outputs, dtype=np.float64).reshape(len(windows) * horizon, *task.shape[1:])
    steps, _ = task.every.index(windows["origin"])
    ahead = np.arange(1, horizon + 1, dtype=np.int64)
    keys = windows.select("series", pl.col("origin").dt.cast_time_unit("us"))
    repeated = keys[np.repeat(np.arange(len(windows)), horizon)]
    columns = [
        pl.Series(name, values[:, target, place])
        for target, output in enumerate(task.outputs)
        for place, name in enumerate((output.name, *output.quantile_names))
    ]
    return repeated.with_columns(
        pl.Series("horizon", np.tile(ahead, len(windows)), dtype=pl.Int32),
        task.every.time((steps[:, None] + ahead).ravel()).alias("time"),
        *columns,
    )


def _places(task: Forecasting, grid: Grid, known: np.ndarray, origins: Origins) -> tuple[np.ndarray, np.ndarray]:
    """Series and step of each window."""
    if origins is None:
        empty = [name for name, row in zip(grid.names, known, strict=True) if not row.any()]
        if empty:
            raise DataError(f"series {_listed(empty)} have no value of {', '.join(task.layout.targets)} at all.")
        last = known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
        return np.arange(len(grid.names), dtype=np.int64), last.astype(np.int64)
    times = _moments(origins, task.every.zone)
    steps, on = task.every.index(times)
    if not on.all():
        wrong = times.filter(pl.Series(~on))[0]
        raise DataError(f"the origin {wrong} is no step of {task.every.text} (zone {task.every.zone}) of this model.")
    places = np.unique(steps - grid.first)
    outside = places[(places < 0) | (places >= grid.n_steps)]
    if len(outside):
        wrong = task.every.time(outside + grid.first)[0]
        raise DataError(f"the origin {wrong} lies outside of the table, {grid.times()[0]} to {grid.times()[-1]}.")
    codes = np.tile(np.arange(len(grid.names), dtype=np.int64), len(places))
    return codes, np.repeat(places, len(grid.names))


def _moments(origins: Any, zone: str) -> pl.Series:
    if isinstance(origins, datetime | str):
        origins = [origins]
    out = []
    for one in origins:
        try:
            moment = datetime.fromisoformat(one) if isinstance(one, str) else one
        except ValueError as error:
            raise DataError(f"{one!r} is no time to forecast from. Write 2026-01-31T23:00.") from error
        from zoneinfo import ZoneInfo

        out.append(moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone)))
    return pl.Series("origin", out, dtype=pl.Datetime("us", "UTC"))


def _check_history(task: Forecasting, grid: Grid, known: np.ndarray, codes: np.ndarray, steps: np.ndarray) -> None:
    layout = task.layout
    began = grid.present.argmax(axis=1)[codes]
    have = steps - began + 1
    short = have < layout.lookback
    if short.any():
        first = int(np.flatnonzero(short)[0])
        named = list(dict.fromkeys(grid.names[code] for code in codes[short]))
        raise DataError(
            f"the history of series {_listed(named)} is too short: {max(int(have[first]), 0)} of {layout.lookback} "
            f"steps of {task.every.text} up to {task.every.time(steps[[first]] + grid.first)[0]}. Give "
            f"{layout.lookback} steps."
        )
    begin = np.maximum(steps - layout.lookback + 1, 0)
    count = np.concatenate([np.zeros((len(known), 1), dtype=np.int64), np.cumsum(known, axis=1)], axis=1)
    blank = count[codes, steps + 1] - count[codes, begin] == 0
    if blank.any():
        named = list(dict.fromkeys(grid.names[code] for code in codes[blank]))
        raise DataError(
            f"series {_listed(named)} have no value of {', '.join(layout.targets)} in the {layout.lookback} steps of "
            f"{task.every.text} up to the origin, so there is nothing to forecast from."
        )


def _check_future(task: Forecasting, grid: Grid, codes: np.ndarray, steps: np.ndarray) -> None:
    """Columns known in advance must be there for the horizon: a forecast without them would be another one."""
    if not task.channels.known:
        return
    ahead = steps[:, None] + np.arange(1, task.layout.horizon + 1)
    there = (ahead < grid.n_steps) & grid.present[codes[:, None], ahead.clip(0, grid.n_steps - 1)]
    if not there.any(axis=1).all():
        lacking = list(dict.fromkeys(grid.names[code] for code in codes[~there.any(axis=1)]))
        raise DataError(
            f"series {_listed(lacking)} have no row after the origin, and the model needs "
            f"{', '.join(task.channels.known)} for the {task.layout.horizon} steps of {task.every.text} that it "
            "forecasts. Add rows with these columns and the targets left empty."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
