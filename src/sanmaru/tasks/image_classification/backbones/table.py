"""The backbones that a project file can name: sizes, usual pretrained weights, stages. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """One network by name."""

    family: str
    """Key of `make.FAMILIES`."""
    sizes: Mapping[str, Any] = field(default_factory=dict)
    """What tells it from others of its family, as the family's config or class takes it."""
    hub: tuple[tuple[int, str], ...] = ()
    """Usual pretrained weights: (side of the pictures in pixels, name on the hub)."""
    stages: int | None = 4
    """Between stem and head; None where the size of the pictures decides."""
    unit: str = "stage"
    """What a stage is called: `stage` or `block`."""

    def hub_name(self, image_size: int) -> str | None:
        """Return the weights pretrained at the side nearest to `image_size`."""
        return min(self.hub, key=lambda known: abs(known[0] - image_size))[1] if self.hub else None

    def stage_names(self, image_size: int) -> tuple[str, ...]:
        """Return the names from stem to head."""
        inner = convnet_stages(image_size) if self.stages is None else self.stages
        return ("stem", *(f"{self.unit}{number}" for number in range(1, inner + 1)), "head")


def convnet_stages(image_size: int) -> int:
    """Return how often the convnet halves its map behind the stem: until 4 pixels a side are left."""
    side = -(-image_size // 2) if image_size >= 48 else image_size
    count = 0
    while side > 4:
        side, count = -(-side // 2), count + 1
    return count


def _resnet(depths: tuple[int, ...], *, bottleneck: bool, hub: str) -> Backbone:
    widths = [256, 512, 1024, 2048] if bottleneck else [64, 128, 256, 512]
    sizes = {"depths": list(depths), "hidden_sizes": widths, "layer_type": "bottleneck" if bottleneck else "basic"}
    return Backbone("resnet", sizes, hub=((224, hub),))


def _efficientnet(width: float, depth: float, hidden: int, side: int, hub: str) -> Backbone:
    sizes = {"width_coefficient": width, "depth_coefficient": depth, "hidden_dim": hidden}
    return Backbone("efficientnet", sizes, hub=((side, hub),), stages=7)


def _regnet(depths: list[int], widths: list[int], group: int, hub: str) -> Backbone:
    sizes = {"depths": depths, "hidden_sizes": widths, "groups_width": group, "layer_type": "y"}
    return Backbone("regnet", sizes, hub=((224, hub),))


def _vit(width: int, heads: int, *hub: tuple[int, str]) -> Backbone:
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    return Backbone("vit", {**sizes, "num_hidden_layers": 12}, hub=hub, stages=12, unit="block")


BACKBONES: dict[str, Backbone] = {
    "convnet": Backbone("convnet", stages=None),
    "resnet-18": _resnet((2, 2, 2, 2), bottleneck=False, hub="microsoft/resnet-18"),
    "resnet-34": _resnet((3, 4, 6, 3), bottleneck=False, hub="microsoft/resnet-34"),
    "resnet-50": _resnet((3, 4, 6, 3), bottleneck=True, hub="microsoft/resnet-50"),
    "resnet-101": _resnet((3, 4, 23, 3), bottleneck=True, hub="microsoft/resnet-101"),
    "resnet-152": _resnet((3, 8, 36, 3), bottleneck=True, hub="microsoft/resnet-152"),
    "resnext-50": Backbone("resnext", hub=((224, "timm/resnext50_32x4d.a1h_in1k"),)),
    "efficientnet-b0": _efficientnet(1.0, 1.0, 1280, 224, "google/efficientnet-b0"),
    "efficientnet-b3": _efficientnet(1.2, 1.4, 1536, 300, "google/efficientnet-b3"),
    "regnet-y-400mf": _regnet([1, 3, 6, 6], [48, 104, 208, 440], 8, "facebook/regnet-y-004"),
    "regnet-y-4gf": _regnet([2, 6, 12, 2], [128, 192, 512, 1088], 64, "facebook/regnet-y-040"),
    "vgg-16": Backbone("vgg", {"batch_norm": False}, hub=((224, "timm/vgg16.tv_in1k"),), stages=5),
    "vgg-16-bn": Backbone("vgg", {"batch_norm": True}, hub=((224, "timm/vgg16_bn.tv_in1k"),), stages=5),
    "convnext-tiny": Backbone("convnext", hub=((224, "facebook/convnext-tiny-224"),)),
    "vit-small": _vit(384, 6, (224, "WinKawaks/vit-small-patch16-224")),
    "vit-base": _vit(768, 12, (224, "google/vit-base-patch16-224"), (384, "google/vit-base-patch16-384")),
}

ALIASES = {"regnet": "regnet-y-4gf", "resnext": "resnext-50", "vgg": "vgg-16", "convnext": "convnext-tiny"}
"""A family named without its size."""
