import copy
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sanmaru.training.config import LossConfig, TrainConfig
from sanmaru.training.losses import make_loss
from sanmaru.training.mix import Labels, Mixed
from sanmaru.training.optimizers import make_optimizer
from sanmaru.training.precision import Precision, pick_precision
from sanmaru.training.step import Learner, out_of_memory

RNG = np.random.default_rng(0)
INPUTS = torch.tensor(RNG.normal(size=(13, 5)), dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(0, 3, 13))
FULL = Precision("cpu", None)


def learner(config: TrainConfig, precision: Precision = FULL) -> Learner:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3))
    loss = make_loss(config.loss, LABELS.numpy(), 3)
    return Learner(network, make_optimizer(network, config), loss, precision=precision, clip=config.clip)


def gradients(parts: Iterable[tuple[Tensor, Labels]], config: TrainConfig) -> list[Tensor]:
    one = learner(config)
    one(parts, 13)
    return [p.grad for p in one.network.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    "loss",
    [
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"kind": "focal", "class_weights": "effective"},
        {"kind": "logit-adjustment"},
        {"kind": "binary-cross-entropy"},
    ],
)
@pytest.mark.parametrize("sizes", [[7, 6], [5, 4, 4], [12, 1]])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(loss: dict[str, object], sizes: list[int]) -> None:
    config = TrainConfig(loss=LossConfig.model_validate(loss), clip=0.05)
    whole = gradients([(INPUTS, LABELS)], config)
    parts = gradients(zip(INPUTS.split(sizes), LABELS.split(sizes), strict=True), config)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_mixed_labels_in_parts_have_the_gradient_of_the_whole() -> None:
    mixed = Mixed(LABELS, LABELS.flip(0), torch.tensor(RNG.random(13), dtype=torch.float32))
    config = TrainConfig(loss=LossConfig(class_weights="balanced"))
    whole = gradients([(INPUTS, mixed)], config)
    halves = [(INPUTS[at], mixed.map(lambda part, at=at: part[at])) for at in (slice(0, 8), slice(8, 13))]
    for one, other in zip(whole, gradients(halves, config), strict=True):
        torch.testing.assert_close(one, other)


def test_the_step_returns_the_sum_of_the_rows_losses() -> None:
    config = TrainConfig()
    one = learner(config)
    expected = nn.functional.cross_entropy(one.network(INPUTS), LABELS, reduction="sum").detach()
    given = one(zip(INPUTS.split(5), LABELS.split(5), strict=True), 13)
    assert float(given) == pytest.approx(float(expected))


def test_a_scaled_loss_moves_the_weights_as_a_plain_one() -> None:
    config = TrainConfig(clip=0.1)
    plain, scaled = learner(config), learner(config)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(3):
        plain([(INPUTS, LABELS)], 13)
        scaled([(INPUTS, LABELS)], 13)
    for one, other in zip(plain.network.parameters(), scaled.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_scaled_loss_that_overflows_skips_the_step_and_lowers_the_scale() -> None:
    one = learner(TrainConfig())
    one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = copy.deepcopy(one.network.state_dict())
    one([(INPUTS * 1e3, LABELS)], 13)
    assert all(torch.equal(value, before[name]) for name, value in one.network.state_dict().items())
    assert one.scaler.get_scale() == 2.0**126


def test_only_float16_scales_the_loss() -> None:
    assert not FULL.scaler().is_enabled()
    assert not Precision("cpu", torch.bfloat16).scaler().is_enabled()
    assert Precision("cpu", torch.float16).scaler().is_enabled()


def test_the_forward_pass_runs_in_the_precision_asked_for() -> None:
    with pick_precision("bf16", torch.device("cpu")).cast():
        assert (INPUTS @ INPUTS.T).dtype == torch.bfloat16
    with pick_precision("auto", torch.device("cpu")).cast():
        assert (INPUTS @ INPUTS.T).dtype == torch.float32


def test_half_precision_needs_a_gpu() -> None:
    from sanmaru.errors import UserError

    with pytest.raises(UserError, match=r"train\.precision is fp16, which needs a GPU"):
        pick_precision("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (torch.cuda.OutOfMemoryError("any text"), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_is_out(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_what_torch_says_when_a_cpu_has_no_memory_is_understood() -> None:
    with pytest.raises(RuntimeError, match="memory") as caught:
        torch.empty(2**50)
    assert out_of_memory(caught.value)
