"""The honest fraction: what share of a fit's time is the training step itself, measured while it trains.

Now and then a step of the real loop is timed together with the same step on a copy of the network and a constant
batch that lies ready: bare forward, backward and update. Both run within the same second on the same machine, so
that whatever else the machine does slows both; the fraction is the median of the pairs' ratios, which one
interrupted step does not move.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sanmaru.training.mix import Labels, Mixed

BUDGET = 0.03
"""Share of the fit's time that bare steps may take."""
SMALLEST = 3
"""Pairs measured in any case, so that a short fit has a number too; 1 in a fit of fewer than `SHORT` steps."""
SHORT = 100
WARM_UP = 2
"""Steps that are not measured: the first ones prepare kernels and memory."""


class Stopwatch:
    """Seconds by name, summed; `split` books the time since the last call."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._last = 0.0

    def start(self) -> None:
        """Begin a lap."""
        self._last = self._now()

    def split(self, name: str) -> None:
        """Book the time since the last split under `name`."""
        now = self._now()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class HonestFraction:
    """Measures bare steps beside real ones, without touching the training or its random numbers.

    Args:
        network: The network being trained; copied when the first bare step is due.
        optimizer: Makes an optimiser for a network's parameters.
        step: Runs forward, backward and update on (network, optimiser, inputs, labels).
        device: Where the training runs.
        total_steps: Of the whole fit, as planned.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        step: Callable[[nn.Module, torch.optim.Optimizer, Tensor, Labels], Any],
        device: torch.device,
        total_steps: int,
    ) -> None:
        self._smallest = SMALLEST if total_steps >= SHORT else 1
        self._network = network
        self._make = optimizer
        self._step = step
        self._device = device
        self._copy: tuple[nn.Module, torch.optim.Optimizer, Tensor, Labels] | None = None
        self._started = time.perf_counter()
        self.spent_s = 0.0
        self._seen = 0
        self._real_s: list[float] = []
        self._bare_s: list[float] = []
        self.parts: dict[str, float] = {}
        self._plan_s = 0.0

    def planned(self, seconds_per_step: float) -> None:
        """Tell what drawing the order and the augmentations of an epoch took, per step; real steps bear it."""
        self._plan_s = seconds_per_step

    def due(self) -> Stopwatch | None:
        """Return a running stopwatch when the coming step should be measured, else None."""
        self._seen += 1
        if self._seen <= WARM_UP:
            return None
        if self.pairs >= self._smallest and self.spent_s > BUDGET * (time.perf_counter() - self._started):
            return None
        watch = Stopwatch(self._device)
        watch.start()
        return watch

    def measured(self, watch: Stopwatch, inputs: Tensor, labels: Labels) -> None:
        """Book a real step that has just ended, and run its bare twin.

        Args:
            watch: What `due` returned, with the parts of the real step split off.
            inputs: The real step's batch, for its shape.
            labels: The real step's labels.
        """
        began = time.perf_counter()
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            if self._copy is None or self._copy[2].shape != inputs.shape:
                self._prepare(inputs, labels)
            assert self._copy is not None
            bare = Stopwatch(self._device)
            bare.start()
            self._step(*self._copy)
            bare.split("bare")
        watch.seconds["plan"] = self._plan_s
        real = sum(watch.seconds.values())
        self._real_s.append(real)
        self._bare_s.append(bare.seconds["bare"])
        for name, seconds in watch.seconds.items():
            self.parts[name] = self.parts.get(name, 0.0) + seconds
        self.spent_s += time.perf_counter() - began

    def details(self) -> dict[str, Any]:
        """Return the fraction, the shares of the real step's time, and how many pairs they rest on."""
        if not self.pairs:
            return {"honest_fraction": None, "honest_pairs": 0, "shares": {}}
        fraction = statistics.median(bare / real for bare, real in zip(self._bare_s, self._real_s, strict=True))
        total = sum(self._real_s)
        return {
            "honest_fraction": round(min(fraction, 1.0), 4),
            "honest_pairs": self.pairs,
            "shares": {name: round(seconds / total, 4) for name, seconds in self.parts.items()},
        }

    @property
    def pairs(self) -> int:
        """Steps measured with their bare twins."""
        return len(self._real_s)

    def _prepare(self, inputs: Tensor, labels: Labels) -> None:
        network, optimizer = (self._copy[0], self._copy[1]) if self._copy else (None, None)
        if network is None or optimizer is None:
            network = copy.deepcopy(self._network)
            network.zero_grad(set_to_none=True)
            optimizer = self._make(network)
        batch = torch.randn_like(inputs)
        kept = Mixed(*(part.clone() for part in labels)) if isinstance(labels, Mixed) else labels.clone()
        self._copy = (network, optimizer, batch, kept)
        self._step(*self._copy)  # makes the optimiser's state and, for a new shape, its kernels
