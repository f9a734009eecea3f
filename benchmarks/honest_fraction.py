"""How much of the training time is training: the resident loop beside a usual DataLoader.

Three ways to feed the same network, optimiser and step with augmented pictures of 64 pixels:

- `resident`: Sanmaru's loop: a uint8 memory-mapped cache, index gather, one warp per batch;
- `DataLoader`: a file decoded and transformed by Pillow for each sample, with 0 and with 2 worker processes.

Each is compared with bare steps on a constant batch, run before and after it in the same round, so that what else the
machine does meets both. The fraction is bare seconds per step ÷ seconds per step; the table shows the median over
rounds and their range. The cache's build is shown apart, for it happens once.

    python benchmarks/honest_fraction.py [--quick] [--threads 2] [--rounds 5] [--models convnet resnet-18]
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as Sanmaru's own fits do; before torch brings its OpenMP

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sanmaru.images.store import ImageStore
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.training.batches import ImageBatches, channel_statistics
from sanmaru.training.config import TrainConfig
from sanmaru.training.optimizers import make_optimizer

SIZE = 64
CLASSES = 10
CONFIG = TrainConfig.model_validate({"augment": ["hflip", {"rotate": 10}, {"crop": 0.1}, {"translate": 0.05}]})
Feed = Callable[[], Iterator[tuple[Tensor, Tensor]]]


class PerSample(Dataset[tuple[Tensor, int]]):
    """What most training scripts do: open, decode, transform, to tensor, one picture at a time."""

    def __init__(self, paths: list[str], labels: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.paths, self.labels = paths, labels
        self.mean, self.std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[row]) as file:
            image = file.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        shift = tuple(round(SIZE * random.uniform(-0.05, 0.05)) for _ in range(2))
        image = image.rotate(random.uniform(-10, 10), Image.Resampling.BILINEAR, translate=shift)
        side = round(SIZE * (1 - random.uniform(0, 0.1)))
        left, top = random.randint(0, SIZE - side), random.randint(0, SIZE - side)
        image = image.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
        return (pixels - self.mean) / self.std, int(self.labels[row])


def write_pictures(folder: Path, n: int, side: int = 160) -> list[str]:
    """Write n smooth random JPEG files, about as costly to decode as small photographs."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(n):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{number:05d}.jpg"
        Image.fromarray(image).save(path, quality=90)
        paths.append(str(path))
    return paths


class Stepper:
    """A network with its training step, as the loop runs it."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        network = build(NetworkConfig(backbone=name, image_size=SIZE), CLASSES).network
        self.network = network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.network, CONFIG)
        self.loss = nn.CrossEntropyLoss()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.network(images), labels).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def seconds(self, feed: Iterator[tuple[Tensor, Tensor]], steps: int) -> float:
        """Seconds per step over `steps` batches, fetching them included."""
        began = time.perf_counter()
        for _ in range(steps):
            images, labels = next(feed)
            self(images, labels)
        return (time.perf_counter() - began) / steps


def resident(batches: ImageBatches, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of Sanmaru's loop, epoch after epoch, the drawing of each epoch included."""
    seed = 0
    while True:
        epoch = batches.shuffled(batch_size, torch.Generator().manual_seed(seed))
        for part in range(len(epoch.parts)):
            yield batches.take(epoch, part)
        seed += 1


def usual(data: PerSample, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of a DataLoader, epoch after epoch; workers stay alive between epochs."""
    loader = DataLoader(
        data, batch_size, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        for images, labels in loader:
            yield images.contiguous(memory_format=torch.channels_last), labels


def constant(batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same ready batch for ever."""
    torch.manual_seed(1)
    images = torch.randn(batch_size, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch_size,))
    while True:
        yield images, labels


def measure(step: Stepper, feeds: dict[str, Feed], *, batch_size: int, steps: int, rounds: int) -> list[str]:
    """Run the rounds of one network; return the cells of its rows."""
    bare = constant(batch_size)
    step.seconds(bare, 3)
    taken: dict[str, list[float]] = {name: [] for name in feeds}
    fractions: dict[str, list[float]] = {name: [] for name in feeds}
    bare_s: list[float] = []
    for _ in range(rounds):
        for name, make in feeds.items():
            before = step.seconds(bare, steps)
            feed = make()
            step.seconds(feed, 2)  # worker processes start, caches fill: not part of the steady state
            seconds = step.seconds(feed, steps)
            del feed
            after = step.seconds(bare, steps)
            bare_s += [before, after]
            taken[name].append(seconds)
            fractions[name].append((before + after) / 2 / seconds)
    rows = [f"| bare step | {batch_size / statistics.median(bare_s):.0f} | 1 | |"]
    for name in feeds:
        low, high = min(fractions[name]), max(fractions[name])
        rate = batch_size / statistics.median(taken[name])
        rows.append(f"| {name} | {rate:.0f} | {statistics.median(fractions[name]):.3f} | {low:.3f} to {high:.3f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten; the figures are rough")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None, help="steps per measurement")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--models", nargs="+", default=["convnet", "resnet-18", "vit-small"])
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 5)
    steps = options.steps or (2 if options.quick else 6)
    batch_size = options.batch_size or (16 if options.quick else 64)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        n = batch_size * (steps + 4) * 2
        paths = write_pictures(Path(folder), n)
        labels = np.random.default_rng(1).integers(0, CLASSES, n)
        began = time.perf_counter()
        pictures = ImageStore(Path(folder) / "cache", SIZE).load(paths, threads=options.threads)
        built_s = time.perf_counter() - began
        mean, std = channel_statistics(pictures.array, pictures.positions)
        batches = ImageBatches(
            pictures.array, pictures.positions, labels, mean=mean, std=std, augmentations=CONFIG.augment
        )
        data = PerSample(paths, labels, mean, std)
        print(f"torch {torch.__version__}, {options.threads} threads, {platform.processor() or platform.machine()},")
        print(f"batches of {batch_size}, {steps} steps x {rounds} rounds, {n} JPEG files of 160 px, seed 0")
        print(f"\nCache built once in {built_s:.2f} s ({n / built_s:,.0f} pictures/s).\n")
        print("| network | feed | samples/s | honest fraction | range |\n| --- | --- | --- | --- | --- |")
        for name in options.models:
            feeds: dict[str, Feed] = {
                "resident": lambda: resident(batches, batch_size),
                "DataLoader, 0 workers": lambda: usual(data, batch_size, 0),
                "DataLoader, 2 workers": lambda: usual(data, batch_size, 2),
            }
            for row in measure(Stepper(name), feeds, batch_size=batch_size, steps=steps, rounds=rounds):
                print(f"| {name} {row}", flush=True)


if __name__ == "__main__":
    main()
