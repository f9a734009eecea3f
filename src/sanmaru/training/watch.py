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
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sanmaru.training.mix import Labels, Mixed
from sanmaru.training.step import Learner, free_memory, out_of_memory

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


class Clock:
    """Seconds of a fit, by what they were spent on.

    Args:
        spent_s: Added to, by name.
    """

    def __init__(self, spent_s: dict[str, float]) -> None:
        self._spent_s = spent_s
        self._began = self._last = time.perf_counter()

    def split(self, name: str, less: Mapping[str, float] | None = None) -> None:
        """Book the time since the last split under `name`, but what of it was `less` under those names."""
        now = time.perf_counter()
        apart = dict(less or {})
        for part, seconds in {name: now - self._last - sum(apart.values()), **apart}.items():
            self._spent_s[part] = self._spent_s.get(part, 0.0) + seconds
        self._last = now

    @property
    def seconds(self) -> float:
        """Since the clock was made."""
        return time.perf_counter() - self._began


class HonestFraction:
    """Measures bare steps beside real ones, without touching the training or its random numbers.

    Args:
        network: The network being trained; copied when the first bare step is due.
        learner: Makes what trains a copy of the network, on this device alone.
        device: Where the training runs.
        total_steps: Of the whole fit, as planned.
    """

    def __init__(
        self, network: nn.Module, learner: Callable[[nn.Module], Learner], device: torch.device, total_steps: int
    ) -> None:
        self._smallest = SMALLEST if total_steps >= SHORT else 1
        self._network = network
        self._make = learner
        self._device = device
        self._twin: Learner | None = None
        self._ready: dict[torch.Size, tuple[Tensor, Labels]] = {}
        self._seen: list[torch.Size] = []
        self._examples: dict[torch.Size, tuple[Tensor, Labels]] = {}
        self._started = time.perf_counter()
        self._steps = 0
        self._off = False
        self._halted = False
        self._real_s: list[float] = []
        self._bare_s: list[float] = []
        self._plan_s = 0.0
        self.spent_s = 0.0
        """Seconds that bare steps took."""
        self.parts: dict[str, float] = {}
        """Seconds of the measured real steps, by what they went into."""

    def planned(self, seconds_per_step: float) -> None:
        """Tell what drawing the order and the augmentations of an epoch took, per step; real steps bear it."""
        self._plan_s = seconds_per_step

    def due(self) -> Stopwatch | None:
        """Return a running stopwatch when the coming step should be measured, else None."""
        self._steps += 1
        if self._off or self._steps <= WARM_UP:
            return None
        if self.pairs >= self._smallest and self.spent_s > BUDGET * (time.perf_counter() - self._started):
            return None
        self._seen, self._examples, self._halted = [], {}, False
        watch = Stopwatch(self._device)
        watch.start()
        return watch

    def seen(self, inputs: Tensor, labels: Labels) -> None:
        """Tell which parts a measured step has; the bare one gets constant parts of the same shapes."""
        self._seen.append(inputs.shape)
        self._examples.setdefault(inputs.shape, (inputs, labels))

    def halt(self) -> None:
        """Forget the step being measured, for it failed for want of memory, and take none for bare steps."""
        self._halted = True
        if self._twin is not None and self._device.type == "cuda":
            self._off = True
        self._twin = None
        self._ready.clear()
        self._examples.clear()

    def measured(self, watch: Stopwatch) -> None:
        """Book a real step that has just ended, and run its bare twin.

        Args:
            watch: What `due` returned, with the parts of the real step split off.
        """
        if self._halted or not self._seen:
            return
        began = time.perf_counter()
        try:
            bare_s = self._bare()
        except Exception as error:
            if not out_of_memory(error):
                raise
            bare_s = None
        if bare_s is None:
            self.halt()
            self._off = True
            free_memory(self._device)
        else:
            watch.seconds["plan"] = self._plan_s
            self._real_s.append(sum(watch.seconds.values()))
            self._bare_s.append(bare_s)
            for name, seconds in watch.seconds.items():
                self.parts[name] = self.parts.get(name, 0.0) + seconds
        self._examples.clear()
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

    def _bare(self) -> float:
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            if self._twin is None:
                network = copy.deepcopy(self._network)
                network.zero_grad(set_to_none=True)
                self._twin = self._make(network)
            n_rows = sum(shape[0] for shape in self._seen)
            if any(shape not in self._ready for shape in self._seen):
                for shape, (inputs, labels) in self._examples.items():
                    kept = labels.map(torch.clone) if isinstance(labels, Mixed) else labels.clone()
                    self._ready[shape] = torch.randn_like(inputs), kept
                # Makes the optimiser's state and, for a new shape, its kernels.
                self._twin([self._ready[shape] for shape in self._seen], n_rows)
            parts = [self._ready[shape] for shape in self._seen]
            bare = Stopwatch(self._device)
            bare.start()
            self._twin(parts, n_rows)
            bare.split("bare")
        return bare.seconds["bare"]
