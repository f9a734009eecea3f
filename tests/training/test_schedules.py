from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim import lr_scheduler

from sanmaru.training.config import TrainConfig
from sanmaru.training.schedules import learning_rate, momentum

EPOCHS, PER_EPOCH = 12, 7
TOTAL = EPOCHS * PER_EPOCH


def rates(schedule: Any, warmup: float = 0.0) -> list[float]:
    config = TrainConfig.model_validate({"schedule": schedule, "epochs": EPOCHS})
    return [
        learning_rate(config.schedule, 0.1, step, total=TOTAL, epochs=EPOCHS, warmup=warmup) for step in range(TOTAL)
    ]


def torchs(make: Any, steps: int = TOTAL, every: int = 1) -> list[float]:
    """The rates of torch's own schedule, stepped after each `every` steps."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    schedule = make(optimizer)
    out = []
    for step in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0:
            schedule.step()
    return out


def test_a_constant_rate_stays() -> None:
    assert set(rates("constant")) == {0.1}


def test_the_cosine_is_torchs_after_the_warm_up() -> None:
    given = rates({"kind": "cosine", "floor": 0.1}, warmup=1 / 6)
    assert given[:14] == pytest.approx([0.1 * (step + 1) / 14 for step in range(14)])
    expected = torchs(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=TOTAL - 14, eta_min=0.01), TOTAL - 14)
    assert given[14:] == pytest.approx(expected, abs=1e-9)


def test_milestones_are_torchs() -> None:
    expected = torchs(lambda o: lr_scheduler.MultiStepLR(o, [3, 8], gamma=0.2), every=PER_EPOCH)
    assert rates({"kind": "step", "milestones": [3, 8], "gamma": 0.2}) == pytest.approx(expected)


def test_steps_of_equal_length_are_torchs() -> None:
    expected = torchs(lambda o: lr_scheduler.StepLR(o, 5, gamma=0.5), every=PER_EPOCH)
    assert rates({"kind": "step", "every": 5, "gamma": 0.5}) == pytest.approx(expected)
    # A third of the epochs, where nothing is said.
    assert rates("step") == pytest.approx(torchs(lambda o: lr_scheduler.StepLR(o, 4), every=PER_EPOCH))


@pytest.mark.parametrize(("first", "multiplier"), [(3, 1), (2, 2), (1, 3), (20, 2)])
def test_warm_restarts_are_torchs(first: int, multiplier: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> Any:
        return lr_scheduler.CosineAnnealingWarmRestarts(
            optimizer, T_0=first * PER_EPOCH, T_mult=multiplier, eta_min=0.005
        )

    given = rates({"kind": "warm-restarts", "first": first, "multiplier": multiplier, "floor": 0.05})
    assert given == pytest.approx(torchs(make), abs=1e-9)


def test_restarts_may_grow_by_a_fraction() -> None:
    given = rates({"kind": "warm-restarts", "first": 2, "multiplier": 1.5})
    # Cosines of 2, 3 and 4.5 epochs begin after 0, 2 and 5 epochs.
    assert [step for step in range(TOTAL) if given[step] == pytest.approx(0.1)] == [0, 14, 35]


@pytest.mark.parametrize("rise", [0.3, 0.05])
def test_one_cycle_is_torchs_rate_and_momentum(rise: float) -> None:
    config = TrainConfig.model_validate({"schedule": {"kind": "one-cycle", "rise": rise}, "epochs": EPOCHS})
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=TOTAL, pct_start=rise)
    for step, rate in enumerate(rates(config.schedule.model_dump())):
        group = optimizer.param_groups[0]
        assert rate == pytest.approx(group["lr"], abs=1e-9)
        assert momentum(config.schedule, step, total=TOTAL) == pytest.approx(group["momentum"])
        optimizer.step()
        if step < TOTAL - 1:
            schedule.step()


def test_only_one_cycle_moves_the_momentum() -> None:
    for kind in ("constant", "step", "cosine", "warm-restarts"):
        config = TrainConfig.model_validate({"schedule": kind})
        assert momentum(config.schedule, 3, total=10) is None
    still = TrainConfig.model_validate({"schedule": {"kind": "one-cycle", "momentum": None}})
    assert momentum(still.schedule, 3, total=10) is None


def test_a_single_step_has_the_full_rate() -> None:
    for kind in ("constant", "step", "cosine", "warm-restarts", "one-cycle"):
        config = TrainConfig.model_validate({"schedule": kind, "epochs": 1})
        assert learning_rate(config.schedule, 0.1, 0, total=1, epochs=1, warmup=0) == pytest.approx(0.1)


def test_one_cycle_rises_by_itself_and_others_warm_up() -> None:
    assert TrainConfig().warmup_fraction == 0.05
    assert TrainConfig.model_validate({"schedule": "one-cycle"}).warmup_fraction == 0
    assert TrainConfig(warmup=0.2).warmup_fraction == 0.2


def test_a_config_survives_json() -> None:
    for schedule in ("one-cycle", {"kind": "step", "milestones": [2, 5]}, {"kind": "warm-restarts", "first": 3}):
        config = TrainConfig.model_validate({"schedule": schedule})
        assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "one-cycle", "warmup": 0.1}, "cannot go with `schedule: one-cycle`"),
        ({"schedule": {"kind": "step", "milestones": [3, 20]}}, "milestone 20 is never reached"),
        ({"schedule": {"kind": "step", "milestones": [5, 3]}}, "milestones must rise"),
        ({"schedule": {"kind": "step", "milestones": [3], "every": 2}}, "`milestones` or `every`, not both"),
        ({"schedule": {"kind": "one-cycle", "momentum": [0.9, 0.8]}}, r"momentum must be \[least, most\]"),
        ({"precision": "fp16", "device": "cpu"}, "needs a GPU"),
        ({"devices": 2, "device": "cuda:0"}, "both say where to train"),
        ({"devices": ["cuda:0", "cuda:0"]}, "names a device twice"),
        ({"devices": ["cuda:0", "cpu"]}, "must be of one kind"),
        ({"devices": []}, "names no device"),
    ],
)
def test_what_does_not_go_together_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainConfig.model_validate(given)
