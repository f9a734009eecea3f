"""What the training loop asks of whoever calls it; `tasks.base.FitContext` has it all."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from sanmaru.metrics.base import Metric


class Context(Protocol):
    """Where a network is trained, with what seed, and whom to tell of it."""

    folder: Path
    seed: int
    metric: Metric
    threads: int
    device: str
    resume: bool
    deadline_s: float | None

    def log(self, step: int, **metrics: float) -> None:
        """Add a point to the learning curves; `step` counts epochs from 1."""
        ...

    def progress(self, done: int, total: int, unit: str = "epoch", **shown: float) -> None:
        """Tell a watcher how far the training is."""
        ...

    def note(self, text: str) -> None:
        """Record a sentence for the log and the report."""
        ...
