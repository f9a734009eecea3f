"""The protocol of detectors, and what those that look at single rows share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sanmaru.metrics.base import Metric
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.anomalies.series import Floats, Indexes
from sanmaru.tasks.base import FitContext


class Detector(Protocol):
    """One way to tell how strange a row is. n rows, C channels (watched columns, then `time`)."""

    @property
    def kind(self) -> str:
        """Its name in the project file."""
        ...

    @property
    def window(self) -> int:
        """Rows that one score looks at, this one included."""
        ...

    def fit(self, features: Features, learn: Indexes, context: FitContext) -> None:
        """Learn from the rows at the places `learn`, contaminated as they are."""
        ...

    def score(self, features: Features, rows: Indexes) -> Floats:
        """Return how strange the rows at these places are, float64 (n,), higher is stranger."""
        ...

    def contributions(self, features: Features, rows: Indexes) -> Floats:
        """Return how much each channel adds to the scores, float64 (n, C), higher is more."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs. Nothing is pickled."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote; scores are the same to 1e-6."""
        ...


def without_channels(detector: Detector, features: Features, rows: Indexes) -> Floats:
    """Return by how much scores fall when a channel's features are what is usual, float64 (n, C), not below 0.

    For detectors that look at single rows and cannot divide their score by themselves.
    """
    taken = features.take(rows)
    every = np.arange(len(rows))
    scores = detector.score(taken, every)
    out = np.zeros((len(rows), len(features.channels)))
    for channel in range(len(features.channels)):
        values = taken.values.copy()
        values[:, features.channel == channel] = 0.0
        out[:, channel] = scores - detector.score(replace(taken, values=values), every)
    return np.maximum(out, 0.0)


def by_channel(each: Floats, features: Features, columns: Indexes | None = None) -> Floats:
    """Sum what features add (n, D) to what channels add (n, C)."""
    channel = features.channel if columns is None else features.channel[columns]
    out = np.zeros((len(each), len(features.channels)))
    np.add.at(out.T, channel, each.T)
    return out


def drawn(learn: Indexes, at_most: int, seed: int) -> Indexes:
    """Return at most so many of the places, drawn at random, in order."""
    if len(learn) <= at_most:
        return learn
    return np.sort(np.random.default_rng(seed).choice(learn, at_most, replace=False))


def _restore_error(truth: NDArray[Any], scored: NDArray[Any], weight: NDArray[Any] | None) -> float:
    return float(np.average(np.abs(truth - scored).mean(axis=1), weights=weight))


RESTORE_ERROR = Metric(
    name="restore_error",
    kind="regression",
    greater_is_better=False,
    function=_restore_error,
    title="mean absolute error of restored rows",
)
"""What chooses an autoencoder's best epoch: past rows have no labels, and so no detector is chosen by truth."""
