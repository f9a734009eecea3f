"""VGG-16 (Simonyan & Zisserman, 2015), with or without batch normalisation.

Written out because the zoo that the other backbones come from lacks it. Names of parameters are those of torchvision,
so that its weight files fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the convolutions of each block."""


class VGG(nn.Module):
    """Blocks of 3 x 3 convolutions, each ended by pooling, then three linear layers.

    The first linear layer reads a map of `side` x `side` pixels; a map of another size is averaged (or repeated) to it,
    as torchvision does.

    Args:
        classes: Number of outputs.
        image_size: Side in pixels. Pooling is left out where it would leave less than 2 pixels, and the linear layers
            are built for the map that is left, up to the original's 7 x 7 (from 224 pixels on).
        blocks: Channels of the convolutions, block by block.
        dense: Width of the two hidden linear layers.
        batch_norm: Whether every convolution is followed by batch normalisation.
        dropout: After each hidden linear layer; the paper's is 0.5.
    """

    def __init__(
        self,
        classes: int,
        image_size: int = 224,
        *,
        blocks: Sequence[Sequence[int]] = VGG16,
        dense: int = 4096,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.block_ends: list[int] = []
        """Index in `features` behind each block."""
        channels, side = 3, image_size
        for block in blocks:
            for wider in block:
                layers.append(nn.Conv2d(channels, wider, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(wider))
                layers.append(nn.ReLU(inplace=True))
                channels = wider
            if side >= 4:
                layers.append(nn.MaxPool2d(2, stride=2))
                side //= 2
            self.block_ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self.side = min(7, side)
        self.classifier = nn.Sequential(
            nn.Linear(channels * self.side**2, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, dense),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear) and module.out_features == dense:
                # As large for any size of the map; at 25,088 inputs this is the usual 0.01.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of normalised images (B, 3, H, W)."""
        x = average_to(self.features(images), self.side)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def average_to(x: Tensor, side: int) -> Tensor:
    """Average a map (B, C, H, W) over bins to (B, C, side, side), as `adaptive_avg_pool2d`.

    As two products with constant matrices, since ONNX has no such pooling where `side` does not divide H and W.
    """
    height, width = int(x.shape[-2]), int(x.shape[-1])
    if (height, width) == (side, side):
        return x
    rows, columns = (torch.from_numpy(_bins(length, side)).to(x) for length in (height, width))
    return rows @ x @ columns.T


def _bins(length: int, bins: int) -> NDArray[np.float32]:
    """Return (bins, length): row i averages pixels floor(i · length / bins) to ceil((i + 1) · length / bins).

    NumPy's, for an exported graph to hold it as a constant.
    """
    matrix = np.zeros((bins, length), np.float32)
    for place in range(bins):
        first, end = place * length // bins, -(-(place + 1) * length // bins)
        matrix[place, first:end] = 1 / (end - first)
    return matrix
