import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sanmaru.errors import UserError
from sanmaru.networks.convnet import ConvNet
from sanmaru.tasks.base import FitContext
from sanmaru.training import watch
from sanmaru.training.batches import ImageBatches
from sanmaru.training.config import EarlyStoppingConfig, TrainConfig
from sanmaru.training.loop import Trained, epoch_seed, limited_threads, pick_device, train_network
from sanmaru.training.losses import make_loss

Bars = Callable[..., tuple[np.ndarray, np.ndarray]]
MakeContext = Callable[..., FitContext]
AUGMENT = ({"hflip": 0.5}, {"rotate": 5.0})


def fit(bars: Bars, context: FitContext, *, valid: bool = True, **options: object) -> tuple[nn.Module, Trained]:
    config = TrainConfig.model_validate({"epochs": 3, "batch_size": 16, "augment": AUGMENT, **options})
    images, labels = bars(64)
    others, other_labels = bars(32, 1)
    common = {"mean": (80.0,) * 3, "std": (60.0,) * 3}
    torch.manual_seed(0)
    network = ConvNet(2, 8, width=8, dropout=0.2)
    trained = train_network(
        network,
        ImageBatches(images, np.arange(64), labels, augmentations=config.augment, **common),
        ImageBatches(others, np.arange(32), other_labels, **common) if valid else None,
        loss=make_loss(config.loss, labels, 2),
        config=config,
        context=context,
        identity={"epochs": config.epochs},
    )
    return network, trained


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


def events(context: FitContext, kind: str) -> list[dict[str, object]]:
    lines = (context.folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def test_bars_are_learned_and_every_epoch_is_logged(bars: Bars, context: MakeContext) -> None:
    here = context()
    _, trained = fit(bars, here, epochs=12, learning_rate=5e-3)
    assert trained.best_value is not None
    assert trained.best_value > 0.9
    points = events(here, "metrics")
    assert [point["step"] for point in points] == list(range(1, trained.epochs + 1))
    assert {"train_loss", "valid_loss", "valid_accuracy", "learning_rate", "seconds"} <= points[0].keys()
    assert events(here, "progress")[-1]["done"] == trained.epochs


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(bars: Bars, context: MakeContext) -> None:
    first, _ = fit(bars, context("a"))
    second, _ = fit(bars, context("b"))
    third, _ = fit(bars, context("c", seed=4))
    assert same(first, second)
    assert not same(first, third)


def test_measuring_changes_nothing(bars: Bars, context: MakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BUDGET", 1000.0)
    measured, trained = fit(bars, context("a"))
    assert trained.honest["honest_pairs"] == 3 * 4 - watch.WARM_UP
    monkeypatch.setattr(watch, "WARM_UP", 10**9)
    left_alone, other = fit(bars, context("b"))
    assert other.honest["honest_fraction"] is None
    assert same(measured, left_alone)


def test_the_honest_fraction_and_its_shares_are_fractions(bars: Bars, context: MakeContext) -> None:
    _, trained = fit(bars, context())
    assert 0 < trained.honest["honest_fraction"] <= 1
    assert sum(trained.honest["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert {"gather", "augment", "normalise", "step", "plan"} == set(trained.honest["shares"])


def test_training_in_two_parts_gives_the_bits_of_one(bars: Bars, context: MakeContext) -> None:
    whole, _ = fit(bars, context("whole"), epochs=4)
    halves = context("halves", deadline_s=time.monotonic())
    _, first = fit(bars, halves, epochs=4)
    assert (first.stopped, first.epochs) == ("deadline", 1)
    again, second = fit(bars, context("halves", resume=True), epochs=4)
    assert second.epochs == 4
    assert same(whole, again)


def test_a_finished_fit_resumes_to_itself(bars: Bars, context: MakeContext) -> None:
    done, trained = fit(bars, context("a"))
    again, repeated = fit(bars, context("a", resume=True))
    assert same(done, again)
    assert (repeated.best_epoch, repeated.best_value) == (trained.best_epoch, trained.best_value)


def test_a_finished_fit_keeps_its_network_alone(bars: Bars, context: MakeContext) -> None:
    from safetensors import safe_open

    here = context()
    fit(bars, here)
    (path,) = (here.folder / "checkpoint").iterdir()
    with safe_open(path, framework="pt") as file:
        assert all(name.startswith("network.") for name in file.keys())  # noqa: SIM118


def test_an_early_end_stays_the_end_after_a_resume(bars: Bars, context: MakeContext) -> None:
    options = {"epochs": 30, "learning_rate": 1e-12, "early_stopping": {"patience": 2}}
    done, trained = fit(bars, context("a"), **options)
    again, repeated = fit(bars, context("a", resume=True), **options)
    assert (repeated.stopped, repeated.epochs) == ("early stopping", trained.epochs)
    assert same(done, again)


def test_a_diverged_fit_says_so(bars: Bars, context: MakeContext) -> None:
    with pytest.raises(UserError, match=r"the training loss is nan in epoch \d: training has diverged"):
        fit(bars, context(), optimizer="sgd", learning_rate=1e18, clip=None, schedule="constant", warmup=0)


def test_without_resume_a_checkpoint_is_not_continued(bars: Bars, context: MakeContext) -> None:
    fit(bars, context("a"))
    here = context("a")
    fit(bars, here)
    assert len(events(here, "metrics")) == 6


def test_patience_ends_the_fit_and_the_best_epoch_is_kept(bars: Bars, context: MakeContext) -> None:
    here = context()
    _, trained = fit(bars, here, epochs=30, learning_rate=1e-12, early_stopping={"patience": 2})
    assert trained.stopped == "early stopping"
    assert trained.epochs < 30
    values = [point["valid_accuracy"] for point in events(here, "metrics")]
    assert trained.best_value == max(values)  # type: ignore[type-var]


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_patience_waits_for_a_rate_that_falls(bars: Bars, context: MakeContext, schedule: str) -> None:
    options = {"epochs": 20, "learning_rate": 1e-12, "early_stopping": {"patience": 2}}
    _, steady = fit(bars, context("steady"), schedule="constant", **options)
    _, falling = fit(bars, context(), schedule=schedule, **options)
    assert steady.epochs == 3
    assert (falling.stopped, falling.epochs) == ("early stopping", 12)


@pytest.mark.parametrize("options", [{"selection": "none"}, {"valid": False}])
def test_without_selection_the_last_epoch_is_kept(bars: Bars, context: MakeContext, options: dict[str, object]) -> None:
    config = {"early_stopping": EarlyStoppingConfig(patience=1).model_dump(), **options}
    _, trained = fit(bars, context(), epochs=4, learning_rate=1e-12, **config)  # type: ignore[arg-type]
    assert (trained.epochs, trained.best_epoch, trained.best_value) == (4, 4, None)


def test_a_metric_where_less_is_better_selects_the_smallest(bars: Bars, context: MakeContext) -> None:
    from sanmaru.metrics.base import find_metric

    here = context(metric=find_metric("log_loss"))
    _, trained = fit(bars, here, epochs=5, learning_rate=0.02)
    values = [point["valid_log_loss"] for point in events(here, "metrics")]
    assert trained.best_value == min(values)  # type: ignore[type-var]


def test_bfloat16_trains_too(bars: Bars, context: MakeContext) -> None:
    half, _ = fit(bars, context("a"), precision="bf16")
    full, _ = fit(bars, context("b"))
    assert all(value.dtype != torch.bfloat16 for value in half.state_dict().values())
    assert not same(half, full)


def test_seeds_of_near_epochs_are_unrelated() -> None:
    seeds = {epoch_seed(seed, epoch, stream) for seed in range(5) for epoch in range(5) for stream in range(3)}
    assert len(seeds) == 75


def test_the_device_named_in_the_project_wins() -> None:
    assert pick_device("cpu", "cuda").type == "cpu"
    assert pick_device("auto", "cpu").type == "cpu"
    assert pick_device("auto", "auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with limited_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np, torch
from sanmaru.metrics.base import find_metric
from sanmaru.networks.convnet import ConvNet
from sanmaru.tasks.base import FitContext
from sanmaru.training.batches import ImageBatches
from sanmaru.training.config import TrainConfig
from sanmaru.training.loop import train_network
from sanmaru.training.losses import make_loss
folder, slow = Path(sys.argv[1]), sys.argv[2] == "slow"
torch.set_num_threads(1)
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (96, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, 96)
config = TrainConfig(epochs=4, batch_size=16, augment=[{"rotate": 10}, "hflip"], optimizer="adamw")
context = FitContext(folder=folder, cache=folder, seed=5, metric=find_metric("accuracy"), resume=True)
def pause(epoch, step):
    if slow and epoch == 3 and step == 2:
        (folder / "in-epoch-3").touch()
        time.sleep(60)
torch.manual_seed(1)
network = ConvNet(3, 8, width=8, dropout=0.1)
norm = dict(mean=(128.0,) * 3, std=(70.0,) * 3)
train_network(
    network,
    ImageBatches(images[:64], np.arange(64), labels[:64], augmentations=config.augment, **norm),
    ImageBatches(images[64:], np.arange(32), labels[64:], **norm),
    loss=make_loss(config.loss, labels, 3), config=config, context=context, identity={}, in_step=pause,
)
with torch.no_grad():
    out = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 70)
np.save(folder / "out.npy", out.numpy())
"""


@pytest.mark.slow
def test_killed_in_an_epoch_and_resumed_gives_the_bits_of_an_undisturbed_fit(tmp_path: Path) -> None:
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    killed.mkdir()
    alone.mkdir()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(killed), "slow"])
    try:
        deadline = time.monotonic() + 60
        while not (killed / "in-epoch-3").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (killed / "out.npy").exists()
    for folder in (killed, alone):
        subprocess.run([sys.executable, "-c", SCRIPT, str(folder), "quick"], check=True, timeout=120)
    np.testing.assert_array_equal(np.load(killed / "out.npy"), np.load(alone / "out.npy"))
    notes = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines() if '"note"' in line]
    assert notes[0]["text"] == "continued after epoch 2"
