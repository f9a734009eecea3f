"""ConvNeXt (Liu et al., 2022), of transformers, whose default config is the tiny one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from sanmaru.tasks.image_classification.backbones.family import nothing_to_fit
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.zoo import zoo_family


def convnext_patch(image_size: int) -> int:
    """Return the side of the stem's patches from scratch: the first map has 32 pixels a side where that can be."""
    if image_size <= 32:
        return 1
    return 2 if image_size <= 96 else 4


def _make(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    patch = convnext_patch(image_size)
    config = ConvNextConfig(num_channels=3, patch_size=patch, num_labels=classes, **sizes)
    return ConvNextForImageClassification(config)  # type: ignore[no-any-return]


def _network(model: Any) -> Network:
    base = model.convnext
    *stages, last = base.encoder.stages
    return Network(
        model,
        body=[[base.embeddings], *([stage] for stage in stages), [last, base.layernorm]],
        head=model.classifier[-1],
        target_layer=last,
    )


CONVNEXT = zoo_family("ConvNext", _make, nothing_to_fit, _network)
