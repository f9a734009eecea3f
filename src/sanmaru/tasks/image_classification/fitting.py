"""Fitting the network of an estimator, or one network per target, to pictures that are decoded already."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sanmaru.tasks.image_classification.backbones import Built, build
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.heads import Heads, headed
from sanmaru.training.batches import ImageBatches, balancing, channel_statistics
from sanmaru.training.loop import Trained, epoch_seed, train_network
from sanmaru.training.parallel import pick_devices

if TYPE_CHECKING:
    from sanmaru.metrics.base import Metric
    from sanmaru.training.config import TrainConfig
    from sanmaru.training.context import Context


Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, in 0..255."""


class Rows(NamedTuple):
    """Pictures with what is learned of them."""

    images: NDArray[np.uint8]
    """(m, size, size, 3); may be memory-mapped."""
    positions: NDArray[np.int64]
    """(n,), where in `images` each picture stands."""
    labels: NDArray[np.int64]
    """What the heads learn, (n,) or (n, n_targets)."""
    truth: NDArray[np.int64]
    """Class codes that are scored, (n,)."""


@dataclass(frozen=True)
class Plan:
    """What is built, and how it is trained."""

    config: NetworkConfig
    train: TrainConfig
    heads: Heads


@dataclass(frozen=True)
class Fitted:
    """A fitted network."""

    network: nn.Module
    """Normalised pictures (B, 3, H, W) in, logits of the scored classes out; in evaluation mode, on its device."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    details: dict[str, Any]
    architecture: dict[str, Any] | None
    """Of pretrained weights, from which `build` makes the network again without them."""


def fit_network(plan: Plan, fit: Rows, valid: Rows | None, context: Context, decode_s: float = 0.0) -> Fitted:
    """Build and train, with all random numbers from `context.seed`.

    Args:
        plan: Network, training, and what the raw outputs mean.
        fit: Rows to learn from.
        valid: Rows that select the best epoch.
        context: Folder, seed, metric, progress.
        decode_s: Seconds that building the cache of pictures took.
    """
    config, train, heads = plan.config, plan.train, plan.heads
    fits = _fits(heads, context)
    pick = pick_devices(train, context.device)[0]
    # The project folder is one of those above the fold's own: paths of the project file are relative to it.
    near = context.folder.resolve().parents
    normalisation: Normalisation | None = None
    ended: list[Trained] = []
    networks: list[nn.Module] = []
    trainable = 0
    for one in fits:
        torch.manual_seed(epoch_seed(one.context.seed, 0, stream=2))
        built = build(config, one.width, near)
        normalisation = normalisation or _normalisation(built, fit, config)
        network = built.network.to(pick).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        ended.append(_train(built, plan, one, (fit, valid), normalisation, decode_s=0.0 if ended else decode_s))
        networks.append(network)
        trainable += built.trainable
    assert normalisation is not None
    network = headed(networks, heads).to(pick).eval()
    details = {
        "backbone": config.backbone,
        "pretrained": config.pretrained,
        "image_size": config.image_size,
        "heads": heads.kind,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trainable": trainable,
        "device": str(pick),
        **_told(ended, [one.name for one in fits]),
    }
    return Fitted(network, *normalisation, details, built.architecture)


@dataclass(frozen=True)
class _Fit:
    """One network to be trained: all heads on it, or the one of a target."""

    name: str
    width: int
    heads: Heads
    place: int | None
    """Of the target; None where the network has all heads."""
    context: Context

    def of(self, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what this network learns, and the class codes that its best epoch is chosen by."""
        if self.place is None or self.heads.joint is None:
            return rows.labels, rows.truth
        return rows.labels[:, self.place], self.heads.joint.split(rows.truth)[:, self.place]


def _fits(heads: Heads, context: Context) -> list[_Fit]:
    if heads.kind != "separate" or heads.joint is None:
        return [_Fit("", heads.width, heads, None, context)]
    names, n_fits = heads.joint.names, len(heads.widths)
    return [
        _Fit(name, heads.widths[place], heads, place, PartContext.of(context, name, place, n_fits))
        for place, name in enumerate(names)
    ]


def _normalisation(built: Built, fit: Rows, config: NetworkConfig) -> Normalisation:
    if built.mean is not None and built.std is not None:
        return built.mean, built.std
    return channel_statistics(fit.images, fit.positions, config.reader.zero)


def _train(
    built: Built,
    plan: Plan,
    one: _Fit,
    rows: tuple[Rows, Rows | None],
    normalisation: Normalisation,
    *,
    decode_s: float,
) -> Trained:
    network, train, (fit, valid), (mean, std) = built.network, plan.train, rows, normalisation
    device = next(network.parameters()).device
    labels, codes = one.of(fit)
    fit_rows = ImageBatches(
        fit.images,
        fit.positions,
        labels,
        mean=mean,
        std=std,
        augmentations=train.augment,
        weights=balancing(codes) if train.sampling == "balanced" else None,
        device=device,
    )
    valid_rows, truth = None, None
    if valid is not None:
        valid_labels, truth = one.of(valid)
        valid_rows = ImageBatches(
            valid.images,
            valid.positions,
            valid_labels,
            mean=mean,
            std=std,
            evaluation=train.augment_valid,
            device=device,
        )
    heads = one.heads
    if one.place is None:
        to_scored, loss = heads.to_joint(), heads.loss(train.loss, labels)
    else:
        to_scored, loss = heads.to_one(one.place), heads.loss_of_one(train.loss, labels, one.place)
    return train_network(
        network,
        fit_rows,
        valid_rows,
        loss=loss.to(device),
        config=train,
        context=one.context,
        identity={
            "model": plan.config.model_dump(mode="json"),
            "train": train.model_dump(mode="json"),
            "target": one.name,
            "width": one.width,
            "rows": [len(fit_rows), len(valid_rows) if valid_rows is not None else 0],
            "labels": int(labels.sum()),
            "seed": one.context.seed,
            "metric": one.context.metric.name,
            "normalisation": [list(mean), list(std)],
        },
        to_scored=to_scored.to(device).eval(),
        truth=truth,
        groups=built.groups,
        decode_s=decode_s,
    )


def _told(ended: Sequence[Trained], names: Sequence[str]) -> dict[str, Any]:
    """What the fits say of themselves; of several, the totals, and each by its target's name."""

    def one(fit: Trained) -> dict[str, Any]:
        return {
            "epochs": fit.epochs,
            "best_epoch": fit.best_epoch,
            "best_value": fit.best_value,
            "batch_size": fit.batch_size,
            "stopped": fit.stopped,
            "train_s": round(fit.seconds, 3),
            "samples_per_s": round(fit.samples_per_s, 1),
        }

    longest = max(ended, key=lambda fit: fit.seconds)
    if len(ended) == 1:
        return {**one(longest), **longest.honest}
    told = one(longest) | {
        "epochs": max(fit.epochs for fit in ended),
        "best_epoch": max(fit.best_epoch for fit in ended),
        "best_value": None,
        "stopped": ", ".join(dict.fromkeys(fit.stopped for fit in ended)),
        "train_s": round(sum(fit.seconds for fit in ended), 3),
    }
    return {**told, **longest.honest, "targets": {name: one(fit) for name, fit in zip(names, ended, strict=True)}}


@dataclass
class PartContext:
    """The context of one of several fits of a fold: a folder and a seed of its own, curves beside the others'."""

    folder: Path
    seed: int
    metric: Metric
    threads: int
    device: str
    resume: bool
    deadline_s: float | None
    outer: Context
    name: str
    place: int
    of_all: int

    @classmethod
    def of(cls, outer: Context, name: str, place: int, of_all: int) -> PartContext:
        """Make the context of the target at `place` out of `of_all`."""
        folder = outer.folder / "targets" / str(place)
        folder.mkdir(parents=True, exist_ok=True)
        return cls(
            folder=folder,
            seed=epoch_seed(outer.seed, place, stream=3),
            metric=outer.metric,
            threads=outer.threads,
            device=outer.device,
            resume=outer.resume,
            deadline_s=outer.deadline_s,
            outer=outer,
            name=name,
            place=place,
            of_all=of_all,
        )

    def log(self, step: int, **metrics: float) -> None:
        """Add a point to the curves of this target."""
        # MLflow, which mirrors the curves, takes no other signs in a name.
        name = re.sub(r"[^\w.\- :/]", "_", self.name)
        self.outer.log(step, **{f"{key} of {name}": value for key, value in metrics.items() if key != "seconds"})

    def progress(self, done: int, total: int, unit: str = "epoch", **shown: float) -> None:
        """Tell how far all fits together are, as though the others took as many epochs."""
        self.outer.progress(self.place * total + done, self.of_all * total, unit, **shown)

    def note(self, text: str) -> None:
        """Record a sentence, with the target it is of."""
        self.outer.note(f"{self.name}: {text}")
