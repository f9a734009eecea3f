import pytest
import torch
from torch import nn

from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import ParameterGroup, make_optimizer, set_rates


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


def test_adam_and_adamw_take_their_settings() -> None:
    config = TrainConfig(optimizer="adam", betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    adam = make_optimizer(network(), config)
    assert type(adam) is torch.optim.Adam
    assert (adam.defaults["betas"], adam.defaults["eps"]) == ((0.8, 0.95), 1e-6)
    assert type(make_optimizer(network(), TrainConfig())) is torch.optim.AdamW


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_a_step_is_that_of_torchs_plain_optimiser(name: str) -> None:
    config = TrainConfig(optimizer=name, weight_decay=0.1, learning_rate=0.05)  # type: ignore[arg-type]
    ours, plain = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    plain.load_state_dict(ours.state_dict())
    reference: torch.optim.Optimizer = {
        "adamw": lambda: torch.optim.AdamW(plain.parameters(), lr=0.05, weight_decay=0.1),
        "adam": lambda: torch.optim.Adam(plain.parameters(), lr=0.05, weight_decay=0.1),
        "sgd": lambda: torch.optim.SGD(plain.parameters(), lr=0.05, weight_decay=0.1, momentum=0.9, nesterov=True),
    }[name]()
    optimizer = make_optimizer(ours, config)
    for seed in range(4):
        inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
        for model, which in ((ours, optimizer), (plain, reference)):
            which.zero_grad()
            model(inputs).square().sum().backward()
            which.step()
    torch.testing.assert_close(ours.weight, plain.weight)


def test_every_group_gets_the_rate_times_its_scale() -> None:
    groups = [ParameterGroup(("0.weight", "0.bias"), 0.1)]
    optimizer = make_optimizer(network(), TrainConfig(), groups)
    set_rates(optimizer, 0.5, None)
    rates = {len(group["params"]): group["lr"] for group in optimizer.param_groups if group["scale"] != 1}
    assert set(rates.values()) == {0.05}
    assert sorted({group["lr"] for group in optimizer.param_groups}) == [0.05, 0.5]


def test_a_schedules_momentum_reaches_sgd_and_adam() -> None:
    sgd, adam = (make_optimizer(network(), TrainConfig(optimizer=name)) for name in ("sgd", "adamw"))
    set_rates(sgd, 0.1, 0.87)
    set_rates(adam, 0.1, 0.87)
    assert {group["momentum"] for group in sgd.param_groups} == {0.87}
    assert {group["betas"] for group in adam.param_groups} == {(0.87, 0.999)}


def test_frozen_parameters_are_left_out_and_nothing_to_learn_is_an_error() -> None:
    model = network()
    model[0].requires_grad_(False)
    held = {id(p) for group in make_optimizer(model, TrainConfig()).param_groups for p in group["params"]}
    assert id(model[0].weight) not in held
    assert id(model[3].weight) in held
    with pytest.raises(ValueError, match="every parameter of the network is frozen"):
        make_optimizer(model.requires_grad_(False), TrainConfig())


def test_groups_name_each_parameter_once() -> None:
    with pytest.raises(ValueError, match=r"names 'head\.weight', which the network does not have"):
        make_optimizer(network(), TrainConfig(), [ParameterGroup(("head.weight",), 0.5)])
    twice = [ParameterGroup(("0.weight",), 0.5), ParameterGroup(("0.weight",), 0.1)]
    with pytest.raises(ValueError, match=r"two parameter groups name '0\.weight'"):
        make_optimizer(network(), TrainConfig(), twice)
