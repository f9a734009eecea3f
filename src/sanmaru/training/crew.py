"""Several devices that train one network: each takes its share of every batch, and gradients are added up.

Gradients are added after the backward pass, in flat buckets, not while it runs as
`torch.nn.parallel.DistributedDataParallel` does. That costs the time of the exchange at the end of each step. In return
a device that runs out of memory can begin its share anew in smaller parts without the others noticing, gradients
accumulate without special care, and parameters that take no part need no search.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BUCKET = 2**24
"""Numbers reduced at once: 64 MB of float32."""


class Alone:
    """A crew of one: nothing to share, nobody to wait for."""

    rank = 0
    size = 1

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all devices, in place."""

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all devices."""
        return value

    def settle(self, network: nn.Module) -> None:
        """Give all devices the mean of the network's running statistics."""

    def go_on(self, wanted: bool) -> bool:
        """Return what the first device wants."""
        return wanted


class Crew(Alone):
    """One of several devices, each in a process of its own, in torch's default process group.

    Args:
        rank: Of this process, from 0.
        size: Number of processes.
        device: Of this process.
    """

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._device = device
        self._used: list[bool] | None = None

    def reduce(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all devices, in place.

        Where a device has no gradient, for it had no rows, it adds nothing; where none has, the parameter takes no part
        and keeps none. Which these are is asked once: it is the same in every step.
        """
        if self._used is None:
            used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=self._device)
            self._used = [bool(flag) for flag in self.total(used).tolist()]
        taking_part = [p for p, used in zip(parameters, self._used, strict=True) if used]
        for parameter in taking_part:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in taking_part if p.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self.total(flat)
            for gradient, part in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def total(self, value: Tensor) -> Tensor:
        """Sum a tensor over all devices, in place, and return it."""
        torch.distributed.all_reduce(value)
        return value

    def settle(self, network: nn.Module) -> None:
        """Give all devices the mean of the network's running statistics."""
        for buffer in network.buffers():
            if buffer.is_floating_point():
                self.total(buffer)
                buffer /= self.size

    def go_on(self, wanted: bool) -> bool:
        """Return what the first device wants."""
        flag = torch.tensor([int(wanted)], device=self._device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    room = 0
    for gradient in gradients:
        if gradient.numel() > room or not buckets:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(gradient)
        room -= gradient.numel()
    return buckets
