"""ResNet (He et al., 2016) and RegNet (Radosavovic et al., 2020), of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sanmaru.tasks.image_classification.backbones.family import nothing_to_fit
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.zoo import zoo_family


def resnet_stem(image_size: int) -> tuple[int, int, bool]:
    """Return kernel, stride and whether to pool, of the first layers of a ResNet from scratch.

    The original's divide the side by 4, and all of it by 32, which leaves a 2 x 2 map of 64 pixels. Here the first map
    has 32 pixels a side where the picture allows.
    """
    if image_size <= 32:
        return 3, 1, False
    if image_size <= 96:
        return 3, 2, False
    return 7, 2, True


def small_stride(image_size: int) -> int:
    """Return the stride of a stem that is a single convolution: 1 up to 64 pixels, then the original's 2."""
    return 1 if image_size <= 64 else 2


def _make_resnet(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    model = ResNetForImageClassification(ResNetConfig(num_channels=3, embedding_size=64, num_labels=classes, **sizes))
    kernel, stride, pooled = resnet_stem(image_size)
    if not pooled:
        convolution = nn.Conv2d(3, 64, kernel, stride=stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        model.resnet.embedder.embedder.convolution = convolution
        model.resnet.embedder.pooler = nn.Identity()
    return model  # type: ignore[no-any-return]


def _make_regnet(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    from transformers import RegNetConfig, RegNetForImageClassification

    model = RegNetForImageClassification(RegNetConfig(num_channels=3, num_labels=classes, **sizes))
    stride = small_stride(image_size)
    model.regnet.embedder.embedder.convolution.stride = (stride, stride)
    return model  # type: ignore[no-any-return]


def _network(model: Any) -> Network:
    base = model.base_model
    stages = list(base.encoder.stages)
    return Network(
        model,
        body=[[base.embedder], *([stage] for stage in stages)],
        head=model.classifier[-1],
        target_layer=stages[-1],
    )


RESNET = zoo_family("ResNet", _make_resnet, nothing_to_fit, _network)
REGNET = zoo_family("RegNet", _make_regnet, nothing_to_fit, _network)
