"""The backbones that are written in `sanmaru.networks`: the small convnet, ResNeXt and VGG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from sanmaru.networks.convnet import ConvNet
from sanmaru.networks.resnext import ResNeXt
from sanmaru.networks.vgg import VGG
from sanmaru.tasks.image_classification.backbones.family import Family, nothing_to_fit
from sanmaru.tasks.image_classification.backbones.network import Network
from sanmaru.tasks.image_classification.backbones.resnet import resnet_stem
from sanmaru.tasks.image_classification.backbones.weights import Weights, fill


def _make_convnet(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    return ConvNet(classes, image_size, **sizes)


def _make_resnext(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    return ResNeXt(classes, stem=resnet_stem(image_size), **sizes)


def _make_vgg(sizes: Mapping[str, Any], classes: int, image_size: int) -> nn.Module:
    return VGG(classes, image_size, **sizes)


def _load_resnext(weights: Weights, sizes: Mapping[str, Any], classes: int) -> nn.Module:
    model = ResNeXt(classes, **sizes)
    fill(model, weights.tensors(), head="fc", weights=weights)
    return model


def _load_vgg(weights: Weights, sizes: Mapping[str, Any], classes: int) -> nn.Module:
    model = VGG(classes, **sizes)
    fill(model, _as_torchvision(weights.tensors()), head="classifier.6", weights=weights)
    return model


_TIMM = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}


def _as_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the linear layers of VGG, which timm keeps as convolutions, torchvision's names and shapes."""
    found = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        found[f"{_TIMM.get(layer, layer)}.{kind}"] = tensor.flatten(1) if layer in _TIMM and tensor.ndim > 1 else tensor
    return found


def _convnet_network(model: ConvNet) -> Network:
    return Network(
        model, body=_slices(model.features, model.block_ends), head=model.classifier, target_layer=model.features
    )


def _resnext_network(model: ResNeXt) -> Network:
    stages = [[model.layer1], [model.layer2], [model.layer3], [model.layer4]]
    return Network(model, body=[[model.conv1, model.bn1], *stages], head=model.fc, target_layer=model.layer4)


def _vgg_network(model: VGG) -> Network:
    """The first block is the stem, the others stages, the two hidden linear layers the last stage."""
    blocks = _slices(model.features, model.block_ends)
    head = model.classifier[-1]
    assert isinstance(head, nn.Linear)
    # Before the last pooling, which halves what the map can show.
    last = [layer for layer in model.features if not isinstance(layer, nn.MaxPool2d)][-1]
    return Network(model, body=[*blocks, list(model.classifier)[:-1]], head=head, target_layer=last)


def _slices(layers: nn.Sequential, ends: Iterable[int]) -> list[list[nn.Module]]:
    all_layers, ends = list(layers), list(ends)
    return [all_layers[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _dropout(model: nn.Module, dropout: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout


def _family(make: Any, load: Any, network: Any) -> Family:
    """Of pretrained weights the architecture is the original, that of 224 pixels: nothing else is to be kept."""
    return Family(
        make=make,
        load=load,
        remake=lambda _architecture, sizes, classes: make(sizes, classes, 224),
        fit=nothing_to_fit,
        network=network,
        dropout=_dropout,
        architecture=lambda _model: {},
    )


CONVNET = _family(_make_convnet, None, _convnet_network)
RESNEXT = _family(_make_resnext, _load_resnext, _resnext_network)
VGG_FAMILY = _family(_make_vgg, _load_vgg, _vgg_network)
