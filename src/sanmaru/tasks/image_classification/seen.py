"""What the network really sees: pictures as they come out of size policy and augmentation, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sanmaru.html.blocks import Block, Picture, Pictures, Section, Text
from sanmaru.images.read import thumbnail
from sanmaru.images.store import ImageStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sanmaru.tasks.image_classification.config import NetworkConfig
    from sanmaru.tasks.image_classification.task import ImageClassification
    from sanmaru.training.config import TrainConfig

IN_TRAINING, IN_EVALUATION = 24, 12
"""Pictures shown."""
LOOKED_AT = 600
"""Rows that the pictures are drawn from, evenly spaced over the table."""
SIDE = 128
"""Pixels of a shown picture at most; more would only make the report heavy."""


def seen_section(
    task: ImageClassification,
    table: pl.DataFrame,
    model: NetworkConfig,
    train: TrainConfig,
    *,
    cache: Path,
    threads: int = 1,
) -> Section | None:
    """Show a batch of training pictures as augmented, and evaluation pictures; None where no picture can be read.

    Args:
        task: With the classes.
        table: Training rows with pictures.
        model: Size and size policy.
        train: Augmentations of both lists, and sampling.
        cache: The cache folder; pictures of training are found there.
        threads: Decoders at work at once.
    """
    from sanmaru.training.batches import ImageBatches, balancing, channel_statistics

    rows = table[np.unique(np.linspace(0, table.height - 1, min(LOOKED_AT, table.height)).astype(np.int64))]
    found = ImageStore(cache, model.image_size, model.reader).load(rows[task.image].to_list(), threads=threads)
    readable = np.flatnonzero(found.positions >= 0)
    if not len(readable):
        return None
    positions, codes = found.positions[readable], task.truth(rows)[readable]
    mean, std = channel_statistics(found.array, positions, model.reader.zero)
    batches = ImageBatches(
        found.array,
        positions,
        codes,
        mean=mean,
        std=std,
        augmentations=train.augment,
        weights=balancing(codes) if train.sampling == "balanced" else None,
    )
    pixels, labels = batches.look(IN_TRAINING)
    few = np.unique(np.linspace(0, len(positions) - 1, min(IN_EVALUATION, len(positions))).astype(np.int64))
    plain = ImageBatches(found.array, positions[few], codes[few], mean=mean, std=std, evaluation=train.augment_valid)
    evaluated, _ = next(plain.plain())
    undone = (evaluated.permute(0, 2, 3, 1).numpy() * np.asarray(std) + np.asarray(mean)).round().clip(0, 255)
    classes = task.output.classes
    blocks: list[Block] = [
        _sheet(f"In training: {said(train.augment)}", pixels, captions(labels, classes)),
        _sheet(
            f"In evaluation: {said(train.augment_valid)}",
            undone.astype(np.uint8),
            [classes[code] for code in codes[few]],
        ),
    ]
    if train.sampling == "balanced":
        blocks.insert(0, Text("Rows are drawn so that every class comes equally often (train.sampling: balanced)."))
    return Section(
        title="What the network sees",
        lead=f"Squares of {model.image_size} x {model.image_size} pixels ({model.fit.kind}), as they go into the "
        "network, with normalisation undone. Whether you could still tell the class is a good test.",
        blocks=blocks,
    )


def said(augmentations: Sequence[Mapping[str, Any]]) -> str:
    """Say a list of augmentations in words.

    >>> said([{"hflip": 0.5}, {"griddropout": {"ratio": 0.4, "cells": 4}}]), said([])
    ('hflip 0.5, griddropout (ratio 0.4, cells 4)', 'nothing is changed')
    """

    def strength(value: Any) -> str:
        if isinstance(value, Mapping):
            return f"({', '.join(f'{key} {strength(item)}' for key, item in value.items())})"
        if isinstance(value, list | tuple):
            return " to ".join(strength(item) for item in value)
        return f"{value:g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)

    told = [f"{name} {strength(value)}" for entry in augmentations for name, value in entry.items()]
    return ", ".join(told) or "nothing is changed"


def captions(labels: Any, classes: Sequence[str]) -> list[str]:
    """Return the label of each picture, or both labels and their shares where pictures were mixed.

    Args:
        labels: int64 tensor (n,), or `training.mix.Mixed` of such.
        classes: Names by code.
    """
    if not hasattr(labels, "share"):
        return [classes[code] for code in labels.tolist()]
    told = []
    for code, other, share in zip(labels.labels.tolist(), labels.other.tolist(), labels.share.tolist(), strict=True):
        if code == other or share > 0.995:
            told.append(classes[code])
        else:
            told.append(f"{share:.0%} {classes[code]}\n{1 - share:.0%} {classes[other]}")
    return told


def _sheet(title: str, pixels: NDArray[np.uint8], told: Sequence[str]) -> Pictures:
    side = pixels.shape[1]
    pictures = [
        Picture(data=thumbnail(one, SIDE, quality=85), caption=text) for one, text in zip(pixels, told, strict=True)
    ]
    return Pictures(title=title, pictures=pictures, pixelated=side < 48)
