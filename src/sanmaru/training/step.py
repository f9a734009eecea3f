"""One update of the weights: forward and backward over the parts of a batch, then clip and step."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from sanmaru.training.mix import Labels, mixed_loss
from sanmaru.training.precision import Precision

OUT_OF_MEMORY = (
    "out of memory",  # CUDA, HIP, MPS
    "can't allocate memory",  # DefaultCPUAllocator on Linux
    "not enough memory: you tried to allocate",  # DefaultCPUAllocator on Windows
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""How libraries say it where they raise a plain RuntimeError."""


class Learner:
    """A network with its optimiser.

    The gradient of a batch is the sum of the gradients of its parts, each times its share of the rows, so that a batch
    gives the same gradient whole or in parts (but for batch norms, which see one part at a time, and losses that are
    not a sum over rows).

    Args:
        network: What learns.
        optimizer: Of its parameters.
        loss: Of (outputs, labels, weights or None).
        precision: Of the forward pass.
        clip: Largest norm of the gradient, or None.
        reduce: Adds up the gradients of all devices, in place; None on a single one.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: nn.Module,
        *,
        precision: Precision,
        clip: float | None,
        reduce: Callable[[Sequence[nn.Parameter]], None] | None = None,
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.scaler = precision.scaler()
        self._loss = loss
        self._precision = precision
        self._clip = clip
        self._reduce = reduce
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(
        self, parts: Iterable[tuple[Tensor, Labels]], n_rows: int, split: Callable[[str], None] | None = None
    ) -> Tensor:
        """Take one step.

        Args:
            parts: Inputs and labels; together one batch, or this device's share of it.
            n_rows: Rows of the whole batch, on all devices.
            split: Told after the time of the named part has passed, where the step is measured.

        Returns:
            The sum over the parts' rows of their loss, a scalar.
        """
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self._parameters[0].device)
        for inputs, labels in parts:
            with self._precision.cast():
                outputs = self.network(inputs)
            value = mixed_loss(self._loss, outputs.float(), labels)
            share = value if len(inputs) == n_rows else value * (len(inputs) / n_rows)
            self.scaler.scale(share).backward()  # type: ignore[no-untyped-call]
            total += value.detach() * len(inputs)
        if self._reduce is not None:
            if split is not None:
                split("step")
            self._reduce(self._parameters)
            if split is not None:
                split("exchange")
        if self._clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return total


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory does not hold a batch."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def free_memory(device: torch.device) -> None:
    """Give back what a failed batch left behind; call it when its exception is gone."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


class Randomness:
    """The state of torch's random numbers at one moment, to begin a failed step anew as if nothing had been drawn."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def restore(self) -> None:
        """Go back to that moment."""
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
