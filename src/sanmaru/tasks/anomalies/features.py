"""What every detector looks at, made from rows and what is usual in their series.

Per channel: the value, the difference to the row before, the rest after the median of the hour of day (month), how
long the value has stood still, how long it has been missing; and for the row the step in time. Values, differences
and rests are divided by their robust spread and passed through asinh, so that heavy tails stay in reach; a missing one
is 0, the usual. All look back only, at most `LOOK_BACK` rows.

n rows, D features, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sanmaru.tasks.anomalies.reference import LONGEST, Reference, at_rest, differences_of, runs_of
from sanmaru.tasks.anomalies.series import Floats, Indexes, SeriesRows

PER_CHANNEL = ("value", "difference", "rest", "run", "missing")
TIME_CHANNEL = "time"
"""What stands for the row's step in time among the channels: the last one."""
LOOK_BACK = LONGEST
"""Rows before a row that its features may depend on."""
REPEATED = -3.0
"""The step in time of a row whose time is that of the row before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of rows, in the order of series and time."""

    values: Floats
    """(n, D), finite; 0 is the usual."""
    channels: tuple[str, ...]
    """The watched columns, then `time`."""
    channel: Indexes
    """Place in `channels` of each feature, (D,)."""
    kinds: tuple[str, ...]
    """Of each feature, one of `PER_CHANNEL` or `time`, (D,)."""
    first: Indexes
    """Place of the first row of each row's series, (n,): windows do not reach before it."""

    def __len__(self) -> int:
        return len(self.values)

    def of_kinds(self, kinds: Sequence[str]) -> Indexes:
        """Places of the features of these kinds."""
        return np.array([place for place, kind in enumerate(self.kinds) if kind in kinds], dtype=np.int64)

    def take(self, rows: Indexes) -> Features:
        """Return these rows, each on its own: windows over them would not be those of the series."""
        return replace(self, values=self.values[rows], first=np.arange(len(rows)))

    def windows(self, rows: Indexes, length: int) -> Indexes:
        """Places (n, length) of the rows that end in each row; before a series begins its first row is repeated."""
        back = np.arange(1 - length, 1)
        return np.asarray(np.maximum(rows[:, None] + back, self.first[rows][:, None]))


def make_features(rows: SeriesRows, reference: Reference) -> Features:
    """Make the features of rows whose channels are those of the reference."""
    index = reference.series_index(rows)
    values = rows.values
    there = ~np.isnan(values)
    runs = runs_of(rows)
    rest = at_rest(values, reference.resting[index]).astype(np.int64)
    channels = np.arange(values.shape[1])
    surprise = reference.run_surprise[index[:, None], channels, rest, runs]
    season = reference.season[index, reference.season_bin(rows)]
    made = {
        "value": _scaled(values - reference.center[index], reference.spread[index]),
        "difference": _scaled(differences_of(rows), reference.step_spread[index]),
        "rest": _scaled(values - season, reference.season_spread[index]),
        "run": np.where(there, surprise, 0.0),
        "missing": np.where(there, 0.0, np.log2(1.0 + runs)),
    }
    n_channels = values.shape[1]
    stacked = np.concatenate([made[kind] for kind in PER_CHANNEL] + [_time_step(rows, reference)[:, None]], axis=1)
    return Features(
        values=stacked,
        channels=(*reference.channels, TIME_CHANNEL),
        channel=np.concatenate([np.tile(channels, len(PER_CHANNEL)), [n_channels]]),
        kinds=(*(kind for kind in PER_CHANNEL for _ in channels), TIME_CHANNEL),
        first=rows.first,
    )


def _scaled(values: Floats, spread: Floats) -> Floats:
    return np.asarray(np.arcsinh(np.nan_to_num(values / spread)))


def _time_step(rows: SeriesRows, reference: Reference) -> Floats:
    """0 where a row follows the one before in time, log2 of the step where some are left out, -3 where none passed."""
    steps = rows.steps_s() / reference.every_s
    steps[np.isnan(steps)] = 1.0
    return np.asarray(np.where(steps < 0.01, REPEATED, np.round(np.log2(np.maximum(steps, 0.125)), 3)))
