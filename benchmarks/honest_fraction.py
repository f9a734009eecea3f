"""How much of the training time is training: the resident loop beside a usual DataLoader.

Two ways to feed the same network, optimiser and step with augmented pictures:

- `resident`: Sanmaru's loop: a uint8 memory-mapped cache, index gather, augmentation of whole batches;
- `DataLoader`: a file decoded, resized and transformed for each sample, with 0 and with 2 worker processes.

Each is compared with bare steps on a constant batch, run before and after it in the same round, so that what else the
machine does meets both. The fraction is bare seconds per step ÷ seconds per step; the table shows the median over
rounds and their range. The cache's build is shown apart, for it happens once.

`--augment usual` is a flip, a rotation, a crop and a shift; `--augment full` is FULL of augment.py and JPEG: all there
is but the vertical flip and the turn of the hue.

    python benchmarks/honest_fraction.py --augment full --models resnet-18 vit-small --sizes 64 112
    python benchmarks/honest_fraction.py --device cuda --models resnet-50 --sizes 224 --precision bf16 \\
        --augment full --batch-size 256 --steps 30 --workers 0 8

On a GPU, or wherever `--peak-tflops` says what the device could do at most, the share of it that the network's own
multiplications reach is shown too (model-FLOP utilisation: forward and backward, as torch's FlopCounterMode counts
them, 2 operations to a multiply-add).
"""

from __future__ import annotations

import argparse
import os
import platform
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
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from augment import FULL, PER_SAMPLE
from sanmaru.images.store import ImageStore
from sanmaru.tasks.image_classification.backbones import build
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.training.augment_names import parameters
from sanmaru.training.batches import ImageBatches, channel_statistics
from sanmaru.training.config import TrainConfig
from sanmaru.training.losses import CrossEntropy
from sanmaru.training.mix import Labels, rows
from sanmaru.training.optimizers import make_optimizer
from sanmaru.training.precision import pick_precision
from sanmaru.training.step import Learner
from sanmaru.training.watch import Stopwatch

CLASSES = 10
LISTS: dict[str, list[object]] = {
    "none": [],
    "usual": ["hflip", {"rotate": 10}, {"crop": 0.1}, {"translate": 0.05}],
    "full": [*FULL, "jpeg"],
}
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312, "L40": 181, "L4": 121, "T4": 65}
"""Dense bfloat16 (T4: float16) tensor-core peaks by part of the device's name, from the vendor's data sheets (SXM)."""
MIXED = {"mixup", "cutmix"}
Feed = Callable[[], Iterator[tuple[Tensor, Labels]]]


class PerSample(Dataset[tuple[Tensor, int]]):
    """What most training scripts do: open, decode, resize, transform, to tensor, one picture at a time."""

    def __init__(
        self, paths: list[str], labels: np.ndarray, size: int, augment: list[object], norm: np.ndarray
    ) -> None:
        self.paths, self.labels, self.size = paths, labels, size
        self.mean, self.std = torch.tensor(norm, dtype=torch.float32)[:, :, None, None]
        entries = [entry if isinstance(entry, dict) else {entry: None} for entry in augment]
        pairs = [(str(name), given) for entry in entries for name, given in entry.items()]
        self.changes = [
            (PER_SAMPLE[name], 0.5 if name in MIXED else parameters(name, given)["p"]) for name, given in pairs
        ]
        self.random: np.random.Generator | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        if self.random is None:
            self.random = np.random.default_rng(row)
            cv2.setNumThreads(0)
        with Image.open(self.paths[row]) as file:
            image = np.asarray(file.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR))
        for change, p in self.changes:
            if self.random.random() < p:
                image = change(image)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float()
        return (pixels - self.mean) / self.std, int(self.labels[row])


def write_pictures(folder: Path, n: int, side: int) -> list[str]:
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

    def __init__(self, name: str, size: int, device: torch.device, precision: str) -> None:
        torch.manual_seed(0)
        network = build(NetworkConfig(backbone=name, image_size=size), CLASSES).network
        self.network = network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.device = device
        config = TrainConfig()
        self.learner = Learner(
            self.network,
            make_optimizer(self.network, config),
            CrossEntropy(),
            precision=pick_precision(precision, device),
            clip=config.clip,
        )

    def seconds(self, feed: Iterator[tuple[Tensor, Labels]], steps: int) -> float:
        """Seconds per step over `steps` batches, fetching them included."""
        self.wait()
        began = time.perf_counter()
        for _ in range(steps):
            inputs, labels = next(feed)
            self.learner([(inputs, labels)], len(inputs))
        self.wait()
        return (time.perf_counter() - began) / steps

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def flops(self, size: int) -> int:
        """Operations of one picture's forward and backward pass."""
        inputs = torch.randn(2, 3, size, size, device=self.device)
        with FlopCounterMode(display=False) as counter:
            self.network(inputs).sum().backward()
        self.network.zero_grad(set_to_none=True)
        return counter.get_total_flops() // 2


def resident(batches: ImageBatches, batch_size: int) -> Iterator[tuple[Tensor, Labels]]:
    """Batches of Sanmaru's loop, epoch after epoch, the drawing of each epoch included."""
    seed = 0
    while True:
        epoch = batches.shuffled(batch_size, torch.Generator().manual_seed(seed))
        for part in range(len(epoch.parts)):
            yield batches.take(epoch, part)
        seed += 1


def usual(data: PerSample, batch_size: int, workers: int, device: torch.device) -> Iterator[tuple[Tensor, Labels]]:
    """Batches of a DataLoader, epoch after epoch; workers stay alive between epochs."""
    loader = DataLoader(
        data,
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    while True:
        for images, labels in loader:
            there = images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
            yield there, labels.to(device, non_blocking=True)


def constant(batch: tuple[Tensor, Labels]) -> Iterator[tuple[Tensor, Labels]]:
    """The same ready batch for ever: noise of a real batch's shape, with its labels."""
    images, labels = batch
    ready = torch.randn_like(images), labels
    while True:
        yield ready


def shares(batches: ImageBatches, batch_size: int, device: torch.device) -> str:
    """Seconds per batch of the parts of feeding, as a text."""
    epoch = batches.shuffled(batch_size, torch.Generator().manual_seed(0))
    watch = Stopwatch(device)
    n = min(6, len(epoch.parts))
    watch.start()
    for part in range(n):
        batches.take(epoch, part, watch)
    return ", ".join(f"{name} {1000 * seconds / n:.1f} ms" for name, seconds in watch.seconds.items())


def measure(
    step: Stepper, feeds: dict[str, Feed], ahead: dict[str, int], *, steps: int, rounds: int
) -> tuple[float, dict[str, list[float]]]:
    """Run the rounds of one network; return bare seconds per step, and fractions and seconds per step of each feed.

    Args:
        step: The network.
        feeds: What gives batches.
        ahead: Batches that each feed prepares ahead while its workers start; these are taken first and do not count.
        steps: Per measurement.
        rounds: Measurements.
    """
    first = next(iter(feeds.values()))()
    batch = next(first)
    batch_size = len(batch[0])
    assert rows(batch[1]) == batch_size
    bare = constant(batch)
    step.seconds(bare, 3)
    out: dict[str, list[float]] = {name: [] for name in feeds}
    bare_s: list[float] = []
    before = step.seconds(bare, steps)
    bare_s.append(before)
    for _ in range(rounds):
        for name, make in feeds.items():
            feed = make()
            step.seconds(feed, 2 + ahead[name])
            seconds = step.seconds(feed, steps)
            del feed  # ends its workers, which would go on preparing while bare steps run
            after = step.seconds(bare, steps)
            bare_s.append(after)
            out[name].append((before + after) / 2 / seconds)
            out.setdefault(f"{name} seconds", []).append(seconds)
            before = after
    return statistics.median(bare_s), out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of six; the figures are rough")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None, help="steps per measurement")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--models", "--backbone", nargs="+", default=["resnet-18", "vit-small"])
    parser.add_argument("--sizes", "--size", type=int, nargs="+", default=[64, 112])
    parser.add_argument("--augment", choices=list(LISTS), default="full")
    parser.add_argument("--workers", type=int, nargs="*", default=[2], help="of the DataLoader; one row each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto")
    parser.add_argument("--peak-tflops", type=float, default=None, help="of the device in that precision")
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 3)
    steps = options.steps or (2 if options.quick else 3)
    batch_size = options.batch_size or (16 if options.quick else 24)
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    peak = options.peak_tflops or next((value for part, value in PEAK_TFLOPS.items() if part in name), None)
    n = batch_size * 12
    print(f"torch {torch.__version__}, {options.threads} threads, {name}, precision {options.precision},")
    print(
        f"augment {options.augment}, batches of {batch_size}, {steps} steps x {rounds} rounds, {n} JPEG files, seed 0"
    )
    print("\nThe DataLoader runs the same list with Pillow and OpenCV, one picture at a time.")
    if peak:
        print(f"MFU: of {peak:g} TFLOPS.")
    print(
        "\n| network | px | feed | images/s | honest fraction | range | MFU |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    told = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            paths = write_pictures(Path(folder), n, max(160, round(size * 1.3)))
            labels = np.random.default_rng(1).integers(0, CLASSES, n)
            began = time.perf_counter()
            pictures = ImageStore(Path(folder) / "cache", size).load(paths, threads=options.threads)
            built_s = time.perf_counter() - began
            mean, std = channel_statistics(pictures.array, pictures.positions)
            batches = ImageBatches(
                pictures.array,
                pictures.positions,
                labels,
                mean=mean,
                std=std,
                augmentations=TrainConfig.model_validate({"augment": LISTS[options.augment]}).augment,
                device=device,
            )
            data = PerSample(paths, labels, size, LISTS[options.augment], np.array([mean, std]))
            told.append(
                f"{size} px: cache built once, {n / built_s:,.0f} pictures/s; a batch of {batch_size} takes "
                f"{shares(batches, batch_size, device)}"
            )
            for model in options.models:
                step = Stepper(model, size, device, options.precision)
                feeds: dict[str, Feed] = {"resident": lambda: resident(batches, batch_size)}  # noqa: B023
                ahead = {"resident": 0}
                for workers in options.workers:
                    ahead[f"DataLoader, {workers} workers"] = 2 * workers
                    feeds[f"DataLoader, {workers} workers"] = lambda workers=workers: usual(
                        data,  # noqa: B023
                        batch_size,
                        workers,
                        device,
                    )
                flops = step.flops(size)
                bare_s, found = measure(step, feeds, ahead, steps=steps, rounds=rounds)

                def mfu(rate: float, flops: int = flops) -> str:
                    return f"{flops * rate / (peak * 1e12):.1%}" if peak else ""

                rate = batch_size / bare_s
                print(f"| {model} | {size} | bare step | {rate:.0f} | 1 | | {mfu(rate)} |", flush=True)
                for feed in feeds:
                    values, rate = found[feed], batch_size / statistics.median(found[f"{feed} seconds"])
                    print(
                        f"| {model} | {size} | {feed} | {rate:.0f} | {statistics.median(values):.3f} "
                        f"| {min(values):.3f} to {max(values):.3f} | {mfu(rate)} |",
                        flush=True,
                    )
                told.append(f"{model} at {size} px: {flops / 1e9:.2f} GFLOP a picture, forward and backward")
    print("\n" + "\n".join(told))


if __name__ == "__main__":
    main()
