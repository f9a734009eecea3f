"""LSTMs that forecast: from windows with gaps to numbers and quantiles for every step ahead.

Hochreiter and Schmidhuber, "Long short-term memory", 1997. `direct` gives all steps from the last state at once;
`encoder-decoder` hands that state to a second LSTM, which walks through what is known of each step ahead. It is not fed
its own forecasts, so training and use see the same inputs, and there is no loop over steps outside of the LSTM.

A window comes as it is, with NaN where a value is missing (`tasks.forecasting.windows` says how it lies). Channels are
standardised by training's means and spreads; a missing value of a target stands at the last one known before the
origin, any other at its mean, and a mark says so for the channels that had gaps in training.

B batch, M members, L lookback, H horizon, C channels, T targets, K known channels, S static, W width, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from sanmaru.networks.windows import WindowShape


class Enter(nn.Module):
    """Windows (B, width) to what the networks read, without NaN.

    Args:
        shape: Of the windows.
        mean: Of each channel, then of each static number, (C + S,).
        spread: Standard deviation of each, above 0, (C + S,).
        marked: Channels that get a mark of missing values.
        offset: Whether targets are told as the difference to their last known value.
        by_window: Whether targets are divided by the spread of the window's own history.
    """

    mean: Tensor
    spread: Tensor
    places: Tensor

    def __init__(
        self,
        shape: WindowShape,
        mean: Tensor,
        spread: Tensor,
        marked: Sequence[int],
        *,
        offset: bool,
        by_window: bool,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.marked = list(marked)
        self.offset, self.by_window = offset, by_window
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.register_buffer("places", torch.arange(1, shape.lookback + 1, dtype=torch.float32)[None, :, None])

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return the history (B, L, C + marks), the future (B, H, K), the rest (B, R), and base and scale (B, T).

        A forecast is base + scale · what a network says. The rest are static numbers and each target's last value and
        spread.
        """
        shape = self.shape
        n_channels, n_targets, n_known = shape.channels, shape.targets, shape.known
        history, future, static = torch.split(
            windows, [shape.lookback * n_channels, shape.horizon * n_known, shape.static], dim=1
        )
        history = history.reshape(-1, shape.lookback, n_channels)
        future = future.reshape(-1, shape.horizon, n_known)
        mean, spread = self.mean[:n_channels], self.spread[:n_channels]
        missing = torch.isnan(history)
        targets = history[:, :, :n_targets]
        last = self._last(targets, missing[:, :, :n_targets])
        own = self._own_spread(targets, missing[:, :, :n_targets])
        base = last if self.offset else mean[:n_targets].expand_as(last)
        scale = own if self.by_window else spread[:n_targets].expand_as(last)
        told = torch.where(missing[:, :, :n_targets], last[:, None, :], targets)
        told = (told - base[:, None, :]) / scale[:, None, :]
        others = _filled(history[:, :, n_targets:], mean[n_targets:], spread[n_targets:])
        marks = missing[:, :, self.marked].to(history.dtype)
        first_known = n_channels - n_known
        rest = [
            _filled(static, self.mean[n_channels:], self.spread[n_channels:]),
            (last - mean[:n_targets]) / spread[:n_targets],
            torch.log(own / spread[:n_targets]),
        ]
        return (
            torch.cat([told, others, marks], dim=2),
            _filled(future, mean[first_known:], spread[first_known:]),
            torch.cat(rest, dim=1),
            base,
            scale,
        )

    def _last(self, targets: Tensor, missing: Tensor) -> Tensor:
        """The last known value of each target (B, T); its mean where the window has none."""
        place = torch.where(missing, torch.zeros_like(targets), self.places.expand_as(targets)).amax(dim=1)
        at = (place - 1).clamp_min(0).to(torch.int64)
        found = targets.gather(1, at[:, None, :])[:, 0]
        return torch.where(place > 0, found, self.mean[: self.shape.targets].expand_as(found))

    def _own_spread(self, targets: Tensor, missing: Tensor) -> Tensor:
        """Standard deviation of each target in the window (B, T), at least a twentieth of that in training."""
        known = (~missing).to(targets.dtype)
        there = torch.where(missing, torch.zeros_like(targets), targets)
        n = known.sum(dim=1).clamp_min(1.0)
        mean = there.sum(dim=1) / n
        variance = (known * (there - mean[:, None, :]).square()).sum(dim=1) / n
        return torch.sqrt(variance + (self.spread[: self.shape.targets] / 20) ** 2)


class Member(nn.Module):
    """One LSTM with its head.

    Args:
        shape: Of the windows.
        marks: Marks of missing values that enter beside the channels.
        outputs: Numbers per step: targets times (1 + quantiles).
        mode: `direct` or `encoder-decoder`.
        width: W.
        layers: Of each LSTM.
        dropout: Before the head, in [0, 1).
    """

    ahead: Tensor

    def __init__(
        self,
        shape: WindowShape,
        marks: int,
        outputs: int,
        *,
        mode: Literal["direct", "encoder-decoder"],
        width: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.horizon, self.mode = shape.horizon, mode
        rest = shape.static + 2 * shape.targets
        self.encoder = nn.LSTM(shape.channels + marks, width, layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        if mode == "direct":
            self.inner = nn.Linear(width + shape.horizon * shape.known + rest, 2 * width)
            self.head = nn.Linear(2 * width, shape.horizon * outputs)
        else:
            self.decoder = nn.LSTM(shape.known + rest + 1, width, layers, batch_first=True)
            self.head = nn.Linear(width, outputs)
            self.register_buffer("ahead", torch.arange(1, shape.horizon + 1)[None, :, None] / shape.horizon)
        nn.init.zeros_(self.head.bias)

    def forward(self, history: Tensor, future: Tensor, rest: Tensor) -> Tensor:
        """Return (B, H, T · (1 + Q)), in units of the scale, counted from the base."""
        _, (state, cell) = self.encoder(history)
        if self.mode == "direct":
            entering = torch.cat([state[-1], future.flatten(1), rest], dim=1)
            said: Tensor = self.head(self.dropout(torch.relu(self.inner(self.dropout(entering)))))
            return said.reshape(said.size(0), self.horizon, -1)
        ahead = self.ahead.expand(rest.size(0), -1, -1)  # traced, as len() would not be
        steps = torch.cat([future, rest[:, None, :].expand(-1, self.horizon, -1), ahead], dim=2)
        states, _ = self.decoder(steps, (state, cell))
        out: Tensor = self.head(self.dropout(states))
        return out


class ForecastNetwork(nn.Module):
    """Windows (B, width), NaN where missing, to forecasts (B, M, H · T · (1 + Q)) in the targets' own units.

    Args:
        enter: What the windows become first.
        members: M of them.
        n_quantiles: Q.
    """

    def __init__(self, enter: Enter, members: Sequence[Member], n_quantiles: int) -> None:
        super().__init__()
        self.enter = enter
        self.members = nn.ModuleList(members)
        self.n_quantiles = n_quantiles

    def forward(self, windows: Tensor) -> Tensor:
        """Return what each member forecasts."""
        history, future, rest, base, scale = self.enter(windows)
        said = torch.stack([member(history, future, rest) for member in self.members], dim=1)
        said = said.reshape(*said.shape[:3], self.enter.shape.targets, 1 + self.n_quantiles)
        forecast: Tensor = base[:, None, None, :, None] + scale[:, None, None, :, None] * said
        return forecast.flatten(2)


def _filled(values: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Standardise; what is missing stands at 0."""
    return torch.where(torch.isnan(values), torch.zeros_like(values), (values - mean) / spread)
