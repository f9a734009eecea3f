"""ResNeXt (Xie et al., 2017): a ResNet whose bottlenecks convolve in groups.

Written out because the zoo that the other backbones come from lacks it. Names of parameters are those of torchvision,
so that its weight files fit. With one group of 64 channels it is ResNet-50 (with the stride in the 3 x 3 convolution).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ResNeXt(nn.Module):
    """Stem, four stages of grouped bottlenecks, mean over the map, one linear layer.

    Args:
        classes: Number of outputs.
        depths: Bottlenecks per stage; 3, 4, 6, 3 is the 50-layer network.
        groups: Groups of each 3 x 3 convolution.
        width: Channels of one group in the first stage; 32 groups of 4 is "32x4d".
        stem: Kernel and stride of the first convolution, and whether a 3 x 3 pooling of stride 2 follows.
        dropout: Before the last layer.
    """

    def __init__(
        self,
        classes: int,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        groups: int = 32,
        width: int = 4,
        stem: tuple[int, int, bool] = (7, 2, True),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        kernel, stride, pooled = stem
        self.conv1 = nn.Conv2d(3, 64, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pooled else nn.Identity()
        channels = 64
        stages = []
        for number, depth in enumerate(depths):
            inner, outer = groups * width * 2**number, 256 * 2**number
            blocks = []
            for place in range(depth):
                blocks.append(Bottleneck(channels, inner, outer, groups, stride=2 if number and not place else 1))
                channels = outer
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) of normalised images (B, 3, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3 in groups, 1 x 1 up; the input is added."""

    def __init__(self, inputs: int, inner: int, outputs: int, groups: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a map (B, outputs, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))
