"""What models of one step at a time are told of a window: lags, moving means, the same hour of days before, the future.

Two blocks of numbers are made of a window. The first is the same whatever step is forecast: the target's recent values,
their means, spread and change, and the recent values, means and changes of the covariates. The second belongs to one
step: what is known in advance of it (clock, holidays, a weather forecast) and the target at the same place of the
seasons before. Everything follows from the layout, so nothing is learned and nothing needs saving. NaN is a missing
value and stays one; a mean is over what is there.

n windows, L lookback, C channels, B numbers of the first block, S of the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sanmaru.tasks.forecasting.windows import Floats, WindowLayout

SEASONS_BACK = 3
"""How many earlier values at a step's place in the season stand alone; a mean over `SEASONS_MEANT` follows."""
SEASONS_MEANT = 7


@dataclass(frozen=True)
class Features:
    """The two blocks for windows of a layout.

    Args:
        layout: Of the windows.
        dense: Whether every lag of the targets within a season stands, which linear models need, instead of the few
            that trees find enough.
    """

    layout: WindowLayout
    dense: bool = False

    @cached_property
    def base_names(self) -> tuple[str, ...]:
        """Of the first block, (B,)."""
        names: list[str] = []
        for channel in self._channels:
            names += [f"{channel}[-{lag}]" if lag else channel for lag in self._lags(channel)]
            names += [f"mean of {channel} over {steps}" for steps in self._spans(channel)]
            names += [f"change of {channel} over {steps}" for steps in self._changes(channel)]
            if channel in self.layout.targets:
                season = min(self.layout.season, self.layout.lookback)
                names += [f"{what} of {channel} over {season}" for what in ("spread", "least", "most", "missing")]
        return (*names, *self.layout.static)

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """Of the second block, (S,)."""
        names = [f"{channel} then" for channel in self.layout.known]
        for target in self.layout.targets:
            names += [f"{target} {back} seasons before" for back in range(1, SEASONS_BACK + 1)]
            names.append(f"mean of {target} then over {SEASONS_MEANT} seasons")
        return tuple(names)

    def base(self, windows: Floats) -> Floats:
        """Return the first block, float32 (n, B), of windows float32 (n, width)."""
        history = self.layout.history(windows)
        columns: list[NDArray[np.floating]] = []
        for place, channel in enumerate(self.layout.channels):
            if channel not in self._channels:
                continue
            values = history[:, :, place]
            columns += [values[:, -1 - lag] for lag in self._lags(channel)]
            columns += [_mean(values[:, -steps:]) for steps in self._spans(channel)]
            columns += [values[:, -1] - values[:, -1 - steps] for steps in self._changes(channel)]
            if channel in self.layout.targets:
                columns += _spread(values[:, -min(self.layout.season, self.layout.lookback) :])
        block = np.stack(columns, axis=1).astype(np.float32, copy=False)
        return np.concatenate([block, self.layout.statics(windows)], axis=1)

    def step(self, windows: Floats, step: int) -> Floats:
        """Return the second block, float32 (n, S), for `step` in 1 ... horizon."""
        history, future = self.layout.history(windows), self.layout.future(windows)
        season, lookback = self.layout.season, self.layout.lookback
        columns: list[NDArray[np.floating]] = list(future[:, step - 1].T)
        nearest = -(-step // season)  # whole seasons that bring the step back to the origin or before it
        for place in range(len(self.layout.targets)):
            before = np.full((len(windows), SEASONS_MEANT), np.nan, dtype=np.float32)
            for back in range(SEASONS_MEANT):
                at = lookback - 1 + step - (nearest + back) * season
                if at >= 0:
                    before[:, back] = history[:, at, place]
            columns += list(before[:, :SEASONS_BACK].T)
            columns.append(_mean(before))
        if not columns:
            return np.empty((len(windows), 0), dtype=np.float32)
        return np.stack(columns, axis=1).astype(np.float32, copy=False)

    @cached_property
    def _channels(self) -> tuple[str, ...]:
        """Those whose past is told: known ones are the clock, which the step's own block has."""
        return self.layout.targets + self.layout.past

    def _lags(self, channel: str) -> tuple[int, ...]:
        season = self.layout.season
        if channel not in self.layout.targets:
            lags = {0, 1, 2, *_parts(season, 8, 4, 2, 1)}
        elif self.dense:
            lags = set(range(season + 1))
        else:
            lags = {0, 1, 2, 3, 4, 5, *_parts(season, 4, 2, 1), 2 * season}
        return tuple(sorted(lag for lag in lags if lag < self.layout.lookback))

    def _spans(self, channel: str) -> tuple[int, ...]:
        season = self.layout.season
        spans = {*_parts(season, 8, 4, 2, 1)}
        if channel in self.layout.targets:
            spans |= {2 * season, 3 * season, SEASONS_MEANT * season}
        else:
            spans |= {3 * season}
        return tuple(sorted(steps for steps in spans if 1 < steps <= self.layout.lookback))

    def _changes(self, channel: str) -> tuple[int, ...]:
        if self.dense:  # a linear model has them already, in the lags
            return ()
        changes = {1, *_parts(self.layout.season, 8, 4, 1)}
        return tuple(sorted(steps for steps in changes if 0 < steps < self.layout.lookback))


def _parts(season: int, *divisors: int) -> set[int]:
    """An eighth, a quarter ... of a season, in whole steps from 1."""
    return {max(1, season // divisor) for divisor in divisors}


def _mean(values: Floats) -> Floats:
    """Mean over the steps that are there, (n,); NaN where none is."""
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1, dtype=np.float64)
    means = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return np.asarray(means, dtype=np.float32)


def _spread(values: Floats) -> list[Floats]:
    """Standard deviation, least, most and the share of missing steps, each (n,)."""
    there = ~np.isnan(values)
    some = there.any(axis=1)
    mean = _mean(values)
    deviation = np.sqrt(_mean((values - mean[:, None]) ** 2))
    least = np.where(some, np.where(there, values, np.inf).min(axis=1), np.nan)
    most = np.where(some, np.where(there, values, -np.inf).max(axis=1), np.nan)
    return [deviation, least.astype(np.float32), most.astype(np.float32), 1.0 - there.mean(axis=1, dtype=np.float32)]
