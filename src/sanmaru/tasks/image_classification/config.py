"""Models for image classification, as the project file names them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config
from sanmaru.errors import ProjectFileError, nearest
from sanmaru.images.fit import ZERO, Fit, FitConfig
from sanmaru.tasks.image_classification.backbones.frozen import frozen_stages
from sanmaru.tasks.image_classification.backbones.table import ALIASES, BACKBONES
from sanmaru.tasks.image_classification.tta import read_tta


class NetworkConfig(Config):
    """A convolutional network or a vision transformer."""

    kind: Literal["network"] = "network"
    backbone: str = "convnet"
    """`convnet` (small, for CPUs); `resnet-18`, `-34`, `-50`, `-101`, `-152`; `resnext-50`; `efficientnet-b0`, `-b3`;
    `regnet-y-400mf`, `regnet-y-4gf` (or `regnet`); `vgg-16`, `vgg-16-bn`; `convnext-tiny`; `vit-small`, `vit-base`."""
    pretrained: bool | str = False
    """false: from scratch; true: the backbone's usual weights from the hub; else a local folder, a file of weights
    (resnext and vgg) or a hub name."""
    image_size: Annotated[int, Field(ge=8, le=1024)] = 64
    """Side in pixels of the square that the network sees."""
    fit: FitConfig = FitConfig()
    """How a picture of any shape becomes that square."""
    heads: Literal["joint", "shared", "separate"] = "joint"
    """Of several targets: `joint`, one head for the joint classes; `shared`, a head per target over one network;
    `separate`, a network per target. All three are scored on the joint classes."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Before the last layer; of VGG, after each of its hidden linear layers."""
    head_init: Literal["default", "xavier"] = "default"
    """How the last layer is drawn: as its family does, or after Glorot and Bengio (2010)."""
    freeze: str | int = "none"
    """What keeps its pretrained weights: `none`; `all`, everything but the head; or everything up to and including a
    stage, by name (`stage2`, of a ViT `block6`) or number (0 is the stem)."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The learning rate of each stage is that of the next one towards the head times this; 1 is the same for all."""
    tta: tuple[dict[str, float], ...] = ()
    """Test-time augmentation: views over which predictions are averaged besides the picture itself, such as [hflip,
    vflip, rot90, {crop: 0.9}, five-crop, {scale: [0.9, 1.1]}]."""

    @field_validator("backbone")
    @classmethod
    def _known_backbone(cls, value: str) -> str:
        value = ALIASES.get(value, value)
        if value not in BACKBONES:
            raise ValueError(f"unknown backbone {value!r}. {nearest(value, BACKBONES)}")
        return value

    @field_validator("freeze", mode="before")
    @classmethod
    def _no_truth_value(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"freeze names what is frozen: none, all, a stage or its number, got {value}")
        return value

    @field_validator("tta", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        return read_tta(value)

    @model_validator(mode="after")
    def _stages_are_there(self) -> NetworkConfig:
        if self.freeze == "none":
            return self
        if self.pretrained is False:
            raise ValueError(
                f"freeze: {self.freeze} keeps layers as they are, and without `pretrained` they are random. "
                "Name pretrained weights, or take freeze: none."
            )
        if self.pretrained is True:  # weights of one's own may be of other sizes: those are asked when they are read
            try:
                frozen_stages(BACKBONES[self.backbone].stage_names(self.image_size), self.freeze)
            except ProjectFileError as error:
                raise ValueError(str(error).removeprefix("model.")) from error
        return self

    @property
    def reader(self) -> Fit:
        """How pictures are fitted into the square, with the padding that normalisation turns into zero.

        Most pretrained networks subtract ImageNet's mean, the usual vision transformers one half.
        """
        return self.fit.reader((128, 128, 128) if self.backbone.startswith("vit") and self.pretrained else ZERO)


ImageModelConfig = NetworkConfig
