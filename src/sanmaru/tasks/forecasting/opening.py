"""From a project's long table to a task with its windows and folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.metrics.forecasting import seasonal_scale
from sanmaru.tables.config import DataConfig, SplitConfig
from sanmaru.tables.contract import Quarantine, Violation
from sanmaru.tables.every import DAY_US, Every, find_every, local_times
from sanmaru.tables.long import Long, read_long
from sanmaru.tasks.forecasting.channels import choose_channels
from sanmaru.tasks.forecasting.config import ForecastConfig
from sanmaru.tasks.forecasting.grid import Grid, make_grid
from sanmaru.tasks.forecasting.origins import OriginFolds, Windows, choose_origins, make_windows
from sanmaru.tasks.forecasting.task import Forecasting

KEPT = ("time", "series", "revised", "target", "known", "static", "features", "drop", "missing", "types")
"""What of `data` a model needs to read a long table like the one it learned from."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A task with its series."""

    task: Forecasting
    grid: Grid
    quarantine: Quarantine
    fingerprint: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """The windows of a task, and the folds that judge them."""

    task: Forecasting
    """With the scale of each series and the counts of what was left out."""
    windows: pl.DataFrame
    folds: OriginFolds


def open_series(data: DataConfig, config: ForecastConfig, folder: Path) -> Opened:
    """Read the series of a project and decide what a window is.

    Raises:
        DataError: when the table cannot be read or used.
    """
    if any(not target.plain for target in data.targets):
        raise DataError("classes and bands of data.target are for classification; name the columns to forecast only.")
    return open_long(read_long(data, folder, zone=config.zone), data, config)


def open_long(long: Long, data: DataConfig, config: ForecastConfig) -> Opened:
    """Decide what a window is of series that are read.

    Raises:
        DataError: when they cannot be used.
    """
    if not data.target:
        raise DataError("data.target is not set: name the column (or columns) to forecast.")
    every = every_of(long, config)
    layout_of = sizes(every, config)
    channels, left_out = choose_channels(
        long.columns, targets=data.target_names, known=data.known, static=data.static, every=every
    )
    layout = channels.layout(**layout_of)
    grid, off = make_grid(long.table, every, channels.columns)
    notes = [*long.notes, *left_out]
    facts = {"counts": dict(long.counts), **overview(grid)}
    if off.any():
        facts["counts"] = {**facts["counts"], "off-grid": int(off.sum())}
    task = Forecasting(
        layout,
        quantiles=config.quantiles,
        channels=channels,
        every=every,
        data=DataConfig(train="", **{name: getattr(data, name) for name in KEPT}),
        columns=[column for column in long.columns if column.name in channels.columns],
        panel=channels.panel(grid, layout),
        scales={name: [None] * len(layout.targets) for name in grid.names},
        notes=[*(counted(facts["counts"])), *_gap_notes(facts)],
        facts=facts,
    )
    task.__dict__["grid"] = grid  # what `attach` would read back
    quarantine = long.quarantine + off_grid(long, off, every)
    return Opened(task=task, grid=grid, quarantine=quarantine, fingerprint=long.fingerprint, notes=tuple(notes))


def split_windows(opened: Opened, config: ForecastConfig, split: SplitConfig) -> Split:
    """List the windows, choose the origins that judge, and divide these into folds.

    Raises:
        DataError: when there are too few origins, or nothing to learn from before them.
    """
    task, grid = opened.task, opened.grid
    layout = task.layout
    origins = choose_origins(grid, config, layout.horizon)
    windows = make_windows(task.panel, grid, origins, folds=split.folds, stride=config.stride)
    gap = grid.every.steps(config.origins.gap, "forecast.origins.gap") if config.origins.gap else 0
    folds = OriginFolds(
        fold=windows.fold,
        kind="origins",
        n_folds=split.folds,
        gap=gap,
        window=split.window,
        at=windows.table["at"].to_numpy().astype(np.int64),
        horizon=layout.horizon,
    )
    for k in range(split.folds):
        if not len(folds.train(k)):
            raise DataError(
                f"fold {k} has no window to learn from before its first origin. Lower forecast.lookback, "
                "forecast.origins.gap or forecast.origins.reach."
            )
    past = task.panel.values[:, : int(origins[0]) + 1, : len(layout.targets)]
    scale = seasonal_scale(past, layout.season)
    task.scales = {
        name: [None if np.isnan(value) else float(value) for value in row]
        for name, row in zip(grid.names, scale, strict=True)
    }
    task.facts = {**task.facts, "left_out": dict(windows.left_out), **_span(windows, origins, grid.every.zone)}
    task.notes = (*task.notes, *_left_out_notes(windows, scale))
    return Split(task=task, windows=windows.table, folds=folds)


def every_of(long: Long, config: ForecastConfig) -> Every:
    """Return the steps that the project file names, or that the times show."""
    if config.every == "auto":
        return find_every(long.table["series"], long.table["time"], config.zone)
    return Every.parse(config.every, config.zone).aligned(long.table["time"])


def sizes(every: Every, config: ForecastConfig) -> dict[str, int]:
    """Return lookback, horizon and season in steps."""
    usual = {"us": every.per_day or 1, "d": max(1, 7 // every.count), "mo": max(1, 12 // every.count)}[every.unit]
    season = usual if config.season == "auto" else every.steps(config.season, "forecast.season")
    horizon = season if config.horizon == "auto" else every.steps(config.horizon, "forecast.horizon")
    seasons = 7 if every.us < DAY_US else 4 if every.unit == "d" else 2
    lookback = (
        max(season * seasons, 2) if config.lookback == "auto" else every.steps(config.lookback, "forecast.lookback")
    )
    if lookback < season:
        raise DataError(
            f"forecast.lookback is {lookback} steps, less than the season of {season}: seasonal-naive, which every "
            "model is judged beside, needs a whole season. Raise it, or lower forecast.season."
        )
    return {"lookback": lookback, "horizon": horizon, "season": season}


def off_grid(long: Long, off: np.ndarray, every: Every) -> Quarantine:
    """Return a violation for each row whose time is no step."""
    rows = long.table.filter(pl.Series(off)).select("series", "time")
    positions = long.positions.filter(pl.Series(off))
    return Quarantine(
        tuple(
            Violation(
                row=int(position),
                id=series,
                column="time",
                value=str(time),
                rule="off-grid",
                reason=f"the time is no step of {every.text} as most others are (zone {every.zone})",
            )
            for position, (series, time) in zip(positions, rows.iter_rows(), strict=True)
        )
    )


def overview(grid: Grid) -> dict[str, Any]:
    """Return how many series and steps there are, and how many rows are missing between first and last of a series.

    Times are local ones, as text.
    """
    present = grid.present
    first = present.argmax(axis=1)
    last = present.shape[1] - 1 - present[:, ::-1].argmax(axis=1)
    missing = (last - first + 1) - present.sum(axis=1)
    starts = present[:, 1:] & ~present[:, :-1]
    local = local_times(grid.times(), grid.every.zone)
    return {
        "series": len(grid.names),
        "steps": grid.n_steps,
        "first": str(local[0]),
        "last": str(local[-1]),
        "every": grid.every.text,
        "zone": grid.every.zone,
        "missing_rows": int(missing.sum()),
        "gaps": int(sum(starts[row, first[row] :].sum() for row in range(len(grid.names)))),
    }


def counted(counts: Mapping[str, int]) -> list[str]:
    """Return sentences on what was odd about the rows."""
    said = {
        "identical-rows": "{n} rows equal another of the same series and time and were dropped",
        "revised-rows": "{n} rows were revised by a later one of the same series and time",
        "hour-24": "{n} rows are written with hour 24 and were taken as midnight of the next day",
        "ambiguous-time": "{n} rows lie in an hour that the clocks passed twice; the first of a series is the earlier",
        "nonexistent-time": "{n} rows lie in an hour that the clocks left out, and were set aside",
        "off-grid": "{n} rows lie beside the steps and were set aside",
    }
    return [text.format(n=f"{counts[name]:,}") for name, text in said.items() if counts.get(name)]


def _gap_notes(facts: Mapping[str, Any]) -> list[str]:
    if not facts["missing_rows"]:
        return []
    return [
        f"{facts['missing_rows']:,} steps have no row, in {facts['gaps']:,} gaps; they are left open, not filled in"
    ]


def _left_out_notes(windows: Windows, scale: np.ndarray) -> list[str]:
    found = windows.left_out
    said = []
    if found["missing target values"]:
        share = found["missing target values"] / found["target values"]
        said.append(
            f"{found['missing target values']:,} of {found['target values']:,} target values to score ({share:.1%}) "
            "are missing and left out"
        )
    for name in ("origins without history", "origins without a known target"):
        if found[name]:
            said.append(f"{found[name]:,} {name} are not judged on")
    flat = int(np.isnan(scale).any(axis=1).sum())
    if flat:
        said.append(f"{flat} series have no scale for MASE (no two values one season apart, or all alike)")
    return said


def _span(windows: Windows, origins: np.ndarray, zone: str) -> dict[str, Any]:
    judged = local_times(windows.table.filter(pl.Series(windows.fold >= 0))["origin"], zone)
    return {"origins": len(origins), "first_origin": str(judged.min()), "last_origin": str(judged.max())}
