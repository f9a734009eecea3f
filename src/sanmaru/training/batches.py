"""Batches of resident pictures: one index gather per batch, no Python per sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sanmaru.training import augment
from sanmaru.training.augment_holes import cover
from sanmaru.training.augment_mix import mix
from sanmaru.training.lent import LentArray, lend
from sanmaru.training.mix import Labels
from sanmaru.training.watch import Stopwatch

CACHE_BYTES = 5 * 2**19
"""Of float32 pictures per thread that are augmented at once on a CPU."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the pictures: their order and their augmentations, drawn at once."""

    parts: tuple[Tensor, ...]
    """Row numbers of each batch, int64; see `divided`."""
    drawn: augment.Draws
    """In the order of `parts`."""

    def start(self, part: int) -> int:
        """Return where the pictures of a batch begin in the epoch."""
        return sum(len(before) for before in self.parts[:part])


class ImageBatches:
    """Pictures and labels on a device, given out in batches.

    Args:
        images: uint8 (m, H, W, 3); may be memory-mapped.
        positions: int64 (n,), where in `images` each picture stands.
        labels: int64 (n,), or (n, T) for several targets.
        mean: Of each channel, 3 numbers in 0..255.
        std: Of each channel.
        augmentations: As in `TrainConfig.augment`; of `take`.
        evaluation: As in `TrainConfig.augment_valid`; of `plain`.
        weights: float (n,): an epoch then draws n rows with replacement, each as often as its weight says. Without
            them an epoch is every row once.
        seed: Of the draws of `evaluation`, which are the same in every pass.
        device: Where batches are wanted. On a GPU the pictures themselves go there when they take less than 40 % of
            its free memory; else each batch is copied through pinned memory.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        positions: NDArray[np.int64],
        labels: NDArray[np.int64],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        augmentations: Sequence[Mapping[str, Any]] = (),
        evaluation: Sequence[Mapping[str, Any]] = (),
        weights: NDArray[np.float64] | None = None,
        seed: int = 0,
        device: torch.device | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self._given = images, positions, labels
        self._options: dict[str, Any] = {
            "mean": mean,
            "std": std,
            "augmentations": augmentations,
            "evaluation": evaluation,
            "weights": weights,
            "seed": seed,
        }
        self.images = torch.from_numpy(images)
        self.positions = torch.from_numpy(np.ascontiguousarray(positions))
        self.labels = torch.from_numpy(np.ascontiguousarray(labels)).to(self.device)
        self.augmentations = augmentations
        self.evaluation = evaluation
        self.weights = None if weights is None else torch.from_numpy(np.asarray(weights, dtype=np.float64))
        self.seed = seed
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if len(positions) * self.images[0].nbytes < 0.4 * free:
                self.images = self.images[self.positions].to(self.device)
                self.positions = torch.arange(len(positions), device=self.device)
        self._mean = torch.tensor(mean, dtype=torch.float32).to(self.device)
        self._scale = (1 / torch.tensor(std, dtype=torch.float32))[:, None, None].to(self.device)
        self._shift = -self._mean[:, None, None] * self._scale

    def __len__(self) -> int:
        return len(self.positions)

    def lend(self) -> LentImages:
        """Return what makes the same batches in another process, such as one for another device."""
        images, positions, labels = self._given
        return LentImages(lend(images), positions, labels, self._options)

    def shuffled(self, batch_size: int, generator: torch.Generator, pieces: int = 1) -> Epoch:
        """Draw the order and the augmentations of one epoch: steps of `batch_size` rows, each in `pieces` batches."""
        if self.weights is None:
            order = torch.randperm(len(self), generator=generator)
        else:
            order = torch.multinomial(self.weights, len(self), replacement=True, generator=generator)
        parts = divided(order, batch_size, pieces)
        return Epoch(parts, self._draw(self.augmentations, [len(part) for part in parts], generator))

    def take(self, epoch: Epoch, part: int, watch: Stopwatch | None = None) -> tuple[Tensor, Labels]:
        """Return one augmented batch: normalised float32 (B, 3, H, W), channels last in memory, and its labels."""
        index = epoch.parts[part]
        batch = self._changed(index, epoch.drawn, epoch.start(part), watch)
        labels = self.labels[index.to(self.device)]
        mixing = None if epoch.drawn.mixing is None else epoch.drawn.mixing[part]
        if mixing is None:
            return batch, labels
        mixed = mix(batch, labels, mixing)
        if watch is not None:
            watch.split("augment")
        return mixed

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all pictures in order, as they are or changed by `evaluation`, in the same way in every pass."""
        parts = torch.split(torch.arange(len(self)), forward_batch(self.images.shape[1]))
        drawn = self._draw(self.evaluation, [len(part) for part in parts], torch.Generator().manual_seed(self.seed))
        for index in parts:
            yield self._changed(index, drawn, int(index[0])), self.labels[index.to(self.device)]

    def look(self, n: int, seed: int = 0) -> tuple[NDArray[np.uint8], Labels]:
        """Return what the network sees of n pictures, as one batch of an epoch: uint8 (n, H, W, 3) and their labels.

        Fewer where there are fewer pictures, and labels on the CPU.
        """
        epoch = self.shuffled(min(n, len(self)), torch.Generator().manual_seed(seed))
        batch, labels = self.take(epoch, 0)
        pixels = ((batch - self._shift) / self._scale).round_().clamp_(0, 255).to(torch.uint8)
        shown = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return shown, labels.cpu() if isinstance(labels, Tensor) else labels.map(Tensor.cpu)

    def _draw(
        self, augmentations: Sequence[Mapping[str, Any]], sizes: Sequence[int], generator: torch.Generator
    ) -> augment.Draws:
        height, width, channels = self.images.shape[1:]
        return augment.draw(augmentations, sizes, (channels, height, width), generator, self.device)

    def _gather(self, index: Tensor) -> Tensor:
        rows = self.images.index_select(0, self.positions[index.to(self.positions.device)])
        if rows.device != self.device:
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        return rows

    def _changed(self, index: Tensor, drawn: augment.Draws, start: int, watch: Stopwatch | None = None) -> Tensor:
        """Gather pictures, augment and normalise them, all but mixing.

        Args:
            index: Row numbers (B,).
            drawn: Of an epoch.
            start: Where the draws of these pictures begin in it.
            watch: Books the parts.

        Returns:
            float32 (B, 3, H, W), channels last in memory.
        """
        height, width, channels = self.images.shape[1:]
        out = torch.empty((len(index), channels, height, width), device=self.device, memory_format=torch.channels_last)
        for some in torch.split(torch.arange(len(index)), self._at_once()):
            first, last = int(some[0]), int(some[-1]) + 1
            pictures = self._gather(index[first:last])
            if watch is not None:
                watch.split("gather")
            draws = drawn.take(slice(start + first, start + last), self.device)
            changed = augment.apply(pictures, draws, self._mean)
            if watch is not None:
                watch.split("augment")
            normalised = torch.addcmul(self._shift, changed, self._scale)
            if draws.holes is not None:
                normalised = cover(normalised, draws.holes)
            out[first:last] = normalised
            if watch is not None:
                watch.split("normalise")
        return out

    def _at_once(self) -> int:
        """How many pictures are augmented together: on a CPU so many that they stay in its cache from pass to pass."""
        if self.device.type != "cpu":
            return max(1, len(self))
        return max(1, CACHE_BYTES * torch.get_num_threads() // (4 * self.images[0].numel()))


@dataclass(frozen=True)
class LentImages:
    """Batches of pictures on their way to another process; memory-mapped pictures stay where they are."""

    images: LentArray | NDArray[Any]
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    options: dict[str, Any]

    def open(self, device: torch.device) -> ImageBatches:
        """Make the batches on a device of this process."""
        images = self.images.open() if isinstance(self.images, LentArray) else self.images
        return ImageBatches(images, self.positions, self.labels, **self.options, device=device)


def forward_batch(side: int) -> int:
    """Return how many pictures of `side` pixels go through a network at once when nothing is learned.

    About a million pixels: 256 of 64 pixels a side, 20 of 224, so that activations take some hundred megabytes.
    """
    return max(1, min(256, 2**20 // side**2))


def steps(n: int, batch_size: int) -> int:
    """Return the number of batches of one epoch."""
    return max(1, -(-n // batch_size))


def divided(order: Tensor, batch_size: int, pieces: int = 1) -> tuple[Tensor, ...]:
    """Divide the rows of an epoch into steps of at most `batch_size` rows, and each step into `pieces` batches.

    The sizes of steps differ by one at most, and so do those of the batches of a step: every row is seen, and no step
    is taken on a batch of two. A batch is empty where a step has fewer rows than pieces.
    """
    taken = torch.tensor_split(order, steps(len(order), batch_size))
    return tuple(part for rows in taken for part in torch.tensor_split(rows, pieces))


def balancing(codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weight of each row (n,) with which all classes that occur are drawn equally often; they sum to 1."""
    _, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = 1 / (len(counts) * counts[place].astype(np.float64))
    return weights


def channel_statistics(
    images: NDArray[np.uint8],
    positions: NDArray[np.int64],
    centre: Sequence[float] | None = None,
    *,
    at_most: int = 5000,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel in 0..255, over evenly spaced pictures where there are many.

    Args:
        images: uint8 (m, H, W, 3).
        positions: int64 (n,), the pictures that count.
        centre: Taken for the mean, where it is given: three numbers in 0..255.
        at_most: Pictures looked at.
    """
    chosen = positions[np.linspace(0, len(positions) - 1, min(len(positions), at_most)).astype(np.int64)]
    total = np.zeros(3)
    squares = np.zeros(3)
    count = 0
    for part in np.array_split(chosen, -(-len(chosen) // 256)):
        values = images[part].reshape(-1, 3).astype(np.float64)
        total += values.sum(axis=0)
        squares += (values**2).sum(axis=0)
        count += len(values)
    mean = total / count if centre is None else np.asarray(centre, dtype=np.float64)
    # A channel that never changes would be divided by nothing.
    spread = squares / count - 2 * mean * total / count + mean**2
    std = np.maximum(np.sqrt(np.maximum(spread, 0)), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())
