"""Vision transformers (Dosovitskiy et al., 2021; the small size of Touvron et al., 2021), of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sanmaru.errors import UserError
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.zoo import zoo_family


def vit_patch(image_size: int) -> int:
    """Return the side of the patches of a ViT from scratch: near an eighth of the picture, a divisor if there is one.

    From 128 pixels on 16, as pretrained. Where none divides the side, the last few pixels at the right and lower edge
    are not seen.
    """
    if image_size >= 128:
        return 16
    wanted = max(2, image_size // 8)
    divisors = [p for p in range(2, 17) if image_size % p == 0 and wanted / 2 <= p <= wanted * 1.5]
    return min(divisors, key=lambda p: abs(p - wanted), default=wanted)


def _make(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    patch = vit_patch(image_size)
    config = ViTConfig(image_size=image_size, patch_size=patch, num_channels=3, num_labels=classes, **sizes)
    return ViTForImageClassification(config)  # type: ignore[no-any-return]


def _fit(model: Any, image_size: int) -> None:
    """Fit the learned positions to another picture size, bicubically, once instead of at every step."""
    embeddings = model.vit.embeddings
    patch = model.config.patch_size
    side = image_size // patch
    positions = embeddings.position_embeddings.data  # (1, 1 + old², hidden)
    old = round((positions.shape[1] - 1) ** 0.5)
    if side < 1:
        raise UserError(
            f"model.image_size {image_size} is smaller than one patch of the pretrained ViT ({patch} pixels)."
        )
    if side != old:
        squares = positions[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
        squares = nn.functional.interpolate(squares, size=(side, side), mode="bicubic", align_corners=False)
        fitted = torch.cat([positions[:, :1], squares.permute(0, 2, 3, 1).reshape(1, side * side, -1)], dim=1)
        embeddings.position_embeddings = nn.Parameter(fitted)
    model.config.image_size = image_size
    # Which of the two checks the size of a picture has changed between releases of transformers.
    for part in (embeddings, embeddings.patch_embeddings):
        if hasattr(part, "image_size"):
            part.image_size = (image_size, image_size)


def _network(model: Any) -> Network:
    base = model.vit
    *blocks, last = base.layers
    return Network(
        model,
        body=[[base.embeddings], *([block] for block in blocks), [last, base.layernorm]],
        head=model.classifier[-1],
        target_layer=base.layernorm,
        explain="attention",
        unit="block",
    )


VIT = zoo_family("ViT", _make, _fit, _network)
