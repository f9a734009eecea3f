"""From finer bins of a number to the bands that are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST = 1e-30
"""Probabilities are held above this before their logarithm is taken, as in `tasks.outputs`."""


class BandMap(nn.Module):
    """Probabilities of bins to log-probabilities of bands.

    `sum` adds up the bins of a band. `expectation` takes the predicted bins as a distribution of the number, with mean
    m = sum of p · centre and variance v = sum of p · ((centre - m)² + width² / 12) (a number lies anywhere in its
    bin), and gives a band the probability that a logistic variable with this mean and variance lies in it:
    F(upper cut) - F(lower cut) with F(x) = sigmoid((x - m) · pi / sqrt(3 v)). The band is thus told by where the
    distribution stands and not by its largest bin, and bins that few rows were learnt from lend each other strength;
    a distribution with two humps loses them. The logistic stands for the normal because its differences have exact
    logarithms in float32, in torch as in ONNX: sigmoid(b) - sigmoid(a) = sigmoid(b) · sigmoid(-a) · (1 - exp(a - b)).

    Args:
        edges: Of the bins, rising, one more than bins; every cut point among them.
        cuts: Between the bands, rising.
        kind: Which of the two.
    """

    centres: Tensor
    within: Tensor
    cuts: Tensor
    belongs: Tensor

    def __init__(self, edges: Sequence[float], cuts: Sequence[float], kind: Literal["expectation", "sum"]) -> None:
        super().__init__()
        self.kind = kind
        bounds = torch.tensor(edges, dtype=torch.float64)
        centres, widths = (bounds[1:] + bounds[:-1]) / 2, bounds.diff()
        points = torch.tensor(cuts, dtype=torch.float64)
        # All of it follows from the task, so nothing is kept with the weights.
        self.register_buffer("centres", centres.float(), persistent=False)
        self.register_buffer("within", (widths**2 / 12).float(), persistent=False)
        self.register_buffer("cuts", points.float(), persistent=False)
        band = torch.bucketize(centres, points, right=True)
        self.register_buffer("belongs", functional.one_hot(band, len(cuts) + 1).float(), persistent=False)

    def forward(self, probs: Tensor) -> Tensor:
        """Return log-probabilities (..., n_bands) of probabilities of bins (..., n_bins)."""
        if self.kind == "sum":
            return (probs @ self.belongs).clamp_min(SMALLEST).log()
        mean = (probs * self.centres).sum(dim=-1, keepdim=True)
        variance = (probs * ((self.centres - mean) ** 2 + self.within)).sum(dim=-1, keepdim=True)
        places = (self.cuts - mean) * (math.pi / (3 * variance).sqrt())
        below_upper, above_lower = -functional.softplus(-places), -functional.softplus(places)
        first, last = below_upper[..., :1], above_lower[..., -1:]
        if len(self.cuts) == 1:
            return torch.cat([first, last], dim=-1)
        apart = (1 - (places[..., :-1] - places[..., 1:]).exp()).clamp_min(SMALLEST).log()
        return torch.cat([first, below_upper[..., 1:] + above_lower[..., :-1] + apart, last], dim=-1)
