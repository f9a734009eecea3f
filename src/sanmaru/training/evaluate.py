"""What a network says of rows it does not learn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.training.epoch import Batches
from sanmaru.training.precision import Precision
from sanmaru.training.step import free_memory, out_of_memory


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Batches,
    loss: nn.Module,
    precision: Precision,
    to_scored: Callable[[Tensor], Tensor] | None = None,
) -> tuple[float, NDArray[np.float32]]:
    """Return the mean loss and the logits, float32 (n, n_classes), of all rows in order.

    Args:
        network: Put into evaluation mode.
        batches: The rows.
        loss: Of (raw outputs, labels).
        precision: Of the forward pass.
        to_scored: Turns raw outputs into logits; None where they are.
    """
    network.eval()
    total = 0.0
    logits = []
    for inputs, labels in batches.plain():
        outputs = forward(network, inputs, precision)
        total += float(loss(outputs, labels)) * len(inputs)
        logits.append((outputs if to_scored is None else to_scored(outputs)).float().cpu().numpy())
    return total / max(1, len(batches)), np.concatenate(logits)


def forward(network: nn.Module, inputs: Tensor, precision: Precision) -> Tensor:
    """Return the outputs in float32; a batch that memory does not hold goes through in halves."""
    try:
        with precision.cast():
            outputs: Tensor = network(inputs)
        return outputs.float()
    except Exception as error:
        if not out_of_memory(error) or len(inputs) == 1:
            raise
    free_memory(inputs.device)
    return torch.cat([forward(network, half, precision) for half in inputs.chunk(2)])
