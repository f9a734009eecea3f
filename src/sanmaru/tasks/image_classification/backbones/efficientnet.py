"""EfficientNet (Tan & Le, 2019), of transformers, with four things set right:

- from scratch its weights are drawn as convolutions with batch normalisation need them: transformers draws the scales
  of the normalisation around 0, which lets nothing through;
- the running statistics take a tenth of each batch; transformers reads the original's 0.99, the share that is *kept*,
  as the share of the newest batch;
- padding is that of the original ("same") for whatever size the maps have; transformers' is fixed for one picture size,
  loses pixels at others and fails on maps of one pixel;
- the dropout in the blocks leaves out whole residuals of a picture (stochastic depth), not single values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.resnet import small_stride
from sanmaru.tasks.image_classification.backbones.zoo import zoo_family


class DropResidual(nn.Module):
    """Leave out the residual of a picture with probability `p` (Huang et al., 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B, ...), with whole rows 0 in training, the others scaled up."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.p
        return x * (kept / (1 - self.p)).to(x.dtype)


def _make(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    model = EfficientNetForImageClassification(EfficientNetConfig(num_channels=3, num_labels=classes, **sizes))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # As the original: a depthwise convolution gives each output one input, which torch's own rule overlooks.
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    stride = small_stride(image_size)
    model.efficientnet.embeddings.convolution.stride = (stride, stride)
    return model  # type: ignore[no-any-return]


def _fit(model: Any, image_size: int) -> None:
    base = model.efficientnet
    base.pooler = nn.AdaptiveAvgPool2d(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    stem = base.embeddings
    side, stem.padding = _same(image_size, stem.convolution)
    for block in base.encoder.blocks:
        depthwise = block.depthwise_conv
        if depthwise.stride == 2:
            side, depthwise.depthwise_conv_pad = _same(side, depthwise.depthwise_conv)
        if isinstance(block.projection.dropout, nn.Dropout):
            block.projection.dropout = DropResidual(block.projection.dropout.p)


def _same(side: int, convolution: nn.Conv2d) -> tuple[int, nn.ZeroPad2d]:
    """Return the side of the output, ceil(side / stride), and the padding that gives it; an odd one goes to the end."""
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    out = -(-side // stride)
    total = max(0, (out - 1) * stride + kernel - side)
    return out, nn.ZeroPad2d((total // 2, total - total // 2) * 2)


def _network(model: Any) -> Network:
    base, config = model.efficientnet, model.config
    blocks = iter(base.encoder.blocks)
    stages = [
        [next(blocks) for _ in range(math.ceil(config.depth_coefficient * repeats))]
        for repeats in config.num_block_repeats
    ]
    stages[-1] += [base.encoder.top_conv, base.encoder.top_bn]
    return Network(
        model,
        body=[[base.embeddings], *stages],
        head=model.classifier,
        target_layer=base.encoder.top_activation,
    )


def _dropout(model: Any, dropout: float) -> None:
    model.dropout.p = dropout


EFFICIENTNET = zoo_family("EfficientNet", _make, _fit, _network, _dropout)
