"""Models for image classification, as the project file names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sanmaru.config import Config
from sanmaru.errors import nearest
from sanmaru.images.fit import ZERO, Fit, FitConfig

BACKBONES = ("convnet", "resnet-18", "vit-small")


class NetworkConfig(Config):
    """A convolutional network or a vision transformer."""

    kind: Literal["network"] = "network"
    backbone: str = "convnet"
    """`convnet` (small, for CPUs), `resnet-18`, `vit-small`."""
    pretrained: bool | str = False
    """false: from scratch; true: the backbone's usual weights from the hub; else a local folder or a hub name."""
    image_size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Side in pixels of the square that the network sees."""
    fit: FitConfig = FitConfig()
    """How a picture of any shape becomes that square."""
    heads: Literal["joint", "shared", "separate"] = "joint"
    """Of several targets: `joint`, one head for the joint classes; `shared`, a head per target over one network;
    `separate`, a network per target. All three are scored on the joint classes."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Before the last layer."""

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        if value not in BACKBONES:
            raise ValueError(f"unknown backbone {value!r}. {nearest(value, BACKBONES)}")
        return value

    @property
    def reader(self) -> Fit:
        """How pictures are fitted into the square, with the padding that normalisation turns into zero.

        Most pretrained networks subtract ImageNet's mean, the usual vision transformers one half.
        """
        return self.fit.reader((128, 128, 128) if self.backbone.startswith("vit") and self.pretrained else ZERO)


ImageModelConfig = NetworkConfig
