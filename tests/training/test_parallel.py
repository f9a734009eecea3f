import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sanmaru.errors import UserError
from sanmaru.tasks.base import FitContext
from sanmaru.training.batches import ImageBatches
from sanmaru.training.config import TrainConfig
from sanmaru.training.lent import LentArray, lend
from sanmaru.training.loop import Trained, train_network
from sanmaru.training.losses import make_loss
from sanmaru.training.parallel import pick_devices

Bars = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeContext = Callable[..., FitContext]
NORM: dict[str, Any] = {"mean": (80.0,) * 3, "std": (60.0,) * 3}


def fit(
    bars: Bars, context: FitContext, with_loss: nn.Module | None = None, **options: object
) -> tuple[nn.Module, Trained]:
    config = TrainConfig.model_validate({"epochs": 3, "augment": ["hflip", {"rotate": 10}], **options})
    images, labels = bars(64)
    others, other_labels = bars(24, 1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 2))
    trained = train_network(
        network,
        ImageBatches(images, np.arange(64), labels, augmentations=config.augment, **NORM),
        ImageBatches(others, np.arange(24), other_labels, **NORM),
        loss=with_loss or make_loss(config.loss, labels, 2),
        config=config,
        context=context,
        identity={},
    )
    return network, trained


@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(bars: Bars, context: MakeContext) -> None:
    shared: dict[str, object] = {"ema": 0.9, "loss": {"class_weights": "balanced"}, "accumulate": 2}
    one, alone = fit(bars, context("one"), batch_size=16, **shared)
    two, crew = fit(bars, context("two"), batch_size=8, devices=["cpu", "cpu"], **shared)
    for name, value in two.state_dict().items():
        torch.testing.assert_close(value, one.state_dict()[name], rtol=1e-4, atol=1e-6)
    assert crew.best_value == alone.best_value
    curves = [
        [event["train_loss"] for event in map(json.loads, path.read_text().splitlines()) if event["kind"] == "metrics"]
        for path in sorted(context("one").folder.parent.glob("*/events.jsonl"))
    ]
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-5)


class NotToBeSent(nn.Module):
    """A loss that no other process can make."""

    def __deepcopy__(self, memo: dict[int, object]) -> "NotToBeSent":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


@pytest.mark.slow
def test_a_process_that_fails_is_told_of(bars: Bars, context: MakeContext) -> None:
    with pytest.raises(RuntimeError, match=r"training on cpu failed: ValueError: invalid literal"):
        fit(bars, context(), with_loss=NotToBeSent(), devices=["cpu", "cpu"])


def test_as_many_devices_as_asked_for() -> None:
    assert [device.type for device in pick_devices(TrainConfig(devices=3))] == ["cpu"] * 3
    assert [str(device) for device in pick_devices(TrainConfig())] == ["cpu"]
    assert [str(device) for device in pick_devices(TrainConfig(device="cuda:1"), "cpu")] == ["cuda:1"]
    with pytest.raises(UserError, match=r"train\.devices asks for cuda:98, cuda:99, and this machine has"):
        pick_devices(TrainConfig(devices=("cuda:98", "cuda:99")))


def test_a_mapped_file_is_opened_again_and_a_part_of_it_is_sent(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.int32).reshape(4, 6)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="c")
    gone = pickle.loads(pickle.dumps(lend(mapped)))
    assert isinstance(gone, LentArray)
    np.testing.assert_array_equal(gone.open(), values)
    part = lend(mapped[1:3])
    assert not isinstance(part, LentArray)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)), values[1:3])
    assert lend(values) is values


def test_lent_batches_are_the_same_batches(bars: Bars) -> None:
    images, labels = bars(10)
    weights = np.full(10, 0.1)
    ours = ImageBatches(images, np.arange(10), labels, augmentations=[{"rotate": 5.0}], weights=weights, **NORM)
    theirs = pickle.loads(pickle.dumps(ours.lend())).open(torch.device("cpu"))
    taken = [one.take(one.shuffled(4, torch.Generator().manual_seed(1)), 0) for one in (ours, theirs)]
    for mine, other in zip(*taken, strict=True):
        assert isinstance(mine, torch.Tensor)
        assert isinstance(other, torch.Tensor)
        assert torch.equal(mine, other)
