"""What a family of backbones provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.weights import Weights


@dataclass(frozen=True)
class Family:
    """How the networks of one family are made."""

    make: Callable[[Mapping[str, Any], int, int], nn.Module]
    """From scratch, fitted to small pictures, of (sizes, outputs, side in pixels)."""
    load: Callable[[Weights, Mapping[str, Any], int], nn.Module] | None
    """With pretrained weights and a new head, of (weights, sizes, outputs); None where there are none."""
    remake: Callable[[Mapping[str, Any], Mapping[str, Any], int], nn.Module]
    """As `load` made it, of (architecture, sizes, outputs), but with weights as drawn."""
    fit: Callable[[Any, int], None]
    """Fit either to the side of the pictures, in place."""
    network: Callable[[Any], Network]
    """Say where stages, head and explaining layer are."""
    dropout: Callable[[Any, float], None]
    """Set the dropout of the head, in place."""
    architecture: Callable[[Any], dict[str, Any]]
    """Plain values from which `remake` makes the network."""


def nothing_to_fit(model: Any, image_size: int) -> None:
    """Take any size as it is."""
