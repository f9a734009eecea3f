"""How a window lies in an array, and windows gathered by index from series that are held in memory.

A window is what a forecast is made from: `lookback` steps of every channel up to and with its origin, the channels that
are known in advance for the `horizon` steps after it, and what does not change. It is one row of float32:

    [history: lookback x channels] [future: horizon x known] [static]

Channels stand in the order targets, past covariates, known covariates; clock features (hour of day, day of week, day of
year as sine and cosine) are known covariates. NaN is a missing value: nothing is filled in here, and each estimator
says what it makes of the gaps. Every estimator takes the same rows, so k models encode a window once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class WindowLayout:
    """Where everything lies in a window's row."""

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    """Covariates whose values are known up to the origin only."""
    known: tuple[str, ...] = ()
    """Covariates whose values are known for the horizon, too: clock features, holidays, a weather forecast."""
    static: tuple[str, ...] = ()
    """Numbers that belong to a series, such as its latitude."""
    lookback: int
    """Steps of history, the origin's own included."""
    horizon: int
    """Steps forecast: 1 is the step after the origin."""
    season: int
    """Steps of the season that seasonal-naive repeats and MASE scales by, such as 24 for hours of a day."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the history, in order."""
        return self.targets + self.past + self.known

    @property
    def width(self) -> int:
        """Numbers in a window's row."""
        return self.lookback * len(self.channels) + self.horizon * len(self.known) + len(self.static)

    def history(self, windows: Floats) -> Floats:
        """Return a view (n, lookback, channels) of rows (n, width); its last step is the origin."""
        return windows[:, : self.lookback * len(self.channels)].reshape(len(windows), self.lookback, -1)

    def future(self, windows: Floats) -> Floats:
        """Return a view (n, horizon, known) of rows (n, width); its first step is the one after the origin."""
        begin = self.lookback * len(self.channels)
        return windows[:, begin : begin + self.horizon * len(self.known)].reshape(
            len(windows), self.horizon, len(self.known)
        )

    def statics(self, windows: Floats) -> Floats:
        """Return a view (n, static) of rows (n, width)."""
        return windows[:, self.width - len(self.static) :]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WindowLayout:
        """Rebuild a layout from `to_json`."""
        fields: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
        return cls(**fields)


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Series on a regular grid, in memory: what windows are gathered from by index."""

    layout: WindowLayout
    values: Floats
    """(n_series, n_steps, channels); NaN where a value is missing or a series has not begun."""
    static: Floats
    """(n_series, static)."""

    def gather(self, series: Indexes, at: Indexes) -> Floats:
        """Return windows float32 (n, width).

        Args:
            series: Index of each window's series, (n,).
            at: Step of each window's origin, (n,). Steps before the first one or after the last are NaN.
        """
        layout = self.layout
        n_steps, first_known = self.values.shape[1], len(layout.targets) + len(layout.past)
        out = np.full((len(at), layout.width), np.nan, dtype=np.float32)
        history, future = layout.history(out), layout.future(out)
        for view, offsets, channels in (
            (history, np.arange(1 - layout.lookback, 1), slice(None)),
            (future, np.arange(1, layout.horizon + 1), slice(first_known, None)),
        ):
            steps = np.asarray(at)[:, None] + offsets
            inside = (steps >= 0) & (steps < n_steps)
            found = self.values[np.asarray(series)[:, None], steps.clip(0, n_steps - 1), channels]
            found[~inside] = np.nan
            view[:] = found
        layout.statics(out)[:] = self.static[series]
        return out

    def target(self, series: Indexes, at: Indexes) -> Floats:
        """Return what came after each origin, float32 (n, horizon, targets), NaN where missing or not yet there."""
        n_steps = self.values.shape[1]
        steps = np.asarray(at)[:, None] + np.arange(1, self.layout.horizon + 1)
        inside = (steps >= 0) & (steps < n_steps)
        found = self.values[np.asarray(series)[:, None], steps.clip(0, n_steps - 1), : len(self.layout.targets)]
        found[~inside] = np.nan
        return found
