"""From values on a grid to channels: numbers as they are, categories one by one, and what the clock says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.contract import Column
from sanmaru.tables.every import DAY_US, Every, local_times
from sanmaru.tasks.forecasting.grid import Grid
from sanmaru.tasks.forecasting.windows import Floats, Panel, WindowLayout

MOST_CATEGORIES = 40
"""Different texts of a column that become a channel each."""


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Which columns become which channels of a window."""

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Texts of each column that holds categories, sorted; each becomes a channel of 0 and 1."""
    clock: tuple[str, ...] = ()
    """Of `hour`, `weekday` and `year`: which cycles are shown, as sine and cosine."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the long table that are read."""
        return (*self.targets, *self.past, *self.known, *self.static)

    def layout(self, *, lookback: int, horizon: int, season: int) -> WindowLayout:
        """Return how windows of these channels lie in a row."""
        clock = [f"{name}.{part}" for name in self.clock for part in ("sin", "cos")]
        return WindowLayout(
            targets=self.targets,
            past=tuple(self._names(self.past)),
            known=(*self._names(self.known), *clock),
            static=tuple(self._names(self.static)),
            lookback=lookback,
            horizon=horizon,
            season=season,
        )

    def _names(self, columns: Sequence[str]) -> list[str]:
        return [
            shown
            for name in columns
            for shown in ([f"{name}={label}" for label in self.categories[name]] if name in self.categories else [name])
        ]

    def panel(self, grid: Grid, layout: WindowLayout) -> Panel:
        """Return the series in memory: float32 (n_series, n_steps + horizon, channels), NaN where a value is missing.

        The horizon after the last step holds what the clock says of it.
        """
        n_series, n_steps = grid.present.shape
        longer = n_steps + layout.horizon
        values = np.full((n_series, longer, len(layout.channels)), np.nan, dtype=np.float32)
        place = 0
        for name in (*self.targets, *self.past, *self.known):
            for channel in self._numbers(name, grid.columns[name]):
                values[:, :n_steps, place] = channel
                place += 1
        times = grid.every.time(grid.first + np.arange(longer, dtype=np.int64))
        for cycle in cycles(times, self.clock, grid.every.zone):
            values[:, :, place] = cycle
            place += 1
        static = np.full((n_series, len(layout.static)), np.nan, dtype=np.float32)
        place = 0
        for name in self.static:
            for channel in self._numbers(name, grid.columns[name]):
                static[:, place] = [_last(row) for row in channel]
                place += 1
        return Panel(layout=layout, values=values, static=static)

    def _numbers(self, name: str, values: np.ndarray) -> list[np.ndarray]:
        """The channels of a column, each (n_series, n_steps) of numbers."""
        if name not in self.categories:
            if values.dtype == object:
                raise DataError(f"column {name!r} holds texts, and the model was trained on numbers there.")
            return [values]
        missing = values == None if values.dtype == object else np.isnan(values)  # noqa: E711
        return [np.where(missing, np.nan, values == label).astype(np.float32) for label in self.categories[name]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        lists = {name: list(value) for name, value in asdict(self).items() if name != "categories"}
        return {**lists, "categories": {name: list(labels) for name, labels in self.categories.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Channels:
        """Rebuild from `to_json`."""
        categories = {name: tuple(labels) for name, labels in value["categories"].items()}
        lists = {name: tuple(one) for name, one in value.items() if name != "categories"}
        return cls(**lists, categories=categories)


def choose_channels(
    columns: Sequence[Column], *, targets: Sequence[str], known: Sequence[str], static: Sequence[str], every: Every
) -> tuple[Channels, list[str]]:
    """Give every value column its part: target, known in advance, static, and all others past covariates.

    Returns:
        The channels, and sentences on columns that were left out.

    Raises:
        DataError: when a target does not hold numbers, or a column has two parts.
    """
    kinds = {column.name: column for column in columns}
    for name in targets:
        if name in kinds and kinds[name].kind not in ("number", "integer"):
            raise DataError(f"the target {name!r} holds {kinds[name].kind} values; only numbers can be forecast.")
    for name in kinds:
        parts = [key for key, names in (("target", targets), ("known", known), ("static", static)) if name in names]
        if len(parts) > 1:
            raise DataError(f"column {name!r} is both data.{parts[0]} and data.{parts[1]}. Take it out of one.")
    notes, categories, kept = [], {}, []
    for column in columns:
        if column.kind in ("category", "text"):
            labels = column.categories
            if labels is None or len(labels) > MOST_CATEGORIES:
                many = "very many" if labels is None else str(len(labels))
                notes.append(f"column {column.name!r} holds {many} different texts and was left out")
                continue
            categories[column.name] = tuple(sorted(labels))
        kept.append(column.name)
    roled = {*targets, *known, *static}
    return Channels(
        targets=tuple(targets),
        past=tuple(name for name in kept if name not in roled),
        known=tuple(name for name in known if name in kept),
        static=tuple(name for name in static if name in kept),
        categories=categories,
        clock=clock_of(every),
    ), notes


def clock_of(every: Every) -> tuple[str, ...]:
    """Which cycles mean something for steps of this length."""
    hour = ("hour",) if every.us < DAY_US else ()
    weekday = ("weekday",) if every.us <= DAY_US else ()
    return (*hour, *weekday, "year")


def cycles(times: pl.Series, clock: Sequence[str], zone: str) -> list[Floats]:
    """Return sine and cosine of each cycle at each time, float32 (n,), in local time."""
    if not clock:
        return []
    local = local_times(times, zone)
    of_day = (local.dt.hour().cast(pl.Float64) + local.dt.minute().cast(pl.Float64) / 60).to_numpy()
    turns = {
        "hour": of_day / 24,
        "weekday": (local.dt.weekday().cast(pl.Float64).to_numpy() - 1 + of_day / 24) / 7,
        "year": (local.dt.ordinal_day().cast(pl.Float64).to_numpy() - 1 + of_day / 24) / 365.25,
    }
    return [part(2 * np.pi * turns[name]).astype(np.float32) for name in clock for part in (np.sin, np.cos)]


def _last(values: np.ndarray) -> float:
    known = np.flatnonzero(~np.isnan(values))
    return float(values[known[-1]]) if len(known) else float("nan")
