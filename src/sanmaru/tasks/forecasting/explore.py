"""What the data report shows of series: their range, what is missing when, and their seasons."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Block, Finding, Grid, Heatmap, Lines, Section, Tiles
from sanmaru.html.numbers import percent
from sanmaru.tables.every import local_times

if TYPE_CHECKING:
    from sanmaru.tasks.forecasting.grid import Grid as Series
    from sanmaru.tasks.forecasting.task import Forecasting

MOST_SERIES = 40
"""Rows of tables and maps over series; those with most missing come first."""
MOST_PARTS = 24
"""Stretches of time that the map of missing values is cut into."""
STRONG = 0.3
"""Autocorrelation at the season from which the season is said to show."""
VERY_STRONG = 0.7


def explore(task: Forecasting) -> Iterator[Section]:
    """Show the series of a task."""
    grid = task.grid
    yield series_section(task, grid)
    yield missing_section(task, grid)
    yield season_section(task, grid)


def series_section(task: Forecasting, grid: Series) -> Section:
    """Show how many series there are, over which time, and what each target looks like in each."""
    facts = task.facts
    tiles = [
        ("Series", f"{facts['series']:,}", ", ".join(grid.names[:3]) + (" ..." if len(grid.names) > 3 else "")),
        ("Steps", f"{facts['steps']:,}", f"of {facts['every']}, days of {facts['zone']}"),
        ("From", facts["first"][:10], facts["first"][11:16]),
        ("To", facts["last"][:10], facts["last"][11:16]),
        ("Steps without a row", f"{facts['missing_rows']:,}", f"in {facts['gaps']:,} gaps"),
    ]
    rows = []
    order = np.argsort(-_missing_share(task, grid), kind="stable")[:MOST_SERIES]
    for code in order:
        there = np.flatnonzero(grid.present[code])
        times = local_times(grid.every.time(grid.first + there[[0, -1]]), grid.every.zone)
        for name in task.layout.targets:
            values = grid.columns[name][code]
            known = values[~np.isnan(values)]
            figures = [float(f(known)) for f in (np.mean, np.min, np.median, np.max)] if len(known) else [None] * 4
            span = int(there[-1] - there[0] + 1)
            missing = percent(1 - len(known) / span)
            rows.append([grid.names[code], name, str(times[0])[:10], str(times[1])[:10], span, missing, *figures])
    columns = ["series", "target", "from", "to", "steps", "missing", "mean", "least", "median", "most"]
    caption = f"The {MOST_SERIES} series with most missing" if len(grid.names) > MOST_SERIES else ""
    findings = [
        Finding(
            title=note[:1].upper() + note[1:],
            severity="info",
            evidence="Counted while the table was read; nothing was filled in.",
            advice="Nothing needs to be done. The quarantine of a run lists rows that were set aside.",
            kind="series-note",
        )
        for note in task.notes[:6]
    ]
    return Section(
        title="The series",
        lead=f"{len(task.layout.targets)} target{'s' if len(task.layout.targets) > 1 else ''} to forecast "
        f"{task.layout.horizon} steps ahead from {task.layout.lookback} steps of history.",
        blocks=[Tiles(tiles=tiles), Grid(columns=columns, rows=rows, caption=caption)],
        findings=findings,
    )


def missing_section(task: Forecasting, grid: Series) -> Section:
    """Show when values are missing: columns, or series, over time."""
    columns = [name for name in task.channels.columns if name not in task.channels.static]
    edges = np.linspace(0, grid.n_steps, min(MOST_PARTS, grid.n_steps) + 1).round().astype(int)
    begins = grid.every.time(grid.first + edges[:-1].astype(np.int64))
    labels = [str(time)[:10] for time in local_times(begins, grid.every.zone)]
    of_columns = [_shares(_missing(grid.columns[name]), edges).mean(axis=0) for name in columns]
    maps: list[Block] = [
        Heatmap(
            title="Missing values of each column over time, per cent of the steps",
            row_label="column",
            column_label="from",
            rows=columns,
            columns=labels,
            values=[[round(100 * float(value), 1) for value in row] for row in of_columns],
            per_row=False,
        )
    ]
    if len(grid.names) > 1:
        of_series = np.mean([_shares(_missing(grid.columns[name]), edges) for name in task.layout.targets], axis=0)
        order = np.argsort(-of_series.mean(axis=1), kind="stable")[:MOST_SERIES]
        maps.append(
            Heatmap(
                title="Missing targets of each series over time, per cent of the steps",
                row_label="series",
                column_label="from",
                rows=[grid.names[code] for code in order],
                columns=labels,
                values=[[round(100 * float(value), 1) for value in of_series[code]] for code in order],
                per_row=False,
            )
        )
    share = float(np.mean([_missing(grid.columns[name]).mean() for name in task.layout.targets]))
    lead = f"Of the targets {percent(share)} of all steps are missing, steps without a row included."
    return Section(title="Missing values", lead=lead, blocks=maps)


def season_section(task: Forecasting, grid: Series) -> Section:
    """Show how values hang together over time, and what they are like by hour, weekday and month."""
    season = task.layout.season
    lags = np.unique(np.concatenate([np.arange(1, min(3 * season, 200) + 1), [season]]))
    lags = lags[lags < grid.n_steps]
    curves, findings = [], []
    for name in task.layout.targets:
        values = grid.columns[name]
        found = [autocorrelation(values, int(lag)) for lag in lags]
        curves.append((name, [float(lag) for lag in lags], found))
        at_season = autocorrelation(values, season) if season < grid.n_steps else float("nan")
        at_one = autocorrelation(values, 1)
        shows = at_season >= STRONG
        findings.append(
            Finding(
                title=f"{name} {'repeats' if shows else 'hardly repeats'} after {season} steps",
                severity="info",
                evidence=f"Its autocorrelation at {season} steps of {grid.every.text} is {at_season:.2f}, at one step "
                f"{at_one:.2f}.",
                advice="Seasonal-naive will be hard to beat."
                if at_season >= VERY_STRONG
                else "The last value tells more than the season: persistence will be hard to beat at few steps ahead.",
                kind="season",
            )
        )
    blocks: list[Block] = [
        Lines(title="Autocorrelation", x_label=f"steps of {grid.every.text}", y_label="correlation", series=curves)
    ]
    local = local_times(grid.times(), grid.every.zone)
    parts = {"hour of the day": local.dt.hour(), "weekday (1 is Monday)": local.dt.weekday(), "month": local.dt.month()}
    skipped = () if "hour" in task.channels.clock else ("hour of the day",)
    for label, part in parts.items():
        if label in skipped or part.n_unique() < 2:
            continue
        blocks.append(_profile(task, grid, label, part))
    return Section(title="Seasons", blocks=blocks, findings=findings)


def autocorrelation(values: np.ndarray, lag: int) -> float:
    """Return the mean over series of the correlation of values `lag` steps apart, over pairs that are both known.

    Args:
        values: float64 (n_series, n_steps) with NaN.
        lag: At least 1.

    Returns:
        In [-1, 1]; NaN where no series has three pairs that differ.
    """
    found = []
    for row in values:
        a, b = row[:-lag], row[lag:]
        both = ~(np.isnan(a) | np.isnan(b))
        if both.sum() > 2 and a[both].std() > 0 and b[both].std() > 0:
            found.append(float(np.corrcoef(a[both], b[both])[0, 1]))
    return float(np.mean(found)) if found else float("nan")


def _profile(task: Forecasting, grid: Series, label: str, part: pl.Series) -> Lines:
    places = part.to_numpy()
    x = np.unique(places)
    series = []
    for name in task.layout.targets:
        values = grid.columns[name]
        y = [_mean(values[:, places == place]) for place in x]
        series.append((name, [float(place) for place in x], y))
    return Lines(title=f"Mean by {label}", x_label=f"{label}, {grid.every.zone}", y_label="mean", series=series)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _missing(values: np.ndarray) -> np.ndarray:
    return np.asarray(values == None if values.dtype == object else np.isnan(values))  # noqa: E711


def _missing_share(task: Forecasting, grid: Series) -> np.ndarray:
    return np.asarray(np.mean([_missing(grid.columns[name]).mean(axis=1) for name in task.layout.targets], axis=0))


def _shares(missing: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of steps missing between edges, (n_series, n_parts)."""
    return np.stack([missing[:, a:b].mean(axis=1) for a, b in pairwise(edges)], axis=1)
