import pytest
import torch
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from sanmaru.networks.resnext import ResNeXt

LAYERS = {"conv1": "layer.0.convolution", "bn1": "layer.0.normalization"}
LAYERS |= {"conv2": "layer.1.convolution", "bn2": "layer.1.normalization"}
LAYERS |= {"conv3": "layer.2.convolution", "bn3": "layer.2.normalization"}
LAYERS |= {"downsample.0": "shortcut.convolution", "downsample.1": "shortcut.normalization"}
STEM = {"conv1": "convolution", "bn1": "normalization"}


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = ResNeXt(1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_028_904


def test_with_one_group_of_64_channels_it_is_resnet_50() -> None:
    torch.manual_seed(0)
    depths = (2, 1, 1, 2)
    reference = ResNetForImageClassification(ResNetConfig(depths=list(depths), num_labels=5)).eval()
    for module in reference.modules():  # statistics and scales that are not 0 and 1
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    network = ResNeXt(5, depths=depths, groups=1, width=64).eval()
    theirs = reference.state_dict()
    network.load_state_dict({name: theirs[_name_there(name)] for name in network.state_dict()})
    images = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference(images).logits, atol=1e-4, rtol=1e-4)


def _name_there(name: str) -> str:
    """`layer2.0.conv3.weight` is `resnet.encoder.stages.1.layers.0.layer.2.convolution.weight` there."""
    layer, _, kind = name.rpartition(".")
    if layer == "fc":
        return f"classifier.1.{kind}"
    if layer in STEM:
        return f"resnet.embedder.embedder.{STEM[layer]}.{kind}"
    stage, place, inner = layer.split(".", 2)
    return f"resnet.encoder.stages.{int(stage[-1]) - 1}.layers.{place}.{LAYERS[inner]}.{kind}"


def test_groups_do_not_see_each_other() -> None:
    network = ResNeXt(2, depths=(1, 1, 1, 1), groups=4, width=2)
    convolution = network.layer1[0].conv2
    assert convolution.groups == 4  # type: ignore[union-attr]
    x = torch.zeros(1, 8, 3, 3)
    x[:, :2] = 1  # the first group only
    out: Tensor = convolution(x)  # type: ignore[operator]
    assert out[:, :2].abs().sum() > 0
    assert out[:, 2:].abs().sum() == 0


@pytest.mark.parametrize(("stem", "side"), [((3, 1, False), 4), ((3, 2, False), 2), ((7, 2, True), 1)])
def test_the_stem_decides_how_much_is_left(stem: tuple[int, int, bool], side: int) -> None:
    network = ResNeXt(3, depths=(1, 1, 1, 1), groups=2, width=2, stem=stem)
    x = network.maxpool(network.relu(network.bn1(network.conv1(torch.randn(2, 3, 32, 32)))))
    assert network.layer4(network.layer3(network.layer2(network.layer1(x)))).shape[-1] == side
