"""Make the network that a project file names, from scratch or with pretrained weights, opened for fine-tuning.

With pretrained weights the architecture stays as it is, for the weights know it; only a ViT's positions and an
EfficientNet's padding follow the size of the pictures. From scratch the first layers are fitted to small pictures, as
each family's module says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from sanmaru.errors import ProjectFileError
from sanmaru.tasks.image_classification.backbones.convnext import CONVNEXT
from sanmaru.tasks.image_classification.backbones.efficientnet import EFFICIENTNET
from sanmaru.tasks.image_classification.backbones.family import Family
from sanmaru.tasks.image_classification.backbones.network import Network, Stage
from sanmaru.tasks.image_classification.backbones.own import CONVNET, RESNEXT, VGG_FAMILY
from sanmaru.tasks.image_classification.backbones.resnet import REGNET, RESNET
from sanmaru.tasks.image_classification.backbones.table import BACKBONES, Backbone
from sanmaru.tasks.image_classification.backbones.vit import VIT
from sanmaru.tasks.image_classification.backbones.weights import find_weights
from sanmaru.tasks.image_classification.freeze import freeze, parameter_groups
from sanmaru.training.optimizers import ParameterGroup

if TYPE_CHECKING:
    from sanmaru.tasks.image_classification.config import NetworkConfig

FAMILIES: dict[str, Family] = {
    "convnet": CONVNET,
    "convnext": CONVNEXT,
    "efficientnet": EFFICIENTNET,
    "regnet": REGNET,
    "resnet": RESNET,
    "resnext": RESNEXT,
    "vgg": VGG_FAMILY,
    "vit": VIT,
}


@dataclass(frozen=True)
class Built:
    """A network that takes normalised pictures (B, 3, H, W) and gives raw outputs (B, width)."""

    network: Network
    mean: tuple[float, ...] | None = None
    """Of the pretrained weights' own normalisation, per channel in 0..255; None to take the training set's."""
    std: tuple[float, ...] | None = None
    architecture: dict[str, Any] | None = None
    """Of pretrained weights: plain values from which `build` makes the network again without them."""
    groups: list[ParameterGroup] = field(default_factory=list)
    """Of `train_network`, where stages learn at rates of their own; else empty."""

    @property
    def stages(self) -> list[Stage]:
        """From stem to head."""
        return self.network.stages

    @property
    def explain(self) -> str:
        """`cam` or `attention`."""
        return self.network.explain

    @property
    def target_layer(self) -> nn.Module:
        """The layer that explains the network."""
        return self.network.target_layer

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def trainable(self) -> int:
        """Number of parameters that are not frozen."""
        return sum(parameter.numel() for parameter in self.network.parameters() if parameter.requires_grad)


def build(
    config: NetworkConfig, width: int, near: Iterable[Path] = (), architecture: Mapping[str, Any] | None = None
) -> Built:
    """Make a network.

    Args:
        config: Backbone, size, pretrained weights, what is frozen.
        width: Number of outputs; the head of pretrained weights is replaced.
        near: Folders in which relative `pretrained` weights are looked for, after the working folder.
        architecture: As an earlier network with pretrained weights had it; given, the weights are not asked for, since
            the caller fills in those of that network.

    Raises:
        ProjectFileError: for weights of another backbone, or an unknown stage.
        UserError: when pretrained weights cannot be had.
    """
    backbone = BACKBONES[config.backbone]
    family = FAMILIES[backbone.family]
    mean = std = None
    if config.pretrained and architecture is not None:
        model = family.remake(architecture, backbone.sizes, width)
    elif config.pretrained:
        if family.load is None:
            raise ProjectFileError(
                f"model.backbone {config.backbone!r} has no pretrained weights. Take another backbone, such as "
                "resnet-18 or vit-small, or pretrained: false."
            )
        weights = find_weights(_weights_name(config, backbone), config.backbone, near)
        model = family.load(weights, backbone.sizes, width)
        mean, std = weights.normalisation()
    else:
        model = family.make(backbone.sizes, width, config.image_size)
    family.fit(model, config.image_size)
    family.dropout(model, config.dropout)
    network = family.network(model)
    if config.head_init == "xavier":
        nn.init.xavier_uniform_(network.head.weight)
        nn.init.zeros_(network.head.bias)
    freeze(network, config.freeze)
    groups = parameter_groups(network, config.layer_decay) if config.layer_decay < 1 else []
    return Built(network, mean, std, family.architecture(model) if config.pretrained else None, groups)


def _weights_name(config: NetworkConfig, backbone: Backbone) -> str:
    usual = backbone.hub_name(config.image_size)
    assert usual is not None, "a family with pretrained weights names some"
    return usual if config.pretrained is True else str(config.pretrained)
