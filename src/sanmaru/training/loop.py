"""The training loop: epochs over resident batches, the best epoch by the named metric, resumable at every epoch.

All random numbers come from (seed, epoch) and the learning rate from the step, so that a fit that is killed and
resumed ends with the same bits on a CPU as one left alone.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.errors import UserError
from sanmaru.training.batches import Epoch, steps
from sanmaru.training.checkpoints import Checkpoints
from sanmaru.training.config import TrainConfig
from sanmaru.training.context import Context
from sanmaru.training.mix import Labels, mixed_loss
from sanmaru.training.optimizers import ParameterGroup, learning_rate, make_optimizer, set_learning_rate
from sanmaru.training.watch import HonestFraction, Stopwatch


class Batches(Protocol):
    """What the loop asks of its data; `batches.ImageBatches` is one."""

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


@dataclass
class Trained:
    """How a fit ended."""

    epochs: int
    """Epochs trained, also before a resume."""
    best_epoch: int
    """The epoch whose weights the network has, from 1."""
    best_value: float | None
    """The named metric at that epoch; None where no rows select."""
    stopped: str
    """`epochs`, `early stopping` or `deadline`."""
    seconds: float
    """Of training, also before a resume, validation and bare steps included."""
    samples_per_s: float
    """Training samples per second of training time, validation and bare steps left out."""
    honest: dict[str, Any] = field(default_factory=dict)


@dataclass
class _State:
    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    best_loss: float = float("inf")
    mark: float | None = None
    """The value that the next one must beat by `min_delta` for the patience to begin anew."""
    waited: int = 0
    seconds: float = 0.0
    train_s: float = 0.0
    honest: dict[str, Any] = field(default_factory=dict)
    finished: str = ""
    """Why the fit ended; empty while it has not, or when only the deadline cut it short."""


def train_network(
    network: nn.Module,
    train: Batches,
    valid: Batches | None,
    *,
    loss: nn.Module,
    config: TrainConfig,
    context: Context,
    identity: dict[str, Any],
    to_scored: Callable[[Tensor], Tensor] | None = None,
    truth: NDArray[Any] | None = None,
    to_metric: Callable[[NDArray[np.float32]], NDArray[np.float64]] | None = None,
    groups: Sequence[ParameterGroup] | None = None,
    in_step: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a network in place and leave it with the weights of its best epoch, in evaluation mode.

    Args:
        network: On the device of the batches.
        train: What is learned from.
        valid: What selects the best epoch by `context.metric`; None keeps the last epoch, as does
            `config.selection` "none".
        loss: Of (raw outputs, labels, weights of the rows or None), on the same device.
        config: Epochs, optimiser, schedule, early stopping.
        context: Folder, seed, metric, progress.
        identity: Plain values that say what is trained on what; a checkpoint of another identity is not continued.
        to_scored: Turns raw outputs (B, width) into the logits (B, n_classes) that the metric scores; None where they
            are these logits.
        truth: Class codes or numbers (n_valid,) that the metric compares with; None takes the labels of `valid`.
        to_metric: Turns what `to_scored` gives, of all rows, into what the metric takes; None is softmax.
        groups: Parameters with a learning rate of their own.
        in_step: Called with (epoch, step) after every step; for tests that interrupt.

    Raises:
        UserError: when the loss is no longer a finite number.
    """
    selects = valid is not None and config.selection != "none"
    device = train.device
    cast = _autocast(config, device)
    if truth is None and valid is not None:
        truth = valid.labels.cpu().numpy()
    per_epoch = steps(len(train), config.batch_size)
    total = per_epoch * config.epochs
    optimizer = make_optimizer(network, config, groups)
    checkpoints = Checkpoints(context.folder, identity)
    state = _State()
    if context.resume and (saved := checkpoints.load(network, optimizer)) is not None:
        state = _State(**saved)
        context.note(f"continued after epoch {state.epoch}")

    def step(net: nn.Module, opt: torch.optim.Optimizer, inputs: Tensor, labels: Labels) -> Tensor:
        opt.zero_grad(set_to_none=True)
        with cast():
            outputs = net(inputs)
        value = mixed_loss(loss, outputs.float(), labels)
        value.backward()  # type: ignore[no-untyped-call]
        if config.clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
        opt.step()
        return value.detach()

    honest = HonestFraction(network, lambda net: make_optimizer(net, config, groups), step, device, total)
    stopped = state.finished or "epochs"
    context.progress(state.epoch, config.epochs)
    while state.epoch < config.epochs and not state.finished:
        if _patience_spent(state, config) and selects:
            stopped = "early stopping"
            break
        if context.deadline_s is not None and time.monotonic() > context.deadline_s and state.epoch > 0:
            stopped = "deadline"
            break
        began = time.perf_counter()
        bare_before = honest.spent_s
        generator = torch.Generator().manual_seed(epoch_seed(context.seed, state.epoch))
        torch.manual_seed(epoch_seed(context.seed, state.epoch, stream=1))  # dropout
        train_mode(network)
        epoch = train.shuffled(config.batch_size, generator)
        honest.planned((time.perf_counter() - began) / len(epoch.parts))
        losses = torch.zeros((), device=device)
        for part in range(len(epoch.parts)):
            rate = learning_rate(config, state.epoch * per_epoch + part, total)
            watch = honest.due()
            set_learning_rate(optimizer, rate)
            inputs, labels = train.take(epoch, part, watch)
            value = step(network, optimizer, inputs, labels)
            losses += value * len(inputs)
            if watch is not None:
                watch.split("step")
                honest.measured(watch, inputs, labels)
            if in_step is not None:
                in_step(state.epoch + 1, part)
        train_loss = float(losses) / len(train)
        if not math.isfinite(train_loss):
            raise UserError(
                f"the training loss is {train_loss} in epoch {state.epoch + 1}: training has diverged. Try a smaller "
                f"train.learning_rate (now {config.learning_rate:g}), or clip the gradient (train.clip)."
            )
        state.train_s += time.perf_counter() - began - (honest.spent_s - bare_before)
        state.epoch += 1
        curves = {"train_loss": train_loss, "learning_rate": rate}
        shown = {"train_loss": train_loss}
        best = not selects
        if valid is not None:
            valid_loss, logits = _evaluate(network, valid, loss, cast, to_scored)
            assert truth is not None
            metric = context.metric(truth, (to_metric or _softmax)(logits))
            curves |= {"valid_loss": valid_loss, f"valid_{context.metric.name}": metric}
            shown |= {"valid_loss": valid_loss, context.metric.name: metric}
            if selects:
                best = _select(state, metric, valid_loss, config, context)
        else:
            metric = None
        if best:
            state.best_epoch, state.best_value = state.epoch, metric if selects else None
        seconds = time.perf_counter() - began
        state.seconds += seconds
        state.honest = honest.details() if honest.pairs or not state.honest else state.honest
        context.log(state.epoch, **curves, seconds=seconds)
        checkpoints.save(network, optimizer, state.__dict__, best=best)
        context.progress(state.epoch, config.epochs, unit="epoch", **shown)
    if not state.finished:
        if state.best_epoch != state.epoch:
            checkpoints.load_best(network, state.best_epoch)
        if stopped != "deadline":
            state.finished = stopped
            checkpoints.finish(network, state.__dict__)
    network.eval()
    return Trained(
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        best_value=state.best_value,
        stopped=stopped,
        seconds=state.seconds,
        samples_per_s=len(train) * state.epoch / max(state.train_s, 1e-9),
        honest=state.honest,
    )


def train_mode(network: nn.Module) -> None:
    """Put a network into training mode, save what carries `frozen = True`: its norms keep their running statistics."""
    network.train()
    for module in network.modules():
        if getattr(module, "frozen", False):
            module.eval()


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return a seed for one purpose of one epoch; near seeds and epochs give unrelated numbers."""
    return int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0] >> 1)


def pick_device(asked: str, offered: str = "cpu") -> torch.device:
    """Return the device of a fit.

    Args:
        asked: `TrainConfig.device`; anything but `auto` wins.
        offered: `FitContext.device`; `auto` takes a GPU where there is one.
    """
    name = asked if asked != "auto" else offered
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextlib.contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let torch use `threads` cores inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _autocast(config: TrainConfig, device: torch.device) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    half = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    if not half:
        return contextlib.nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def _select(state: _State, metric: float, valid_loss: float, config: TrainConfig, context: Context) -> bool:
    """Book the metric of an epoch; return whether the epoch is the best so far (on equal metrics, by the loss)."""
    gain = config.early_stopping.min_delta if config.early_stopping else 0.0
    sign = 1.0 if context.metric.greater_is_better else -1.0
    if state.mark is None or sign * metric > sign * state.mark + gain:
        state.mark, state.waited = metric, 0
    else:
        state.waited += 1
    if (
        state.best_value is None
        or context.metric.better(metric, state.best_value)
        or (metric == state.best_value and valid_loss < state.best_loss)
    ):
        state.best_loss = valid_loss
        return True
    return False


def _patience_spent(state: _State, config: TrainConfig) -> bool:
    return config.early_stopping is not None and state.waited >= config.early_stopping.patience


@torch.no_grad()
def _evaluate(
    network: nn.Module,
    batches: Batches,
    loss: nn.Module,
    cast: Callable[[], contextlib.AbstractContextManager[Any]],
    to_scored: Callable[[Tensor], Tensor] | None,
) -> tuple[float, NDArray[np.float32]]:
    network.eval()
    total = 0.0
    logits = []
    for inputs, labels in batches.plain():
        with cast():
            out = network(inputs)
        out = out.float()
        total += float(loss(out, labels)) * len(inputs)
        logits.append((out if to_scored is None else to_scored(out)).float().cpu().numpy())
    return total / max(1, len(batches)), np.concatenate(logits)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
