"""Series on one regular grid of steps, with their values as they are: numbers and categories, gaps left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import whole
from sanmaru.tables.every import Every
from sanmaru.tables.long import SERIES, TIME

MOST_STEPS = 20_000_000
"""Steps times series of a grid; more is a sign of a wrong time or a wrong `forecast.every`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Values of every series at every step from the first to the last time of all."""

    every: Every
    first: int
    """Step of the first column, as `every.index` counts."""
    names: tuple[str, ...]
    """Series, in order."""
    present: np.ndarray
    """bool (n_series, n_steps): whether there is a row."""
    columns: Mapping[str, np.ndarray]
    """float64 (n_series, n_steps) with NaN, or object with None where a column holds categories."""

    @property
    def n_steps(self) -> int:
        """Steps from the first to the last time."""
        return int(self.present.shape[1])

    def times(self) -> pl.Series:
        """The moment of each step, Datetime[us, UTC] (n_steps,)."""
        return self.every.time(self.first + np.arange(self.n_steps, dtype=np.int64))

    def write(self, path: Path) -> None:
        """Keep the rows that are there as a long table; `read_grid` makes the same grid of it."""
        series, steps = np.nonzero(self.present)
        table = pl.DataFrame(
            [
                pl.Series(SERIES, np.array(self.names, dtype=object)[series], dtype=pl.String),
                pl.Series("step", steps + self.first, dtype=pl.Int64),
                self.every.time(steps + self.first).alias(TIME),
                *(_series(name, values[series, steps]) for name, values in self.columns.items()),
            ]
        )
        with whole(path) as beside:
            table.write_parquet(beside)


def read_grid(path: Path, every: Every, columns: Sequence[str], names: Sequence[str]) -> Grid:
    """Read what `Grid.write` wrote."""
    table = pl.read_parquet(path)
    return _fill(table, table["step"].to_numpy().astype(np.int64), every, columns, names)


def make_grid(table: pl.DataFrame, every: Every, columns: Sequence[str]) -> tuple[Grid, np.ndarray]:
    """Put a long table on the grid.

    Args:
        table: With `series`, `time` and `columns`, one row per series and time.
        every: The steps.
        columns: Value columns to take; those that the table lacks are missing throughout.

    Returns:
        The grid, and bool (n_rows,) which rows lie beside it and were left out.

    Raises:
        DataError: when no row lies on the grid, or the times lie absurdly far apart.
    """
    steps, on = every.index(table[TIME])
    if not on.any():
        raise DataError(
            f"none of the {len(table):,} times is a step of {every.text} (zone {every.zone}). Check forecast.every."
        )
    kept = table.filter(pl.Series(on))
    names = kept[SERIES].unique().sort().to_list()
    return _fill(kept, steps[on], every, columns, names), ~on


def _fill(table: pl.DataFrame, steps: np.ndarray, every: Every, columns: Sequence[str], names: Sequence[str]) -> Grid:
    first, last = int(steps.min()), int(steps.max())
    shape = (len(names), last - first + 1)
    if shape[0] * shape[1] > MOST_STEPS:
        raise DataError(
            f"{shape[0]:,} series over {shape[1]:,} steps of {every.text}, from {table[TIME].min()!s} to "
            f"{table[TIME].max()!s}, are more than {MOST_STEPS:,} values. Is a time wrong, or forecast.every too small?"
        )
    codes = table[SERIES].replace_strict(list(names), list(range(len(names))), return_dtype=pl.Int64).to_numpy()
    places = (codes, steps - first)
    present = np.zeros(shape, dtype=bool)
    present[places] = True
    filled: dict[str, np.ndarray] = {}
    for name in columns:
        text = name in table.columns and table[name].dtype == pl.String
        values: np.ndarray = np.full(shape, None, dtype=object) if text else np.full(shape, np.nan)
        if name in table.columns:
            cells = table[name]
            values[places] = cells.to_list() if text else cells.cast(pl.Float64).fill_null(np.nan).to_numpy()
        filled[name] = values
    return Grid(every=every, first=first, names=tuple(names), present=present, columns=filled)


def _series(name: str, values: np.ndarray) -> pl.Series:
    if values.dtype == object:
        return pl.Series(name, values.tolist(), dtype=pl.String)
    return pl.Series(name, values, dtype=pl.Float64).fill_nan(None)
