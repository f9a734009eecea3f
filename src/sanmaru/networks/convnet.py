"""A small residual convolutional network that trains in minutes on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvNet(nn.Module):
    """Residual stages of 3 x 3 convolutions; each stage halves the map and doubles the channels.

    Halving goes on until the map has 4 pixels a side or `max_width` channels are reached twice, so that 8-pixel
    digits and 128-pixel photographs both end in a map worth averaging. From 48 pixels on the first convolution
    takes every second pixel: on a CPU the full-size map would cost more than all the rest together.

    Args:
        classes: Number of outputs.
        image_size: Side in pixels.
        width: Channels of the first stage.
        max_width: Channels of the widest stage.
        dropout: Before the last layer.
    """

    def __init__(
        self, classes: int, image_size: int, *, width: int = 32, max_width: int = 256, dropout: float = 0.0
    ) -> None:
        super().__init__()
        stride = 2 if image_size >= 48 else 1
        side = -(-image_size // stride)
        layers: list[nn.Module] = [_conv(3, width, stride), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
        layers.append(Residual(channels))
        self.block_ends = [len(layers)]
        """Index in `features` behind the stem and behind each stage."""
        while side > 4:
            wider = min(2 * channels, max_width)
            layers += [_conv(channels, wider, 2), nn.BatchNorm2d(wider), nn.ReLU(inplace=True), Residual(wider)]
            channels, side = wider, -(-side // 2)
            self.block_ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of normalised images (B, 3, H, W)."""
        features = self.features(images).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


class Residual(nn.Module):
    """Two normalised convolutions around which the input is added (He et al., 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = _conv(channels, channels)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(y)))


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution
