"""One epoch of training: the batches in their order, each in as many parts as memory asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sanmaru.errors import UserError
from sanmaru.training.average import Average
from sanmaru.training.batches import Epoch, steps
from sanmaru.training.config import TrainConfig
from sanmaru.training.crew import Alone
from sanmaru.training.mix import Labels
from sanmaru.training.optimizers import set_rates
from sanmaru.training.schedules import learning_rate, momentum
from sanmaru.training.step import Learner, Randomness, free_memory, out_of_memory
from sanmaru.training.watch import HonestFraction, Stopwatch


class Batches(Protocol):
    """What training asks of its data; `batches.ImageBatches` is one."""

    labels: Tensor
    device: torch.device

    def __len__(self) -> int: ...

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Epoch:
        """Draw one epoch."""
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
        drawn = train.shuffled(self.effective, generator)
        if honest is not None:
            honest.planned((time.perf_counter() - began) / len(drawn.parts))
        losses = torch.zeros((), device=train.device)
        for part in range(len(drawn.parts)):
            step = epoch * self.per_epoch + part
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
            losses += self._step(drawn, part, watch, honest, note)
            if average is not None:
                average.update(self.learner.network, step)
            if watch is not None and honest is not None:
                watch.split("step")
                honest.measured(watch)
            if in_step is not None:
                in_step(epoch + 1, part)
        self.crew.settle(self.learner.network)
        n_drawn = sum(len(rows) for rows in drawn.parts)
        return float(self.crew.total(losses)) / n_drawn

    def _step(
        self,
        drawn: Epoch,
        part: int,
        watch: Stopwatch | None,
        honest: HonestFraction | None,
        note: Callable[[str], None] | None,
    ) -> Tensor:
        """Take one step, with smaller parts as long as memory does not hold them."""
        rows = self.crew.share(drawn.parts[part])
        n_rows = len(drawn.parts[part])
        before = Randomness(self._train.device)
        while True:
            pieces = torch.tensor_split(rows, steps(len(rows), self.batch_size)) if len(rows) else ()
            smaller = replace(drawn, parts=pieces)
            try:
                return self.learner(self._parts(smaller, watch, honest), n_rows)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if max(map(len, pieces)) == 1:
                    raise UserError(
                        "memory does not hold a single row of a batch. Take a smaller picture (model.image_size), a "
                        "smaller network (model.backbone), or a device with more memory."
                    ) from error
            # Outside of `except`: its traceback holds the failed batch.
            too_many = max(map(len, pieces))
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

    def _parts(
        self, drawn: Epoch, watch: Stopwatch | None, honest: HonestFraction | None
    ) -> Iterator[tuple[Tensor, Labels]]:
        for part in range(len(drawn.parts)):
            if watch is not None:
                watch.split("step")
            inputs, labels = self._train.take(drawn, part, watch)
            if watch is not None and honest is not None:
                honest.seen(inputs, labels)
            yield inputs, labels


def train_mode(network: nn.Module) -> None:
    """Put a network into training mode, save what carries `frozen = True`: its norms keep their running statistics."""
    network.train()
    for module in network.modules():
        if getattr(module, "frozen", False):
            module.eval()


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return a seed for one purpose of one epoch; near seeds and epochs give unrelated numbers."""
    return int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0] >> 1)
