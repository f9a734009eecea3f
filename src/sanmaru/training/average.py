"""A moving average of a network's weights (EMA), which often scores better than the weights themselves."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn


class Average:
    """The moving average of a network, itself a network.

    After step t (from 1) average = d · average + (1 - d) · weights with d = min(decay, (1 + t) / (10 + t)), so that the
    first random weights are soon forgotten. Floating-point buffers, such as the running statistics of batch norms, are
    averaged as well, since they belong to the weights; counters are copied.

    Args:
        network: Where it begins.
        decay: In (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self._pairs: tuple[list[Tensor], list[Tensor]] | None = None
        self._copied: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follow the network after its step number `step`, from 0."""
        if self._pairs is None:
            self._pair(network)
        assert self._pairs is not None
        decay = decay_of(self.decay, step)
        torch._foreach_lerp_(self._pairs[0], self._pairs[1], 1 - decay)
        for mine, other in self._copied:
            mine.copy_(other)

    def _pair(self, network: nn.Module) -> None:
        # Taken once: tensors stay where they are for a whole fit.
        mine, theirs = self.network.state_dict(), network.state_dict()
        floating = [name for name, tensor in mine.items() if tensor.is_floating_point()]
        self._pairs = [mine[name] for name in floating], [cast(Tensor, theirs[name]) for name in floating]
        self._copied = [(mine[name], theirs[name]) for name in mine if name not in set(floating)]


def decay_of(decay: float, step: int) -> float:
    """Return the decay at a step, from 0."""
    done = step + 1
    return min(decay, (1 + done) / (10 + done))
