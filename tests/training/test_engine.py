"""What the parts of the engine do together: accumulation, averaging, memory, resuming, time."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sanmaru.errors import UserError
from sanmaru.networks.convnet import ConvNet
from sanmaru.tasks.base import FitContext
from sanmaru.training.batches import ImageBatches
from sanmaru.training.bottleneck import bottleneck_line, time_shares
from sanmaru.training.config import TrainConfig
from sanmaru.training.loop import Trained, train_network
from sanmaru.training.losses import CrossEntropy, make_loss

Bars = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeContext = Callable[..., FitContext]
NORM: dict[str, Any] = {"mean": (80.0,) * 3, "std": (60.0,) * 3}


class TooLarge(CrossEntropy):
    """A loss for which memory does not hold more than so many rows."""

    def __init__(self, most: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "no memory") -> None:
        super().__init__()
        self.most, self.error, self.text = most, error, text
        self.sizes: list[int] = []

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        if torch.is_grad_enabled():
            self.sizes.append(len(outputs))
            if len(outputs) > self.most:
                raise self.error(self.text)
        return super().forward(outputs, labels, weights)


def plain() -> nn.Module:
    """Without batch norm, so that parts of a batch give what the whole gives; with dropout, which draws."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(24, 2)
    )


def fit(
    bars: Bars,
    context: FitContext,
    with_loss: nn.Module | None = None,
    network: Callable[[], nn.Module] = plain,
    in_step: Callable[[int, int], None] | None = None,
    **options: object,
) -> tuple[nn.Module, Trained]:
    config = TrainConfig.model_validate({"epochs": 3, "batch_size": 16, "augment": ["hflip"], **options})
    images, labels = bars(60)
    others, other_labels = bars(24, 1)
    torch.manual_seed(0)
    model = network()
    trained = train_network(
        model,
        ImageBatches(images, np.arange(60), labels, augmentations=config.augment, **NORM),
        ImageBatches(others, np.arange(24), other_labels, **NORM),
        loss=with_loss or make_loss(config.loss, labels, 2),
        config=config,
        context=context,
        identity={"epochs": config.epochs},
        in_step=in_step,
    )
    return model, trained


def close(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.allclose(value, other[name], rtol=1e-4, atol=1e-6) for name, value in a.state_dict().items())


def same(a: nn.Module, b: nn.Module) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())


def notes(context: FitContext) -> list[str]:
    lines = map(json.loads, (context.folder / "events.jsonl").read_text().splitlines())
    return [event["text"] for event in lines if event["kind"] == "note"]


def without_dropout() -> nn.Module:
    return nn.Sequential(*(layer for layer in plain() if not isinstance(layer, nn.Dropout)))  # type: ignore[attr-defined]


def test_accumulated_batches_are_one_large_batch(bars: Bars, context: MakeContext) -> None:
    # 60 rows in steps of 32: two steps of 30, each in parts.
    large, _ = fit(bars, context("a"), network=without_dropout, batch_size=32)
    parts, _ = fit(bars, context("b"), network=without_dropout, batch_size=8, accumulate=4)
    assert close(large, parts)
    small, _ = fit(bars, context("c"), network=without_dropout, batch_size=8)
    assert not close(large, small)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 20 MiB"),
        (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_a_batch_that_memory_does_not_hold_is_halved_and_nothing_else_changes(
    bars: Bars, context: MakeContext, error: type[Exception], text: str
) -> None:
    here = context("a")
    loss = TooLarge(8, error, text)
    halved, trained = fit(bars, here, loss, batch_size=32)
    by_hand, _ = fit(bars, context("b"), batch_size=8, accumulate=4)
    assert same(halved, by_hand)
    assert trained.batch_size == 8
    # Both halvings happen in the first step; from then on no batch is too large.
    assert [size for size in loss.sizes if size > 8] == [30, 15]
    told = notes(here)
    assert told[0] == (
        "memory does not hold 30 rows at once: going on with 16, gradients accumulated; a step still sees 32 rows"
    )
    assert "going on with 8" in told[1]


def test_a_step_larger_than_the_data_is_told_of(bars: Bars, context: MakeContext) -> None:
    here = context()
    fit(bars, here, epochs=1, accumulate=10)
    assert notes(here)[0] == "a step would see 160 rows and there are 60: an epoch is one step"


def test_memory_that_runs_out_later_spoils_nothing(bars: Bars, context: MakeContext) -> None:
    loss = TooLarge(99)

    def less_memory(epoch: int, step: int) -> None:
        if (epoch, step) == (2, 0):
            loss.most = 8

    late, _ = fit(bars, context("a"), loss, without_dropout, less_memory)
    undisturbed, _ = fit(bars, context("b"), network=without_dropout)
    assert close(late, undisturbed)


def test_the_smaller_batch_is_kept_by_a_resumed_fit(bars: Bars, context: MakeContext) -> None:
    whole, _ = fit(bars, context("whole"), TooLarge(8), batch_size=32)
    fit(bars, context("parts", deadline_s=time.monotonic()), TooLarge(8), batch_size=32)
    loss = TooLarge(8)
    again, trained = fit(bars, context("parts", resume=True), loss, batch_size=32)
    assert same(whole, again)
    assert max(loss.sizes) <= 8
    assert trained.batch_size == 8


def test_a_row_that_memory_does_not_hold_ends_the_fit(bars: Bars, context: MakeContext) -> None:
    with pytest.raises(UserError, match="memory does not hold a single row of a batch"):
        fit(bars, context(), TooLarge(0))


def test_any_other_error_is_passed_on(bars: Bars, context: MakeContext) -> None:
    with pytest.raises(RuntimeError, match="something else"):
        fit(bars, context(), TooLarge(4, RuntimeError, "something else"))


def test_evaluation_that_memory_does_not_hold_goes_in_halves(bars: Bars, context: MakeContext) -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = without_dropout()

        def forward(self, images: Tensor) -> Tensor:
            if not self.training and len(images) > 5:
                raise torch.OutOfMemoryError("no memory")
            out: Tensor = self.inside(images)
            return out

    _, halved = fit(bars, context("a"), network=Small)
    _, whole = fit(bars, context("b"), network=without_dropout)
    assert halved.best_value == whole.best_value


def test_the_average_of_the_weights_is_what_is_kept(bars: Bars, context: MakeContext) -> None:
    seen: list[float] = []
    kept, trained = fit(bars, context("a"), ema=0.9, selection="none", early_stopping=None, epochs=4)
    raw, _ = fit(bars, context("b"), selection="none", early_stopping=None, epochs=4)
    assert not close(kept, raw)
    assert trained.best_epoch == 4

    # The same by hand, from the weights after every step.
    weights: list[dict[str, Tensor]] = []
    config = {"selection": "none", "early_stopping": None, "epochs": 4}
    model: list[nn.Module] = []

    def network() -> nn.Module:
        model.append(plain())
        weights.append({name: value.clone() for name, value in model[0].state_dict().items()})
        return model[0]

    def watch(epoch: int, step: int) -> None:
        weights.append({name: value.clone() for name, value in model[0].state_dict().items()})
        seen.append(step)

    fit(bars, context("c"), network=network, in_step=watch, **config)
    assert len(seen) == 16
    expected = weights[0]
    for t, now in enumerate(weights[1:], start=1):
        decay = min(0.9, (1 + t) / (10 + t))
        expected = {name: decay * value + (1 - decay) * now[name] for name, value in expected.items()}
    for name, value in kept.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


TOGETHER: dict[str, object] = {
    "epochs": 8,
    "batch_size": 8,
    "accumulate": 2,
    "ema": 0.95,
    "schedule": {"kind": "warm-restarts", "first": 2, "multiplier": 2},
    "augment": ["hflip", {"rotate": 10}],
    "early_stopping": {"patience": 3},
    "learning_rate": 3e-3,
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "one-cycle", "optimizer": "sgd", "loss": {"kind": "focal", "class_weights": "balanced"}},
        {"schedule": "step", "optimizer": "adam", "precision": "bf16", "loss": "soft-macro-f1"},
    ],
)
def test_everything_on_and_killed_in_every_epoch_gives_the_bits_of_one_fit(
    bars: Bars, context: MakeContext, options: dict[str, object]
) -> None:
    settings = {**TOGETHER, **options}

    def network() -> nn.Module:
        return ConvNet(2, 8, width=4, dropout=0.2)

    whole, trained = fit(bars, context("whole"), network=network, **settings)
    # Killed in the middle of every epoch but the first, again and again, until it is through.
    for turn in range(trained.epochs - 1):
        with pytest.raises(KeyboardInterrupt):
            fit(bars, context("parts", resume=True), network=network, in_step=_killed_in(turn + 2), **settings)
    again, repeated = fit(bars, context("parts", resume=True), network=network, **settings)
    assert same(whole, again)
    assert (repeated.stopped, repeated.epochs, repeated.best_epoch, repeated.best_value) == (
        trained.stopped,
        trained.epochs,
        trained.best_epoch,
        trained.best_value,
    )


def _killed_in(which: int) -> Callable[[int, int], None]:
    def stop(epoch: int, step: int) -> None:
        if (epoch, step) == (which, 1):
            raise KeyboardInterrupt

    return stop


def test_a_deadline_ends_the_fit_with_the_best_so_far(bars: Bars, context: MakeContext) -> None:
    _, trained = fit(bars, context(deadline_s=time.monotonic()), **TOGETHER)
    assert (trained.stopped, trained.epochs, trained.best_epoch) == ("deadline", 1, 1)


def test_half_precision_on_a_cpu_is_refused_before_training(bars: Bars, context: MakeContext) -> None:
    with pytest.raises(UserError, match="fp16, which needs a GPU"):
        fit(bars, context(), precision="fp16")


@pytest.mark.parametrize("kind", ["focal", "soft-macro-f1", "binary-cross-entropy", "logit-adjustment"])
def test_every_loss_learns_the_bars(bars: Bars, context: MakeContext, kind: str) -> None:
    def network() -> nn.Module:
        return ConvNet(2, 8, width=8)

    loss = make_loss(TrainConfig.model_validate({"loss": kind}).loss, bars(60)[1], 2)
    _, trained = fit(bars, context(), loss, network, epochs=10, learning_rate=5e-3)
    assert trained.best_value is not None
    assert trained.best_value > 0.85


def test_frozen_modules_keep_their_running_statistics(bars: Bars, context: MakeContext) -> None:
    def network() -> nn.Module:
        model = ConvNet(2, 8, width=4)
        norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
        norm.frozen = True  # type: ignore[assignment]
        norm.requires_grad_(False)
        return model

    model, _ = fit(bars, context(), network=network)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms[0].running_mean is not None
    assert norms[1].running_mean is not None
    assert not norms[0].running_mean.any()
    assert norms[1].running_mean.any()


def test_the_line_names_the_bottleneck(bars: Bars, context: MakeContext) -> None:
    here = context()
    _, trained = fit(bars, here)
    line = trained.honest["bottleneck"]
    assert line.startswith("bottleneck: ")
    assert notes(here)[-1] == line
    assert sum(trained.honest["time_shares"].values()) == pytest.approx(1, abs=2e-3)
    assert {"step", "gather", "augment", "evaluation", "logging", "measuring", "decode"} <= set(
        trained.honest["time_shares"]
    )


def test_shares_of_the_fit_divide_the_training_by_the_measured_steps() -> None:
    spent = {"decode": 10.0, "training": 80.0, "measuring": 2.0, "evaluation": 6.0, "logging": 2.0}
    shares = time_shares(spent, {"step": 0.75, "augment": 0.25})
    assert shares == {
        "step": 0.6,
        "augment": 0.2,
        "decode": 0.1,
        "evaluation": 0.06,
        "measuring": 0.02,
        "logging": 0.02,
    }
    assert next(iter(shares)) == "step"
    assert time_shares(spent, {})["step"] == 0.8
    assert time_shares({}, {}) == {}
    assert bottleneck_line({}, {}) == ""
    assert (
        bottleneck_line({"decode": 0.7, "step": 0.3}, {"honest_fraction": None}) == "bottleneck: decode 70 %, step 30 %"
    )


def test_mixed_pictures_train_in_parts_and_where_batches_are_empty(bars: Bars, context: MakeContext) -> None:
    mixing = {"augment": [{"mixup": {"p": 1.0}}, {"cutmix": {"p": 0.5}}]}
    loss = TooLarge(5)
    _, trained = fit(bars, context("a"), loss, **mixing)
    assert (trained.epochs, trained.batch_size) == (3, 4)
    # 60 rows are one step of 70 batches: ten of them are empty.
    _, trained = fit(bars, context("b"), epochs=1, batch_size=1, accumulate=70, **mixing)
    assert trained.epochs == 1
