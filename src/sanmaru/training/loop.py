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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.errors import UserError
from sanmaru.training.average import Average
from sanmaru.training.bottleneck import bottleneck_line, time_shares
from sanmaru.training.checkpoints import Checkpoints
from sanmaru.training.config import TrainConfig
from sanmaru.training.context import Context
from sanmaru.training.epoch import Batches, EpochRunner, epoch_seed, train_mode
from sanmaru.training.evaluate import evaluate
from sanmaru.training.optimizers import ParameterGroup, make_optimizer
from sanmaru.training.parallel import Orders, at_rest, crew_of, lent, pick_devices
from sanmaru.training.precision import pick_precision
from sanmaru.training.step import Learner
from sanmaru.training.watch import Clock, HonestFraction

__all__ = [
    "Batches",
    "Trained",
    "epoch_seed",
    "limited_threads",
    "pick_device",
    "train_mode",
    "train_network",
]


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
    batch_size: int
    """Rows at once, at the end: less than asked for where memory did not hold them."""
    honest: dict[str, Any] = field(default_factory=dict)
    """The honest fraction, the shares of a step and of the whole fit, and the line that sums them up."""


@dataclass
class _State:
    epoch: int = 0
    best_epoch: int = 0
    best_value: float | None = None
    best_loss: float = float("inf")
    mark: float | None = None
    """The value that the next one must beat by `min_delta` for the patience to begin anew."""
    waited: int = 0
    batch_size: int = 0
    """Rows at once that memory has been found to hold."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """Of the loss, in float16."""
    seconds: float = 0.0
    spent_s: dict[str, float] = field(default_factory=dict)
    """By what they were spent on."""
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
    decode_s: float = 0.0,
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
        decode_s: Seconds that building the cache of pictures took before, for the line that names the bottleneck.
        in_step: Called with (epoch, step) after every step; for tests that interrupt.

    Raises:
        UserError: when the loss is no longer a finite number, memory does not hold a single row, or fp16 is asked for
            on a CPU.
    """
    selects = valid is not None and config.selection != "none"
    if truth is None and valid is not None:
        truth = valid.labels.cpu().numpy()
    device = train.device
    precision = pick_precision(config.precision, device)
    average = Average(network, config.ema) if config.ema is not None else None
    scored = network if average is None else average.network
    optimizer = make_optimizer(network, config, groups)
    checkpoints = Checkpoints(context.folder, identity)
    state = _State(batch_size=config.batch_size)
    saved = checkpoints.load(network, optimizer, scored if average else None) if context.resume else None
    if saved is not None:
        state = _State(**saved)
        context.note(f"continued after epoch {state.epoch}")

    def orders() -> Orders:
        return Orders(
            network=at_rest(network),
            optimizer=optimizer.state_dict(),
            scaler=state.scaler,
            loss=at_rest(loss),
            train=lent(train),
            groups=None if groups is None else tuple(groups),
            config=config,
            seed=context.seed,
            epoch=state.epoch,
            batch_size=state.batch_size,
            threads=threads,
        )

    stopped = state.finished or "epochs"
    context.progress(state.epoch, config.epochs)
    several = config.devices is not None and not state.finished
    devices = (device, *pick_devices(config, context.device)[1:]) if several else (device,)
    threads = max(1, torch.get_num_threads() // (len(devices) if device.type == "cpu" else 1))
    with limited_threads(threads), crew_of(devices, orders) as crew:
        learner = Learner(
            network,
            optimizer,
            loss,
            precision=precision,
            clip=config.clip,
            reduce=crew.reduce if crew.size > 1 else None,
        )
        if state.scaler:
            learner.scaler.load_state_dict(state.scaler)
        runner = EpochRunner(learner, train, config, context.seed, crew=crew, batch_size=state.batch_size)
        if len(train) < runner.effective and runner.pieces > 1:
            context.note(f"a step would see {runner.effective} rows and there are {len(train)}: an epoch is one step")
        honest = HonestFraction(
            network,
            lambda net: Learner(net, make_optimizer(net, config, groups), loss, precision=precision, clip=config.clip),
            device,
            runner.total,
        )
        while state.epoch < config.epochs and not state.finished:
            if _patience_spent(state, config) and selects:
                stopped = "early stopping"
                break
            if context.deadline_s is not None and time.monotonic() > context.deadline_s and state.epoch > 0:
                stopped = "deadline"
                break
            crew.go_on(True)
            clock = Clock(state.spent_s)
            bare_before = honest.spent_s
            train_loss = runner.run(state.epoch, honest=honest, average=average, note=context.note, in_step=in_step)
            if not math.isfinite(train_loss):
                raise UserError(
                    f"the training loss is {train_loss} in epoch {state.epoch + 1}: training has diverged. Try a "
                    f"smaller train.learning_rate (now {config.learning_rate:g}), or clip the gradient (train.clip)."
                )
            clock.split("training", less={"measuring": honest.spent_s - bare_before})
            state.epoch += 1
            curves = {"train_loss": train_loss, "learning_rate": runner.rate}
            shown = {"train_loss": train_loss}
            best = not selects
            metric = None
            if valid is not None:
                valid_loss, logits = evaluate(scored, valid, loss, precision, to_scored)
                assert truth is not None
                metric = context.metric(truth, (to_metric or _softmax)(logits))
                curves |= {"valid_loss": valid_loss, f"valid_{context.metric.name}": metric}
                shown |= {"valid_loss": valid_loss, context.metric.name: metric}
                if selects:
                    best = _select(state, metric, valid_loss, config, context)
            clock.split("evaluation")
            if best:
                state.best_epoch, state.best_value = state.epoch, metric if selects else None
            state.seconds += clock.seconds
            state.honest = honest.details() if honest.pairs or not state.honest else state.honest
            state.batch_size = runner.batch_size
            state.scaler = learner.scaler.state_dict()
            context.log(state.epoch, **curves, seconds=clock.seconds)
            checkpoints.save(network, optimizer, state.__dict__, best=best, average=scored if average else None)
            context.progress(state.epoch, config.epochs, unit="epoch", **shown)
            clock.split("logging")
        crew.go_on(False)
    if not state.finished:
        if state.best_epoch != state.epoch:
            checkpoints.load_best(network, state.best_epoch)
        elif average is not None:
            network.load_state_dict(scored.state_dict())
        if stopped != "deadline":
            state.finished = stopped
            checkpoints.finish(network, state.__dict__)
    network.eval()
    shares = time_shares({"decode": decode_s, **state.spent_s}, state.honest.get("shares", {}))
    line = bottleneck_line(shares, state.honest)
    if line:
        context.note(line)
    return Trained(
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        best_value=state.best_value,
        stopped=stopped,
        seconds=state.seconds,
        samples_per_s=len(train) * state.epoch / max(state.spent_s.get("training", 0.0), 1e-9),
        batch_size=state.batch_size,
        honest={**state.honest, "time_shares": shares, "bottleneck": line},
    )


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


def _select(state: _State, metric: float, valid_loss: float, config: TrainConfig, context: Context) -> bool:
    """Book the metric of an epoch; return whether the epoch is the best so far (on equal metrics, by the loss)."""
    gain = config.early_stopping.min_delta if config.early_stopping else 0.0
    sign = 1.0 if context.metric.greater_is_better else -1.0
    if state.mark is None or sign * metric > sign * state.mark + gain:
        state.mark, state.waited = metric, 0
    elif _patience_counts(config, state.epoch):
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


def _patience_counts(config: TrainConfig, epoch: int) -> bool:
    """Whether an epoch may count against the patience: under a rate that falls to the end, one of the second half."""
    return config.schedule.kind not in ("cosine", "one-cycle") or 2 * epoch > config.epochs


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
