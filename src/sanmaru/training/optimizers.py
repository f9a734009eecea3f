"""Optimisers, and the parameters that learn at a rate of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sanmaru.training.config import TrainConfig


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn at a rate of their own."""

    names: tuple[str, ...]
    """As in `network.named_parameters()`; names, not tensors, so that a copy of the network is grouped alike."""
    learning_rate_scale: float
    """The schedule's rate is multiplied by this."""


def make_optimizer(
    network: nn.Module, config: TrainConfig, groups: Sequence[ParameterGroup] | None = None
) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter, 2019), Adam (Kingma & Ba, 2015), or SGD with Nesterov's momentum.

    Weights decay; biases, norms, embeddings of positions and other parameters of one dimension do not. Frozen
    parameters (`requires_grad` False) are left out.

    Args:
        network: Whose parameters are learned.
        config: Optimiser, rate, decay.
        groups: Parameters whose rate is scaled; what no group names has scale 1.

    Raises:
        ValueError: for a name that the network lacks or that two groups share, or a network without parameters to
            learn.
    """
    scales = _scales(network, groups or ())
    sorted_: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            plain = parameter.ndim <= 1 or name.endswith(("position_embeddings", "cls_token", "mask_token"))
            sorted_.setdefault((scales.get(name, 1.0), 0.0 if plain else config.weight_decay), []).append(parameter)
    if not sorted_:
        raise ValueError("every parameter of the network is frozen: there is nothing to learn")
    # Any further key of a group is kept by torch, also through state_dict.
    made: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "scale": scale} for (scale, decay), parameters in sorted_.items()
    ]
    rate = config.learning_rate
    if config.optimizer == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(made, lr=rate, momentum=config.momentum, nesterov=nesterov, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(made, lr=rate, betas=config.betas, eps=config.eps, fused=True)


def _scales(network: nn.Module, groups: Sequence[ParameterGroup]) -> dict[str, float]:
    known = {name for name, _ in network.named_parameters()}
    scales: dict[str, float] = {}
    for group in groups:
        for name in group.names:
            if name not in known:
                raise ValueError(f"a parameter group names {name!r}, which the network does not have")
            if name in scales:
                raise ValueError(f"two parameter groups name {name!r}")
            scales[name] = group.learning_rate_scale
    return scales


def set_rates(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None) -> None:
    """Give every group the learning rate, times its own scale, and the momentum where the schedule moves it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
        if momentum is not None:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
