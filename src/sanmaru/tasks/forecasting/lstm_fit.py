"""Training an LSTM on windows gathered by index, and its export. Imported only where one is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sanmaru.metrics.forecasting import forecast_records, truth_records
from sanmaru.networks.lstm import Enter, ForecastNetwork, Member
from sanmaru.networks.windows import WindowShape
from sanmaru.tasks.forecasting.rows import goal_of, known_share, typical_values
from sanmaru.tasks.forecasting.window_batches import WindowBatches
from sanmaru.training.export import export_checked
from sanmaru.training.loop import limited_threads, pick_device, train_network

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.lstm import LSTM

TOLERANCE = 1e-3
"""Largest difference between ONNX Runtime's outputs and torch's, relative and in spreads of the target."""


@dataclass(frozen=True)
class Fitted:
    """What is left of a training."""

    graph: bytes
    """The network as ONNX: windows float32 (n, width) in, outputs (n, horizon · targets · (1 + quantiles)) out."""
    details: dict[str, Any]


class ForecastLoss(nn.Module):
    """Error of the number and pinball loss of its quantiles, over what came; what is missing counts for nothing.

    A window's loss is the sum over its known values divided by the number of all, so that parts of a batch add up.

    Args:
        goal: `squared` or `absolute`.
        levels: Of the quantiles, in (0, 1), (Q,).
        spread: Of each target, (T,): losses are of errors divided by it.
    """

    levels: Tensor
    spread: Tensor

    def __init__(self, goal: str, levels: Sequence[float], spread: Tensor) -> None:
        super().__init__()
        self.goal = goal
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))
        self.register_buffer("spread", spread)

    def forward(self, outputs: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean over windows and members of outputs (B, M, H · T · (1 + Q)) and labels (B, H · T)."""
        n_targets = len(self.spread)
        said = outputs.reshape(*outputs.shape[:2], -1, n_targets, 1 + len(self.levels))
        came = labels.reshape(len(labels), -1, n_targets)
        known = ~torch.isnan(came)
        # Filled before the subtraction: the gradient of a NaN that is masked afterwards is NaN all the same.
        came = torch.where(known, came, torch.zeros_like(came))
        error = (came[:, None, :, :, None] - said) / self.spread[:, None]
        each = error[..., 0].abs() if self.goal == "absolute" else error[..., 0].square()
        pinball = torch.maximum(self.levels * error[..., 1:], (self.levels - 1) * error[..., 1:])
        each = (each + 2 * pinball.sum(dim=-1)) * known[:, None]
        rows = each.mean(dim=(1, 2, 3))
        value: Tensor = (rows if weights is None else rows * weights).mean()
        return value


class Averaged(nn.Module):
    """A network whose members are averaged: windows (B, width) to outputs (B, H · T · (1 + Q))."""

    def __init__(self, network: ForecastNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """Return the mean over members."""
        outputs: Tensor = self.network(windows)
        return outputs.mean(dim=1)


def fit_lstm(model: LSTM, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> Fitted:
    """Train the model's network, and export it.

    Raises:
        DataError: when a target is known after none of the training windows.
    """
    config, layout = model.config, replace(model.layout, lookback=model.history)
    device = pick_device(model.train.device, context.device)
    learned = _batches(model, train, device)
    truth = learned.labels.cpu().numpy().reshape(len(learned), layout.horizon, -1)
    typical_values(truth, layout.targets)  # complains of a target that is never known
    held = None if valid is None else _batches(model, valid, device)
    mean, spread, gaps = learned.statistics()
    goal = goal_of(config.objective, context.metric.name)
    with limited_threads(context.threads), torch.random.fork_rng():
        torch.manual_seed(context.seed)
        network = build(model, mean, spread, gaps).to(device)
        scale = spread[: len(layout.targets)]
        to_metric, held_truth = _scored(held, scale, model.quantiles)
        trained = train_network(
            network,
            learned,
            held,
            loss=ForecastLoss(goal, model.quantiles, torch.from_numpy(scale)).to(device),
            config=model.train,
            context=context,
            identity={
                "model": config.model_dump(mode="json"),
                "train": model.train.model_dump(mode="json"),
                "windows": learned.fingerprint(),
                "quantiles": list(model.quantiles),
            },
            to_scored=lambda outputs: outputs.mean(dim=1),
            truth=held_truth,
            to_metric=to_metric,
        )
        some = learned.windows(torch.arange(min(4, len(learned)), device=device)).cpu()
        graph = export_checked(
            Averaged(network.cpu()).eval(),
            some,
            given="windows",
            said="outputs",
            unit=float(scale.max()),
            tolerance=TOLERANCE,
        )
    return Fitted(
        graph,
        {
            "windows": len(learned),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "members": config.members,
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "best_value": trained.best_value,
            "stopped": trained.stopped,
            "samples_per_s": trained.samples_per_s,
            "known_fraction": known_share(truth, layout.targets),
            "channels_with_gaps": [layout.channels[place] for place in gaps],
            **trained.honest,
        },
    )


def build(model: LSTM, mean: NDArray[np.float32], spread: NDArray[np.float32], gaps: Sequence[int]) -> ForecastNetwork:
    """Make an untrained network for a model's config."""
    config, layout = model.config, model.layout
    shape = WindowShape(
        targets=len(layout.targets),
        past=len(layout.past),
        known=len(layout.known),
        static=len(layout.static),
        lookback=model.history,
        horizon=layout.horizon,
    )
    enter = Enter(
        shape,
        torch.from_numpy(mean),
        torch.from_numpy(spread),
        gaps,
        offset=config.offset == "last",
        by_window=config.scale == "window",
    )
    members = [
        Member(
            shape,
            len(gaps),
            shape.targets * (1 + len(model.quantiles)),
            mode=config.mode,
            width=config.width,
            layers=config.layers,
            dropout=config.dropout,
        )
        for _ in range(config.members)
    ]
    return ForecastNetwork(enter, members, len(model.quantiles))


def _batches(model: LSTM, table: pl.DataFrame, device: torch.device) -> WindowBatches:
    """Windows by index from the task's panel; those that travel by themselves become series of their own."""
    layout = replace(model.layout, lookback=model.history)
    truth = model.task.target(table)
    if "values" not in table.columns:
        panel = model.task.panel
        series, at = (table[name].to_numpy().astype(np.int64) for name in ("series_code", "at"))
        return WindowBatches(
            layout, values=panel.values, static=panel.static, series=series, at=at, truth=truth, device=device
        )
    rows, whole = model.encode(table), model.layout
    ahead = np.full((len(rows), whole.horizon, len(whole.channels)), np.nan, dtype=np.float32)
    ahead[:, :, len(whole.targets) + len(whole.past) :] = whole.future(rows)
    values = np.concatenate([whole.history(rows), ahead], axis=1)
    numbers = np.arange(len(rows))
    at = np.full(len(rows), whole.lookback - 1)
    static = whole.statics(rows)
    return WindowBatches(layout, values=values, static=static, series=numbers, at=at, truth=truth, device=device)


def _scored(
    held: WindowBatches | None, spread: NDArray[np.float32], levels: Sequence[float]
) -> tuple[Any, NDArray[Any] | None]:
    """How outputs and truth reach the metric: several targets are divided by their spreads, for their units differ."""
    if held is None:
        return None, None
    n_targets = len(spread)
    unit = spread.astype(np.float64) if n_targets > 1 else np.ones(1)
    came = held.labels.cpu().numpy().astype(np.float64).reshape(len(held), -1, n_targets)

    def to_metric(outputs: NDArray[np.float32]) -> NDArray[Any]:
        said = outputs.astype(np.float64).reshape(len(outputs), -1, n_targets, 1 + len(levels))
        said[..., 1:].sort(axis=-1)
        return forecast_records(said / unit[:, None], levels)

    return to_metric, truth_records(came / unit, np.tile(spread / unit, (len(held), 1)))
