import pytest
import torch
from torch import nn

from sanmaru.training.average import Average, decay_of


def test_the_decay_warms_up() -> None:
    assert [decay_of(0.5, step) for step in range(3)] == pytest.approx([2 / 11, 3 / 12, 4 / 13])
    assert decay_of(0.5, 10**6) == 0.5


def test_the_average_is_its_recursion_for_weights_and_running_statistics() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = Average(network, 0.9)
    expected = {name: value.clone().double() for name, value in network.state_dict().items()}
    for step in range(30):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter += torch.randn_like(parameter)
        network(torch.randn(6, 3))  # moves the running statistics
        average.update(network, step)
        decay = min(0.9, (2 + step) / (11 + step))
        for name, value in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
    for name, value in average.network.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name].double(), rtol=1e-5, atol=1e-6)


def test_the_average_is_apart_from_the_network_and_does_not_learn() -> None:
    network = nn.Linear(2, 2)
    average = Average(network, 0.9)
    before = average.network.weight.clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        network.weight += 1
    assert torch.equal(average.network.weight, before)  # type: ignore[arg-type]
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    assert not average.network.training
