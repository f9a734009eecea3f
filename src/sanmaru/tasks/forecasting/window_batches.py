"""Batches of windows for networks, gathered by index from series that lie on the device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanmaru.tasks.forecasting.windows import Floats, Indexes, WindowLayout
from sanmaru.training.batches import divided
from sanmaru.training.watch import Stopwatch

_PLAIN_ROWS = 1024


@dataclass(frozen=True)
class Epoch:
    """The order of one epoch."""

    parts: tuple[Tensor, ...]
    """Window numbers of each batch, int64."""


class WindowBatches:
    """Windows (B, width), NaN where missing, and what came after them (B, horizon · targets), NaN where missing.

    Args:
        layout: Of the windows given out; its lookback may be shorter than the panel's own layout says.
        values: float32 (n_series, n_steps, channels).
        static: float32 (n_series, n_static).
        series: Index of each window's series, (n,).
        at: Step of each window's origin, (n,).
        truth: float32 (n, horizon, targets).
        device: Where all of it is put.
    """

    def __init__(
        self,
        layout: WindowLayout,
        *,
        values: Floats,
        static: Floats,
        series: Indexes,
        at: Indexes,
        truth: Floats,
        device: torch.device,
    ) -> None:
        self.device = device
        self.layout = layout
        # Padded, so that no window reaches beyond an end; one flat list of steps, so that a gather has one index.
        padded = np.pad(values, ((0, 0), (layout.lookback, layout.horizon), (0, 0)), constant_values=np.nan)
        n_steps, first_known = padded.shape[1], len(layout.targets) + len(layout.past)
        self._values = torch.from_numpy(padded.reshape(-1, padded.shape[2])).to(device)
        # Rows of these views are whole windows that lie over each other: a window is one copy of adjacent numbers, in a
        # third to a fifth of the time of an index for each of its steps.
        self._histories = _overlapping(self._values, layout.lookback)
        self._futures = _overlapping(self._values[:, first_known:].contiguous(), layout.horizon)
        self._static = torch.from_numpy(np.ascontiguousarray(static)).to(device)
        self._series = torch.from_numpy(series).to(device)
        self._origins = torch.from_numpy(series * n_steps + at + layout.lookback).to(device)
        self.labels = torch.from_numpy(np.ascontiguousarray(truth.reshape(len(truth), -1))).to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def windows(self, index: Tensor) -> Tensor:
        """Return the windows of these numbers, float32 (B, width)."""
        origins = self._origins[index]
        parts = [self._histories.index_select(0, origins - (self.layout.lookback - 1))]
        if self._futures.shape[1]:
            parts.append(self._futures.index_select(0, origins + 1))
        if self._static.shape[1]:
            parts.append(self._static[self._series[index]])
        return torch.cat(parts, dim=1)

    def shuffled(self, batch_size: int, generator: torch.Generator, pieces: int = 1) -> Any:
        """Draw the order of one epoch."""
        order = torch.randperm(len(self), generator=generator).to(self.device)
        return Epoch(divided(order, batch_size, pieces))

    def take(self, epoch: Any, part: int, watch: Stopwatch | None = None) -> tuple[Tensor, Tensor]:
        """Return one batch."""
        index = epoch.parts[part]
        batch = self.windows(index), self.labels[index]
        if watch is not None:
            watch.split("gather")
        return batch

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield everything in order."""
        for index in torch.split(torch.arange(len(self), device=self.device), _PLAIN_ROWS):
            yield self.windows(index), self.labels[index]

    def statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]:
        """Return mean and spread of each channel and static number, (C + S,), and the channels with gaps.

        Of the steps from the first to the last that the windows show, those of each series alone.
        """
        # +1 where a window begins and -1 after its end: steps with a positive sum so far are shown by some window.
        origins = self._origins.cpu().numpy()
        n_steps = len(self._values) + 1
        begins = np.bincount(origins - self.layout.lookback + 1, minlength=n_steps)
        seen = (begins - np.bincount(origins + 1, minlength=n_steps)).cumsum()[:-1] > 0
        shown = self._values.cpu().numpy()[seen].astype(np.float64)
        static = self._static[torch.unique(self._series)].cpu().numpy().astype(np.float64)
        gaps = [place for place in range(shown.shape[1]) if np.isnan(shown[:, place]).any()]
        means, spreads = [], []
        for column in (*shown.T, *static.T):
            known = column[~np.isnan(column)]
            means.append(known.mean() if len(known) else 0.0)
            spread = known.std() if len(known) else 0.0
            spreads.append(spread if spread > 1e-6 * max(1.0, abs(means[-1])) else 1.0)
        return np.array(means, np.float32), np.array(spreads, np.float32), gaps

    def fingerprint(self) -> str:
        """A hash of all windows and what came after: a checkpoint of other data is not continued."""
        found = hashlib.sha256(repr(self.layout.to_json()).encode())
        for part in (self._values, self._static, self._origins, self.labels):
            found.update(part.cpu().numpy().tobytes())
        return found.hexdigest()[:16]


def _overlapping(values: Tensor, steps: int) -> Tensor:
    """View (n, channels) as every run of so many steps, (n - steps + 1, steps · channels), without a copy."""
    n_channels = values.shape[1]
    return values.as_strided((len(values) - steps + 1, steps * n_channels), (n_channels, 1))
