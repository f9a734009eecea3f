import json
from pathlib import Path

import pytest
import torch
from torch import nn

from sanmaru.training.checkpoints import Checkpoints
from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import make_optimizer


def stepped(config: TrainConfig, steps: int, seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    optimizer = make_optimizer(network, config)
    for _ in range(steps):
        advance(network, optimizer)
    return network, optimizer


def advance(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network(torch.linspace(-1, 1, 12).reshape(4, 3)).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_restored_optimiser_takes_the_same_next_step(tmp_path: Path, name: str) -> None:
    config = TrainConfig(optimizer=name)  # type: ignore[arg-type]
    network, optimizer = stepped(config, 3)
    Checkpoints(tmp_path, {"a": 1}).save(network, optimizer, {"epoch": 3, "best_epoch": 3, "x": 0.1}, best=True)
    other, other_optimizer = stepped(config, 0, seed=9)
    state = Checkpoints(tmp_path, {"a": 1}).load(other, other_optimizer)
    assert state == {"epoch": 3, "best_epoch": 3, "x": 0.1}
    advance(network, optimizer)
    advance(other, other_optimizer)
    for key, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])


def test_a_checkpoint_of_something_else_is_not_continued(tmp_path: Path) -> None:
    network, optimizer = stepped(TrainConfig(), 1)
    assert Checkpoints(tmp_path, {"a": 1}).load(network, optimizer) is None
    Checkpoints(tmp_path, {"a": 1}).save(network, optimizer, {"epoch": 1, "best_epoch": 1}, best=True)
    assert Checkpoints(tmp_path, {"a": 2}).load(network, optimizer) is None


def test_the_best_network_is_kept_and_older_best_ones_go(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, {})
    network, optimizer = stepped(TrainConfig(), 1)
    checkpoints.save(network, optimizer, {"epoch": 1, "best_epoch": 1}, best=True)
    advance(network, optimizer)
    best = {name: value.clone() for name, value in network.state_dict().items()}
    checkpoints.save(network, optimizer, {"epoch": 2, "best_epoch": 2}, best=True)
    advance(network, optimizer)
    checkpoints.save(network, optimizer, {"epoch": 3, "best_epoch": 2}, best=False)
    assert [path.name for path in checkpoints.folder.glob("best-*")] == ["best-00002.safetensors"]
    checkpoints.load_best(network, 2)
    assert all(torch.equal(value, best[name]) for name, value in network.state_dict().items())


def test_nothing_is_pickled(tmp_path: Path) -> None:
    network, optimizer = stepped(TrainConfig(), 1)
    checkpoints = Checkpoints(tmp_path, {})
    checkpoints.save(network, optimizer, {"epoch": 1, "best_epoch": 1}, best=True)
    for path in checkpoints.folder.iterdir():
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        assert isinstance(json.loads(content[8 : 8 + length]), dict)


def test_a_network_that_is_not_contiguous_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    """Weights of pictures' networks lie channels last, and a fused step reads weights and state in storage order."""

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)

    def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (network(torch.ones(1, 3, 5, 5)) * torch.arange(36.0).reshape(1, 4, 3, 3)).sum().backward()
        network.weight.grad.mul_(torch.arange(108.0).reshape(4, 3, 3, 3))
        optimizer.step()

    network, optimizer = fresh()
    step(network, optimizer)
    Checkpoints(tmp_path, {}).save(network, optimizer, {"epoch": 1, "best_epoch": 1}, best=True)
    step(network, optimizer)
    resumed, again = fresh()
    assert Checkpoints(tmp_path, {}).load(resumed, again) is not None
    step(resumed, again)
    assert torch.equal(resumed.weight, network.weight)
