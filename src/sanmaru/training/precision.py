"""In which numbers the forward pass runs: float32, bfloat16, or float16 with a scaled loss."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

from sanmaru.errors import UserError


@dataclass(frozen=True)
class Precision:
    """The numbers of a fit on its device. Weights, gradients, losses and the optimiser stay in float32."""

    device_type: str
    half: torch.dtype | None
    """bfloat16, float16, or None for float32."""

    def cast(self) -> AbstractContextManager[Any]:
        """Return a context in which a network computes in these numbers."""
        if self.half is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype=self.half)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what scales the loss so that small gradients do not vanish in float16; idle for other numbers."""
        return torch.amp.GradScaler(self.device_type, enabled=self.half is torch.float16)


def pick_precision(asked: str, device: torch.device) -> Precision:
    """Return the precision of a fit.

    Args:
        asked: `TrainConfig.precision`. `auto` takes bfloat16 on a GPU that has it, float16 on one that has not, and
            float32 on a CPU.
        device: Where the fit runs.

    Raises:
        UserError: for fp16 on a CPU.
    """
    on_gpu = device.type == "cuda"
    if asked == "auto":
        if not on_gpu:
            return Precision(device.type, None)
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(device.type, torch.bfloat16 if has_it else torch.float16)
    if asked == "fp16" and device.type == "cpu":
        raise UserError(
            "train.precision is fp16, which needs a GPU, and this fit runs on the CPU. Take train.precision=auto, or "
            "bf16, which a CPU can do (and is faster only on processors made for it)."
        )
    return Precision(device.type, {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[asked])
