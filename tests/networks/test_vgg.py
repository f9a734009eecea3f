import pytest
import torch
from torch import nn
from torch.nn import functional

from sanmaru.networks.vgg import VGG, average_to

TINY = ((4, 4), (8,), (8,))


@pytest.mark.parametrize(("batch_norm", "parameters"), [(False, 138_357_544), (True, 138_365_992)])
def test_it_has_the_published_number_of_parameters(batch_norm: bool, parameters: int) -> None:
    with torch.device("meta"):
        network = VGG(1000, batch_norm=batch_norm)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_layers_stand_where_published_weights_have_them() -> None:
    with torch.device("meta"):
        plain, normed = VGG(1000), VGG(1000, batch_norm=True)
    # torchvision's configuration "D": 13 convolutions and 5 poolings, then 3 linear layers.
    convolutions = [place for place, layer in enumerate(plain.features) if isinstance(layer, nn.Conv2d)]
    assert convolutions == [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert [p for p, layer in enumerate(plain.features) if isinstance(layer, nn.MaxPool2d)] == [4, 9, 16, 23, 30]
    assert [p for p, layer in enumerate(normed.features) if isinstance(layer, nn.MaxPool2d)] == [6, 13, 23, 33, 43]
    assert [p for p, layer in enumerate(plain.classifier) if isinstance(layer, nn.Linear)] == [0, 3, 6]
    assert plain.classifier[0].in_features == 25_088


@pytest.mark.parametrize("side", [1, 2, 5, 7, 8, 12, 14])
def test_averaging_to_a_size_is_adaptive_pooling(side: int) -> None:
    maps = torch.randn(2, 3, side, side)
    torch.testing.assert_close(average_to(maps, 7), functional.adaptive_avg_pool2d(maps, 7))


@pytest.mark.parametrize("size", [8, 9, 31, 64, 300])
def test_any_size_gives_logits(size: int) -> None:
    network = VGG(3, size, blocks=TINY, dense=16)
    assert network.side <= 7
    assert network(torch.randn(2, 3, size, size)).shape == (2, 3)


def test_pooling_ends_before_nothing_is_left() -> None:
    assert VGG(3, 8, blocks=TINY, dense=16).side == 2
    assert VGG(3, 32, blocks=TINY, dense=16).side == 4


def test_signals_keep_their_size_on_the_way() -> None:
    torch.manual_seed(0)
    network = VGG(3, 16, blocks=TINY, dense=512)
    x = network.features(torch.randn(64, 3, 16, 16)).flatten(1)
    for layer in network.classifier[:-1]:
        before, x = x, layer(x)
        if isinstance(layer, nn.Linear):
            # half of the variance goes at each rectifier and comes back at each linear layer
            assert 0.3 < x.square().mean() / (2 * before.square().mean()) < 3


def test_dropout_follows_each_hidden_layer() -> None:
    network = VGG(3, 16, blocks=TINY, dense=16, dropout=0.5)
    assert [type(layer).__name__ for layer in network.classifier] == ["Linear", "ReLU", "Dropout"] * 2 + ["Linear"]
