"""What is usual in each series, learned once from past rows: medians, spreads, and how long values stay the same.

Index 0 stands for all series together; it serves series that training did not know, or knew too little of.

S series + 1, C channels, B bins of the season (24 hours, or 12 months for tables of days).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sanmaru.errors import DataError
from sanmaru.tasks.anomalies.series import DAY_S, Floats, Indexes, SeriesRows

LONGEST = 72
"""Rows up to which runs of equal or missing values are counted."""
_FEWEST = 60
"""Rows of a series below which what is usual is taken from all series."""
_PER_BIN = 5
_RESTING = 0.25
"""Fraction of its rows from which a value counts as resting: no rain, no sun, the cap of a sensor."""
_MOST_RESTING = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Learned by `learn_reference`."""

    channels: tuple[str, ...]
    names: tuple[str, ...]
    """Series; the one at place i has index i + 1 in the arrays."""
    zone: str
    counters: tuple[str, ...]
    every_s: float
    """Seconds between rows, the median."""
    bins: int
    center: Floats
    """Median of the values, (S, C)."""
    spread: Floats
    """Robust standard deviation of the values, (S, C)."""
    step_spread: Floats
    """Of the differences between rows, (S, C)."""
    season: Floats
    """Median of the values per bin, (S, B, C)."""
    season_spread: Floats
    """Of what remains, (S, C)."""
    resting: Floats
    """Values that a channel rests at, NaN where there are fewer, (S, C, 3)."""
    run_surprise: Floats
    """-log10 of the fraction of rows whose value has stood for at least r rows, for values not at rest and at rest,
    (S, C, 2, LONGEST + 1); index r."""

    def series_index(self, rows: SeriesRows) -> Indexes:
        """Index into the arrays of each row's series, (n,)."""
        known = {name: place + 1 for place, name in enumerate(self.names)}
        lookup = np.array([known.get(name, 0) for name in rows.names], dtype=np.int64)
        return lookup[rows.code]

    def season_bin(self, rows: SeriesRows) -> Indexes:
        """Bin of the season of each row, (n,)."""
        return rows.local_hour if self.bins == 24 else rows.local_month

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the arrays to `reference.npz` and return the plain values."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "Floats"}
        with (folder / "reference.npz").open("wb") as handle:
            np.savez_compressed(handle, **arrays)
        return {f.name: getattr(self, f.name) for f in fields(self) if f.type != "Floats"}

    @classmethod
    def load(cls, folder: Path, plain: dict[str, Any]) -> Reference:
        """Rebuild from `save`."""
        with np.load(folder / "reference.npz", allow_pickle=False) as arrays:
            values = {**{name: tuple(v) if isinstance(v, list) else v for name, v in plain.items()}, **arrays}
        return cls(**values)


def learn_reference(rows: SeriesRows, learn: Indexes, *, zone: str, counters: tuple[str, ...] = ()) -> Reference:
    """Learn what is usual from the rows at the places `learn`.

    Raises:
        DataError: when there are too few rows.
    """
    if len(learn) < _FEWEST:
        raise DataError(f"{len(learn)} rows are too few to tell what is usual: at least {_FEWEST} are needed.")
    steps = rows.steps_s()
    steps = steps[np.isfinite(steps) & (steps > 0)]
    every_s = float(np.median(steps)) if len(steps) else DAY_S
    bins = 24 if every_s <= DAY_S / 2 else 12
    bin_of = rows.local_hour if bins == 24 else rows.local_month
    differences, runs = differences_of(rows), runs_of(rows)
    learned = [_one(rows.values[learn], differences[learn], runs[learn], bin_of[learn], bins)]
    for code in range(len(rows.names)):
        own = learn[rows.code[learn] == code]
        if len(own) < _FEWEST:
            learned.append(learned[0])
        else:
            learned.append(_one(rows.values[own], differences[own], runs[own], bin_of[own], bins))
    return Reference(
        channels=rows.channels,
        names=rows.names,
        zone=zone,
        counters=counters,
        every_s=every_s,
        bins=bins,
        **{name: np.stack([one[name] for one in learned]) for name in learned[0]},
    )


def differences_of(rows: SeriesRows) -> Floats:
    """Value minus the value of the row before in the same series, (n, C); NaN where either is missing."""
    differences = np.diff(rows.values, axis=0, prepend=np.full((1, rows.values.shape[1]), np.nan))
    differences[rows.first == np.arange(len(rows))] = np.nan
    return np.asarray(differences)


def runs_of(rows: SeriesRows) -> Indexes:
    """How many rows in a row, this one included, have this very value (or none), at most LONGEST, (n, C)."""
    n = len(rows)
    same = np.zeros(rows.values.shape, dtype=bool)
    before, now = rows.values[:-1], rows.values[1:]
    same[1:] = (before == now) | (np.isnan(before) & np.isnan(now))
    same[rows.first == np.arange(n)] = False
    place = np.arange(n)[:, None]
    began = np.maximum.accumulate(np.where(same, 0, place), axis=0)
    return np.asarray(np.minimum(place - began + 1, LONGEST), dtype=np.int64)


def at_rest(values: Floats, resting: Floats) -> Any:
    """Whether values (n, C) are among the values at rest (n, C, 3)."""
    return (values[:, :, None] == resting).any(axis=2)


def _one(values: Floats, differences: Floats, runs: Indexes, bin_own: Indexes, bins: int) -> dict[str, Floats]:
    n_channels = values.shape[1]
    center = _median(values)
    season = np.tile(center, (bins, 1))
    for one in range(bins):
        inside = values[bin_own == one]
        enough = (~np.isnan(inside)).sum(axis=0) >= _PER_BIN
        season[one, enough] = _median(inside[:, enough])
    resting = np.full((n_channels, _MOST_RESTING), np.nan)
    for channel in range(n_channels):
        found, counts = np.unique(values[~np.isnan(values[:, channel]), channel], return_counts=True)
        often = found[counts > _RESTING * max(1, counts.sum())]
        resting[channel, : len(often)] = often[:_MOST_RESTING]
    resting_now = at_rest(values, np.broadcast_to(resting, (len(values), *resting.shape)))
    surprise = np.zeros((n_channels, 2, LONGEST + 1))
    for channel in range(n_channels):
        there = ~np.isnan(values[:, channel])
        for rest in (0, 1):
            lengths = runs[there & (resting_now[:, channel] == bool(rest)), channel]
            surprise[channel, rest] = _run_surprise(lengths)
    return {
        "center": center,
        "spread": robust_spread(values - center),
        "step_spread": robust_spread(differences),
        "season": season,
        "season_spread": robust_spread(values - season[bin_own]),
        "resting": resting,
        "run_surprise": surprise,
    }


def _run_surprise(lengths: Indexes) -> Floats:
    n = len(lengths)
    at_least = np.cumsum(np.bincount(lengths, minlength=LONGEST + 1)[::-1])[::-1]
    surprise = np.log10(n + 1) - np.log10(at_least + 1.0)
    longest = int(lengths.max()) if n else 1
    # Longer than ever seen: the count says no more, the length does.
    beyond = np.maximum(0, np.arange(LONGEST + 1) - longest) / longest
    return np.asarray(surprise + beyond)


def _median(values: Floats) -> Floats:
    out = np.zeros(values.shape[1])
    for channel in range(values.shape[1]):
        there = values[~np.isnan(values[:, channel]), channel]
        out[channel] = np.median(there) if len(there) else 0.0
    return out


def robust_spread(values: Floats) -> Floats:
    """Interquartile range / 1.349 per column (n, C) -> (C,), the standard deviation where it is 0, else 1."""
    out = np.ones(values.shape[1])
    for channel in range(values.shape[1]):
        there = values[~np.isnan(values[:, channel]), channel]
        if len(there) > 1:
            low, high = np.quantile(there, [0.25, 0.75])
            out[channel] = (high - low) / 1.349 or there.std() or 1.0
    return out
