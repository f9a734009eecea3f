"""Training a network on rows that lie ready on the device, and its export. Imported only where one is fitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.metrics.base import find_metric
from sanmaru.networks.table import TableNetwork
from sanmaru.tasks.outputs import softmax
from sanmaru.tasks.tabular.estimator import Rows
from sanmaru.tasks.tabular.prepare import Prepare
from sanmaru.training.batches import divided
from sanmaru.training.export import export_checked
from sanmaru.training.loop import limited_threads, pick_device, train_network
from sanmaru.training.losses import make_loss
from sanmaru.training.watch import Stopwatch

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.network import Network

_PLAIN_ROWS = 4096


@dataclass(frozen=True)
class Fitted:
    """What is left of a training."""

    graph: bytes
    """The network as ONNX: prepared rows float32 (n, width) in, scores (n, n_scores) out."""
    details: dict[str, Any]


@dataclass(frozen=True)
class Epoch:
    """The order of one epoch."""

    parts: tuple[Tensor, ...]
    """Row numbers of each batch, int64."""


class TableBatches:
    """Prepared rows and their targets on a device.

    Args:
        rows: float32 (n, width).
        labels: int64 codes (n,), or float32 standardised numbers (n,).
        device: Where both are put; tables are small beside pictures.
    """

    def __init__(self, rows: NDArray[np.float32], labels: NDArray[Any], device: torch.device) -> None:
        self.device = device
        self.rows = torch.from_numpy(rows).to(device)
        self.labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, batch_size: int, generator: torch.Generator, pieces: int = 1) -> Any:
        """Draw the order of one epoch. Batches differ by one row at most."""
        order = torch.randperm(len(self), generator=generator).to(self.device)
        return Epoch(divided(order, batch_size, pieces))

    def take(self, epoch: Any, part: int, watch: Stopwatch | None = None) -> tuple[Tensor, Tensor]:
        """Return one batch of rows and labels."""
        index = epoch.parts[part]
        batch = self.rows[index], self.labels[index]
        if watch is not None:
            watch.split("gather")
        return batch

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield everything in order."""
        yield from zip(torch.split(self.rows, _PLAIN_ROWS), torch.split(self.labels, _PLAIN_ROWS), strict=True)


class MembersLoss(nn.Module):
    """Mean loss over members: each learns for itself, or they would not differ.

    Args:
        loss: Of (outputs (n, K), labels (n,)).
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return a scalar of outputs (B, M, K)."""
        members = outputs.shape[1]
        if weights is not None:
            weights = weights.repeat_interleave(members)
        value: Tensor = self.loss(outputs.flatten(0, 1), labels.repeat_interleave(members), weights)
        return value


class NumberLoss(nn.Module):
    """Error of a standardised number, and pinball loss of its quantiles.

    Args:
        goal: `squared` or `absolute`.
        levels: Of the quantiles, in (0, 1).
    """

    levels: Tensor

    def __init__(self, goal: str, levels: Sequence[float]) -> None:
        super().__init__()
        self.goal = goal
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean over rows of outputs (n, 1 + n_levels)."""
        error = labels[:, None] - outputs
        each = error[:, 0].abs() if self.goal == "absolute" else error[:, 0].square()
        pinball = torch.maximum(self.levels * error[:, 1:], (self.levels - 1) * error[:, 1:])
        each = each + pinball.sum(dim=1)
        return (each if weights is None else each * weights).mean()


class Averaged(nn.Module):
    """A network whose members are averaged: probabilities, given as logits, or numbers back on the target's scale.

    Args:
        network: Rows to (B, M, K).
        center: What a standardised number is moved by, and `spread` stretched by; None for classes.
        spread: Standard deviation of the target.
    """

    def __init__(self, network: nn.Module, center: float | None, spread: float) -> None:
        super().__init__()
        self.network = network
        self.center = center
        self.spread = spread

    def average(self, outputs: Tensor) -> Tensor:
        """Return (B, K) of outputs (B, M, K)."""
        if self.center is not None:
            return outputs.mean(dim=1) * self.spread + self.center
        return torch.log_softmax(outputs, dim=2).exp().mean(dim=1).clamp_min(1e-30).log()

    def forward(self, rows: Tensor) -> Tensor:
        """Return scores (B, K)."""
        return self.average(self.network(rows))


def fit_network(estimator: Network, prepare: Prepare, train: Rows, valid: Rows | None, context: FitContext) -> Fitted:
    """Train a network for the estimator's config, and export it."""
    config, training, output = estimator.config, estimator.train, estimator.task.output
    numbers = estimator.problem == "regression"
    targets = estimator._targets(train)
    center = float(targets.mean()) if numbers else None
    spread = (float(targets.std()) or 1.0) if numbers else 1.0

    def labels(rows: Rows) -> NDArray[Any]:
        own = estimator._targets(rows)
        return ((own - center) / spread).astype(np.float32) if numbers else own

    device = pick_device(training.device, context.device)
    with limited_threads(context.threads), torch.random.fork_rng():
        torch.manual_seed(context.seed)
        network = TableNetwork(
            len(prepare.numbers),
            len(prepare.marked),
            prepare.sizes.tolist(),
            output.width,
            width=config.width,
            blocks=config.blocks,
            members=config.members,
            dropout=config.dropout,
            frequency=config.frequency,
        ).to(device)
        averaged = Averaged(network, center, spread)
        learned = TableBatches(prepare.rows(train.matrix), labels(train), device)
        held = None if valid is None else TableBatches(prepare.rows(valid.matrix), labels(valid), device)
        goal = "absolute" if context.metric.name == "mae" else "squared"
        loss = NumberLoss(goal, output.quantiles) if numbers else make_loss(training.loss, train.truth, output.width)
        trained = train_network(
            network,
            learned,
            held,
            loss=MembersLoss(loss).to(device),
            config=training,
            # A field of the context: choosing classes by log loss is this model's own decision.
            context=context if numbers else replace(context, metric=find_metric("log_loss")),
            identity={
                "model": config.model_dump(mode="json"),
                "train": training.model_dump(mode="json"),
                "rows": _fingerprint(learned),
                "output": output.to_json(),
            },
            to_scored=averaged.average,
            truth=None if valid is None else valid.truth,
            to_metric=(lambda scores: estimator.scale.back(scores)[:, 0].astype(np.float64)) if numbers else softmax,
        )
        graph = export_checked(averaged.cpu().eval(), learned.rows[:4].cpu(), given="rows", said="scores")
    return Fitted(
        graph,
        {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "members": config.members,
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "best_value": trained.best_value,
            "stopped": trained.stopped,
            "samples_per_s": trained.samples_per_s,
            "target_scale": estimator.scale.kind,
            **trained.honest,
        },
    )


def _fingerprint(batches: TableBatches) -> str:
    """A hash of rows and labels: a checkpoint of other data is not continued."""
    found = hashlib.sha256(batches.rows.cpu().numpy().tobytes())
    found.update(batches.labels.cpu().numpy().tobytes())
    found.update(json.dumps(list(batches.rows.shape)).encode())
    return found.hexdigest()[:16]
