import pytest
import torch
from torch import nn

from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import learning_rate, make_optimizer, set_learning_rate


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_weights_decay(name: str) -> None:
    model = network()
    optimizer = make_optimizer(model, TrainConfig(optimizer=name, weight_decay=0.1))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for parameter_name, parameter in model.named_parameters():
        expected = 0.1 if parameter_name in ("0.weight", "3.weight") else 0.0
        assert decay[id(parameter)] == expected
    assert len(decay) == len(list(model.parameters()))


def test_sgd_runs_with_nesterovs_momentum() -> None:
    optimizer = make_optimizer(network(), TrainConfig(optimizer="sgd", momentum=0.8))
    assert optimizer.defaults["nesterov"] is True
    assert optimizer.defaults["momentum"] == 0.8
    assert make_optimizer(network(), TrainConfig(optimizer="sgd", momentum=0)).defaults["nesterov"] is False


def test_the_rate_rises_and_falls_along_a_cosine() -> None:
    config = TrainConfig(learning_rate=0.1, warmup=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.01 * (i + 1) for i in range(10)])
    # torch's own cosine, over the steps after the warm-up.
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
    for rate in rates[10:]:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        schedule.step()


def test_a_constant_rate_stays() -> None:
    config = TrainConfig(schedule="constant", warmup=0, learning_rate=0.2)
    assert {learning_rate(config, step, 7) for step in range(7)} == {0.2}


def test_every_group_gets_the_rate() -> None:
    optimizer = make_optimizer(network(), TrainConfig())
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
