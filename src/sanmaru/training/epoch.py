"""One epoch of training: the batches in their order, each in as many parts as memory asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sanmaru.errors import UserError
from sanmaru.training.average import Average
from sanmaru.training.batches import Epoch, steps
from sanmaru.training.config import TrainConfig
from sanmaru.training.crew import Alone
from sanmaru.training.mix import Labels, Mixed
from sanmaru.training.optimizers import set_rates
from sanmaru.training.schedules import learning_rate, momentum
from sanmaru.training.step import Learner, Randomness, free_memory, out_of_memory
from sanmaru.training.watch import HonestFraction, Stopwatch


class Batches(Protocol):
    """What training asks of its data; `batches.ImageBatches` is one."""

    labels: Tensor
    device: torch.device

    def __len__(self) -> int: ...

    def shuffled(self, batch_size: int, generator: torch.Generator, pieces: int = 1) -> Epoch:
        """Draw one epoch: steps of `batch_size` rows, each in `pieces` batches, as `batches.divided` does."""
        ...

    def take(self, epoch: Epoch, part: int, watch: Stopwatch | None = None) -> tuple[Tensor, Labels]:
        """Return inputs and labels of one batch of an epoch."""
        ...

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield everything in order."""
        ...


class EpochRunner:
    """Runs epochs on one device, alone or as one of a crew.

    All random numbers come from (seed, epoch), and the rate from the number of the step.

    Args:
        learner: The network with its optimiser.
        train: What is learned from.
        config: Batch size, schedule.
        seed: Of the fit.
        crew: Who else shares the batches.
        batch_size: Rows at once, where memory has shown that `config.batch_size` are too many.
    """

    def __init__(
        self,
        learner: Learner,
        train: Batches,
        config: TrainConfig,
        seed: int,
        *,
        crew: Alone | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.learner = learner
        self.crew = crew or Alone()
        self.batch_size = batch_size or config.batch_size
        """Rows at once; halved when memory does not hold them."""
        self.effective = config.batch_size * config.accumulate * self.crew.size
        """Rows per step, on all devices."""
        self.pieces = config.accumulate * self.crew.size
        """Batches that make up a step, on all devices."""
        self.per_epoch = steps(len(train), self.effective)
        self.total = self.per_epoch * config.epochs
        self.rate = 0.0
        """The learning rate of the last step."""
        self._train = train
        self._config = config
        self._seed = seed

    def run(
        self,
        epoch: int,
        *,
        honest: HonestFraction | None = None,
        average: Average | None = None,
        note: Callable[[str], None] | None = None,
        in_step: Callable[[int, int], None] | None = None,
    ) -> float:
        """Train for one epoch; return the mean loss over its rows.

        Args:
            epoch: From 0.
            honest: Measures some of the steps.
            average: Follows the weights.
            note: Told when the batch was halved.
            in_step: Called with (epoch from 1, step from 0) after every step.
        """
        began = time.perf_counter()
        config, train = self._config, self._train
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, epoch))
        # Dropout: each device of a crew draws its own, the first one as if it were alone.
        torch.manual_seed(epoch_seed(self._seed, epoch, stream=1 + 2**16 * self.crew.rank))
        train_mode(self.learner.network)
        drawn = train.shuffled(self.effective, generator, self.pieces)
        if honest is not None:
            honest.planned((time.perf_counter() - began) / self.per_epoch)
        losses = torch.zeros((), device=train.device)
        for number in range(self.per_epoch):
            step = epoch * self.per_epoch + number
            self.rate = learning_rate(
                config.schedule,
                config.learning_rate,
                step,
                total=self.total,
                epochs=config.epochs,
                warmup=config.warmup_fraction,
            )
            set_rates(self.learner.optimizer, self.rate, momentum(config.schedule, step, total=self.total))
            watch = honest.due() if honest is not None else None
            losses += self._step(drawn, number, watch, honest, note)
            if average is not None:
                average.update(self.learner.network, step)
            if watch is not None and honest is not None:
                watch.split("step")
                honest.measured(watch)
            if in_step is not None:
                in_step(epoch + 1, number)
        self.crew.settle(self.learner.network)
        n_drawn = sum(len(rows) for rows in drawn.parts)
        return float(self.crew.total(losses)) / n_drawn

    def _step(
        self,
        drawn: Epoch,
        number: int,
        watch: Stopwatch | None,
        honest: HonestFraction | None,
        note: Callable[[str], None] | None,
    ) -> Tensor:
        """Take one step, with smaller parts as long as memory does not hold them."""
        sizes = [len(drawn.parts[number * self.pieces + piece]) for piece in range(self.pieces)]
        own = range(self.crew.rank * self._config.accumulate, (self.crew.rank + 1) * self._config.accumulate)
        parts = [number * self.pieces + piece for piece in own if sizes[piece]]
        before = Randomness(self._train.device)
        while True:
            too_many = min(self.batch_size, max(sizes))
            try:
                split = None if watch is None else watch.split
                return self.learner(self._batches(drawn, parts, watch, honest), sum(sizes), split)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if too_many == 1:
                    raise UserError(
                        "memory does not hold a single row of a batch. Take a smaller picture (model.image_size), a "
                        "smaller network (model.backbone), or a device with more memory."
                    ) from error
            # Outside of `except`: its traceback holds the failed batch.
            while self.batch_size >= too_many:
                self.batch_size = -(-self.batch_size // 2)
            self.learner.optimizer.zero_grad(set_to_none=True)
            free_memory(self._train.device)
            before.restore()
            if honest is not None:
                honest.halt()
            if note is not None:
                note(
                    f"memory does not hold {too_many} rows at once: going on with {self.batch_size}, "
                    f"gradients accumulated; a step still sees {self.effective} rows"
                )

    def _batches(
        self, drawn: Epoch, parts: Sequence[int], watch: Stopwatch | None, honest: HonestFraction | None
    ) -> Iterator[tuple[Tensor, Labels]]:
        for part in parts:
            if watch is not None:
                watch.split("step")
            inputs, labels = self._train.take(drawn, part, watch)
            for piece in _pieces(inputs, labels, self.batch_size):
                if watch is not None and honest is not None:
                    honest.seen(*piece)
                yield piece


def _pieces(inputs: Tensor, labels: Labels, at_most: int) -> Iterator[tuple[Tensor, Labels]]:
    """Divide a batch into parts of at most so many rows; their sizes differ by one at most."""
    n_parts = steps(len(inputs), at_most)
    if n_parts == 1:
        yield inputs, labels
        return
    for rows in torch.tensor_split(torch.arange(len(inputs)), n_parts):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        yield inputs[part], labels.map(partial(_cut, part)) if isinstance(labels, Mixed) else labels[part]


def _cut(part: slice, values: Tensor) -> Tensor:
    return values[part]


def train_mode(network: nn.Module) -> None:
    """Put a network into training mode, save what carries `frozen = True`: its norms keep their running statistics."""
    network.train()
    for module in network.modules():
        if getattr(module, "frozen", False):
            module.eval()


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return a seed for one purpose of one epoch; near seeds and epochs give unrelated numbers."""
    return int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0] >> 1)
