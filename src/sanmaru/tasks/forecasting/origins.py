"""Which windows there are, which of them judge a model, and what each fold may learn from.

Origins lie on a fixed list of steps, the same for every series, in consecutive blocks at the end: one block per fold.
Fold k learns from every window whose last target step lies at or before its block's first origin, less the gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.every import DAY_US, Every, local_times
from sanmaru.tables.split import Folds
from sanmaru.tasks.forecasting.config import ForecastConfig
from sanmaru.tasks.forecasting.grid import Grid
from sanmaru.tasks.forecasting.windows import Panel

BLOCK_DAYS = 7
"""Origins of so many days are drawn together in the bootstrap: errors of neighbouring days hang together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OriginFolds(Folds):
    """Folds of windows by their origins."""

    at: np.ndarray
    """Step of each window's origin, int64 (n,)."""
    horizon: int

    def train(self, k: int) -> np.ndarray:
        """Return the positions, int64 and ascending, of windows whose targets were all known `gap` before fold k."""
        ends = self.at + self.horizon
        limit = self._first(k) - self.gap
        inside = ends <= limit
        if self.window == "rolling":
            inside &= ends > limit - (self._first(0) - self.gap - int(ends.min()) + 1)
        return np.flatnonzero(inside)

    def _first(self, k: int) -> int:
        return int(self.at[self.fold == k].min())


def restore_folds(rows: pl.DataFrame, fold: np.ndarray, value: Mapping[str, Any], horizon: int) -> OriginFolds:
    """Rebuild the folds of a run from its rows and `Folds.to_json`."""
    return OriginFolds(
        fold=np.asarray(fold, dtype=np.int32),
        kind="origins",
        n_folds=int(value["n_folds"]),
        notes=tuple(value["notes"]),
        gap=int(value["gap"]),
        window=str(value["window"]),
        at=rows["at"].to_numpy().astype(np.int64),
        horizon=horizon,
    )


def choose_origins(grid: Grid, config: ForecastConfig, horizon: int) -> np.ndarray:
    """Return the steps of the grid that are forecast from to judge a model, int64 ascending.

    The last is the last one whose horizon ends within the data.

    Raises:
        DataError: when the data does not reach that far, or `every` is not a whole number of steps.
    """
    every, origins = grid.every, config.origins
    last = grid.n_steps - 1 - horizon
    apart = Every.parse(origins.every)
    steps = np.arange(grid.n_steps, dtype=np.int64)
    if every.unit == "us" and apart.unit == "d" and every.per_day:
        local = local_times(grid.times(), every.zone)
        minute = local.dt.hour().cast(pl.Int64).to_numpy() * 60 + local.dt.minute().cast(pl.Int64).to_numpy()
        if origins.at is None:
            wanted = int((DAY_US - every.count + every.phase % every.count) // 60_000_000)
        else:
            wanted = int(origins.at[:2]) * 60 + int(origins.at[3:])
        on = minute == wanted
        if not on.any():
            at = f"{wanted // 60:02d}:{wanted % 60:02d}"
            raise DataError(
                f"no step of {every.text} lies at {at} {every.zone}. Set forecast.origins.at to one that does."
            )
        days = local.cast(pl.Int64).to_numpy() // DAY_US
        candidates = steps[on & (steps <= last)]
        candidates = (
            candidates[(days[candidates] - days[candidates[-1]]) % apart.count == 0] if len(candidates) else candidates
        )
    else:
        size = every.steps(origins.every, "forecast.origins.every")
        candidates = steps[(steps <= last) & ((steps - last) % size == 0)]
    if isinstance(origins.reach, str):
        begin = grid.n_steps - every.steps(origins.reach, "forecast.origins.reach")
    else:
        begin = round(grid.n_steps * (1 - origins.reach))
    chosen = candidates[candidates >= begin - 1]  # the first step forecast may be the first of the reach
    if not len(chosen):
        raise DataError(
            f"there is no origin in the last {grid.n_steps - begin:,} of {grid.n_steps:,} steps whose {horizon} steps "
            "end within the data. Raise forecast.origins.reach, or bring more data."
        )
    return np.asarray(chosen, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Every window that can be learned from or judged on."""

    table: pl.DataFrame
    """`window`, `series`, `origin`, `series_code`, `at`, `block`, `truth`; by origin, then series."""
    fold: np.ndarray
    """int32 (n,): the block of origins it is judged in; -1 for never."""
    left_out: Mapping[str, int]
    """Origins times series that are not judged on, and target values that are missing in those that are, by reason."""


def make_windows(panel: Panel, grid: Grid, origins: np.ndarray, *, folds: int, stride: int) -> Windows:
    """List the windows of a panel.

    A window needs one known target in its history and one in its horizon, and a whole lookback since its series began.

    Raises:
        DataError: when there are fewer origins than folds, or no window to learn from before the first of them.
    """
    layout = panel.layout
    n_steps = grid.n_steps
    usable, has_history = _usable(panel, grid)
    chosen, origins = origins, origins[usable[:, origins].any(axis=0)]  # summers only: no block of empty winters
    if len(origins) < folds:
        raise DataError(
            f"{len(origins)} origins with a history and a known target cannot make {folds} folds. Lower split.folds, "
            "or let forecast.origins reach further."
        )
    at = np.arange(n_steps, dtype=np.int64)
    judged = np.zeros(n_steps, dtype=bool)
    judged[origins] = True
    block = np.full(n_steps, -1, dtype=np.int32)
    for k, part in enumerate(np.array_split(origins, folds)):
        block[part] = k
    learned = (at - int(origins[0])) % stride == 0
    steps, codes = np.nonzero((usable & (judged | learned)[None, :]).T)
    fold = block[steps]
    if not (steps + layout.horizon <= origins[0]).any():
        raise DataError(
            f"no window ends before the first origin ({grid.times()[int(origins[0])]}): {layout.lookback} steps of "
            f"history and {layout.horizon} of horizon do not fit. Lower forecast.lookback or forecast.origins.reach."
        )
    truth = panel.target(codes[fold >= 0], steps[fold >= 0])
    table = _table(grid, steps, codes)
    checksum = np.full(len(table), None, dtype=object)
    checksum[fold >= 0] = [f"{hash_of(row):016x}" for row in truth]
    table = table.with_columns(pl.Series("truth", checksum.tolist(), dtype=pl.String))
    on, no_history = usable[:, chosen], ~has_history[:, chosen]
    left_out = {
        "windows": int((fold >= 0).sum()),
        "origins without history": int(no_history.sum()),
        "origins without a known target": int((~on & ~no_history).sum()),
        "target values": int(truth.size),
        "missing target values": int(np.isnan(truth).sum()),
    }
    return Windows(table=table, fold=fold.astype(np.int32), left_out=left_out)


def _usable(panel: Panel, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Which steps of each series can be an origin, and which of them have a history, bool (n_series, n_steps)."""
    layout = panel.layout
    n_series, n_steps = grid.present.shape
    known = ~np.isnan(panel.values[:, :n_steps, : len(layout.targets)]).all(axis=2)
    count = np.concatenate([np.zeros((n_series, 1), dtype=np.int64), np.cumsum(known, axis=1)], axis=1)
    at = np.arange(n_steps, dtype=np.int64)
    begin, end = np.maximum(at - layout.lookback + 1, 0), np.minimum(at + layout.horizon + 1, n_steps)
    began = np.where(grid.present.any(axis=1), grid.present.argmax(axis=1), n_steps)
    has_history = (count[:, at + 1] - count[:, begin] > 0) & (at[None, :] >= began[:, None] + layout.lookback - 1)
    has_future = count[:, end] - count[:, at + 1] > 0
    return has_history & has_future, has_history


def _table(grid: Grid, steps: np.ndarray, codes: np.ndarray) -> pl.DataFrame:
    origin = grid.every.time(steps + grid.first).alias("origin")
    names = pl.Series("series", list(grid.names), dtype=pl.String).gather(codes)
    length = max(grid.every.us, 1.0)
    size = max(1, round(BLOCK_DAYS * DAY_US / length))
    return pl.DataFrame(
        [
            window_ids(names, origin),
            names,
            origin,
            pl.Series("series_code", codes, dtype=pl.Int32),
            pl.Series("at", steps, dtype=pl.Int64),
            pl.Series("block", (steps + grid.first) // size, dtype=pl.Int64),
        ]
    )


def window_ids(series: pl.Series, origin: pl.Series) -> pl.Series:
    """Return `series@2013-05-01T00:00Z` of each window."""
    return pl.select((series + "@" + origin.dt.strftime("%Y-%m-%dT%H:%MZ")).alias("window")).to_series()


def hash_of(values: np.ndarray) -> int:
    """Return a number in [0, 2**64) that tells arrays of float32 apart; every NaN is alike."""
    import hashlib

    plain = np.where(np.isnan(values), np.float32("nan"), values).astype("<f4")
    return int.from_bytes(hashlib.blake2b(plain.tobytes(), digest_size=8).digest(), "big")
