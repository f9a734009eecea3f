import pytest
import torch

from sanmaru.networks.convnet import ConvNet


@pytest.mark.parametrize("size", [8, 9, 16, 28, 48, 64, 100])
def test_any_size_gives_logits_and_a_small_last_map(size: int) -> None:
    network = ConvNet(5, size, width=4)
    images = torch.randn(2, 3, size, size)
    assert network(images).shape == (2, 5)
    assert 2 <= network.features(images).shape[-1] <= 4


def test_every_parameter_gets_a_gradient() -> None:
    network = ConvNet(3, 16, width=4)
    network(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_channels_stop_at_the_widest() -> None:
    assert ConvNet(2, 128, width=32, max_width=64).classifier.in_features == 64


def test_dropout_acts_in_training_only() -> None:
    network = ConvNet(2, 8, width=4, dropout=0.9)
    images = torch.randn(4, 3, 8, 8)
    network.eval()
    assert torch.equal(network(images), network(images))
