"""Autoencoders of rows or windows, trained by the training engine; a row is as strange as it is badly restored.

n rows, W rows of a window, D features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sanmaru.files import read_json, write_json
from sanmaru.networks.autoencoder import DenseAutoEncoder, LSTMAutoEncoder
from sanmaru.tasks.anomalies.config import AutoEncoderConfig, LSTMAutoEncoderConfig
from sanmaru.tasks.anomalies.detectors.base import RESTORE_ERROR, by_channel, drawn
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext
from sanmaru.training.batches import divided
from sanmaru.training.config import TrainConfig
from sanmaru.training.loop import limited_threads, pick_device, train_network
from sanmaru.training.watch import Stopwatch

if TYPE_CHECKING:
    from sanmaru.training.mix import Labels

_SMALLEST_SPREAD = 0.2
"""A feature that hardly varies is not stretched further: its one odd value would outshout all else in the loss."""
_SMALLEST_ERROR = 0.05
_SELECTS = 0.1
"""Fraction of the windows that choose the best epoch."""
_AT_ONCE = 2048


class AutoEncoder:
    """A detector of the kinds `autoencoder` and `lstm-autoencoder`.

    A feature's error is divided by its root mean square on past rows (a quantile would be 0 for a feature that rarely
    moves, such as rain, and any shower an alarm); the score is the mean of the squares.
    """

    def __init__(self, config: AutoEncoderConfig | LSTMAutoEncoderConfig, train: TrainConfig) -> None:
        self.config = config
        self.train = train
        self.kind = config.kind
        self.window = config.window
        self.details: dict[str, Any] = {}
        """How the training went: epochs, seconds, honest fraction."""
        self._network: nn.Module | None = None
        self._center: Floats = np.zeros(0)
        self._spread: Floats = np.ones(0)
        self._error: Floats = np.ones(0)

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Train the network; a tenth of the windows chooses the best epoch."""
        if isinstance(self.config, LSTMAutoEncoderConfig):
            learn = drawn(learn, self.config.rows, context.seed)
        values = features.values[learn]
        self._center = np.median(values, axis=0)
        self._spread = np.maximum(values.std(axis=0), _SMALLEST_SPREAD)
        scaled = torch.from_numpy(self._scaled(features).astype(np.float32))
        windows = torch.from_numpy(features.windows(learn, self.window))
        order = np.random.default_rng(context.seed).permutation(len(learn))
        aside = max(1, int(_SELECTS * len(learn)))
        held, learned = np.sort(order[:aside]), np.sort(order[aside:])
        device = pick_device(self.train.device, context.device)
        with limited_threads(context.threads), torch.random.fork_rng():
            torch.manual_seed(context.seed)
            network = self._make(scaled.shape[1]).to(device)
            trained = train_network(
                network,
                WindowBatches(scaled, windows[learned], device),
                WindowBatches(scaled, windows[held], device),
                loss=RestoreLoss(),
                config=self.train,
                context=replace(context, metric=RESTORE_ERROR),
                identity={
                    "model": self.config.model_dump(mode="json"),
                    "train": self.train.model_dump(mode="json"),
                    "rows": hashlib.sha256(scaled.numpy().tobytes()).hexdigest()[:16],
                },
                to_scored=_last_row,
                truth=scaled[windows[held, -1]].numpy(),
                to_metric=_as_numbers,
            )
            self._network = network.cpu().double().eval()
            self._error = np.ones(scaled.shape[1])
            errors = self._errors(features, learn)
        self._error = np.maximum(np.sqrt((errors**2).mean(axis=0)), _SMALLEST_ERROR)
        self.details = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "best_value": trained.best_value,
            "stopped": trained.stopped,
            "seconds": trained.seconds,
            "samples_per_s": trained.samples_per_s,
            **trained.honest,
        }

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return the mean squared errors, float64 (n,)."""
        return np.asarray((self._errors(features, rows) ** 2).mean(axis=1))

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return the squared errors of each channel's features, divided by D, float64 (n, C)."""
        each = self._errors(features, rows) ** 2
        return by_channel(each / each.shape[1], features)

    def save(self, folder: Path) -> None:
        """Write the weights and the scales."""
        from safetensors.torch import save_file

        assert self._network is not None, "fit comes before save"
        save_file(
            {name: value.contiguous() for name, value in self._network.state_dict().items()},
            folder / "weights.safetensors",
        )
        numbers = {"center": self._center.tolist(), "spread": self._spread.tolist(), "error": self._error.tolist()}
        write_json(
            folder / "autoencoder.json", {**numbers, "details": json.loads(json.dumps(self.details, default=str))}
        )

    def load(self, folder: Path) -> None:
        """Read the weights and the scales."""
        from safetensors.torch import load_file

        saved = read_json(folder / "autoencoder.json")
        self._center, self._spread, self._error = (np.array(saved[name]) for name in ("center", "spread", "error"))
        self.details = saved["details"]
        network = self._make(len(self._center)).double()
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        self._network = network.eval()

    def _make(self, width: int) -> nn.Module:
        config = self.config
        if isinstance(config, LSTMAutoEncoderConfig):
            return LSTMAutoEncoder(width, hidden=config.hidden, code=config.code)
        return DenseAutoEncoder(config.window, width, hidden=config.hidden, code=config.code)

    def _scaled(self, features: Features) -> Floats:
        return np.asarray((features.values - self._center) / self._spread)

    @torch.no_grad()
    def _errors(self, features: Features, rows: Indexes) -> Floats:
        """How badly the last row of each window is restored, float64 (n, D), in units of the usual error.

        In float64, so that a score does not depend on which rows are scored together.
        """
        assert self._network is not None, "fit or load comes before score"
        scaled = torch.from_numpy(self._scaled(features))
        windows = torch.from_numpy(features.windows(rows, self.window))
        out = np.empty((len(rows), scaled.shape[1]))
        for start in range(0, len(rows), _AT_ONCE):
            given = scaled[windows[start : start + _AT_ONCE]]
            error = (self._network(given)[:, -1] - given[:, -1]).abs()
            out[start : start + _AT_ONCE] = error.numpy()
        return out / self._error


@dataclass(frozen=True)
class Epoch:
    """The order of one epoch."""

    parts: tuple[Tensor, ...]
    """Places of the windows of each batch, int64."""


class WindowBatches:
    """Windows gathered from resident rows; a window is also what it should become.

    Args:
        values: float32 (n, D).
        windows: int64 (m, W), places of the rows of each window.
        device: Where both are put.
    """

    def __init__(self, values: Tensor, windows: Tensor, device: torch.device) -> None:
        self.device = device
        self.values = values.to(device)
        self.labels = windows.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(self, batch_size: int, generator: torch.Generator, pieces: int = 1) -> Any:
        """Draw the order of one epoch."""
        order = torch.randperm(len(self), generator=generator).to(self.device)
        return Epoch(divided(order, batch_size, pieces))

    def take(self, epoch: Any, part: int, watch: Stopwatch | None = None) -> tuple[Tensor, Labels]:
        """Return one batch of windows (B, W, D), twice."""
        batch = self.values[self.labels[epoch.parts[part]]]
        if watch is not None:
            watch.split("gather")
        return batch, batch

    def plain(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all windows in order."""
        for places in torch.split(self.labels, _AT_ONCE):
            batch = self.values[places]
            yield batch, batch


class RestoreLoss(nn.Module):
    """Mean Huber loss of restored windows: strange rows among those learned from pull with a bounded force."""

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean over windows, rows and features, a scalar."""
        each = functional.huber_loss(outputs, labels, reduction="none").flatten(1).mean(dim=1)
        return (each if weights is None else each * weights).mean()


def _last_row(outputs: Tensor) -> Tensor:
    return outputs[:, -1]


def _as_numbers(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    return outputs.astype(np.float64)
