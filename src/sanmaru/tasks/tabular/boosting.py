"""What both kinds of boosted trees share: patience, the objective that fits a metric, and monotone constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.tabular.config import Direction
from sanmaru.tasks.tabular.estimator import Problem
from sanmaru.tasks.tabular.schema import Encoded
from sanmaru.tasks.tabular.target import Scale

if TYPE_CHECKING:
    from sanmaru.training.config import EarlyStoppingConfig

TREES_PER_EPOCH = 20
"""Patience is counted in epochs in the project file; for trees, one epoch is twenty rounds of boosting."""
LOG_EVERY = 10
"""Rounds between two points of the learning curve of the held rows."""
TRAIN_EVERY = 50
"""Rounds between two points of the training rows' curve, which costs a pass over all of them."""


class Patience:
    """The round with the least loss so far, and how long ago it was."""

    def __init__(self, stopping: EarlyStoppingConfig | None) -> None:
        self.best = 0
        """Rounds, from 1; 0 before any."""
        self.value = float("inf")
        self._rounds = stopping.patience * TREES_PER_EPOCH if stopping else None
        self._min_delta = stopping.min_delta if stopping else 0.0
        self._waited = 0

    def see(self, rounds: int, loss: float) -> bool:
        """Book the loss after so many rounds; return whether patience is spent."""
        clearly = loss < self.value - self._min_delta or not self.best
        if loss < self.value or not self.best:
            self.best, self.value = rounds, loss
        self._waited = 0 if clearly else self._waited + 1
        return self._rounds is not None and self._waited >= self._rounds


def objective(problem: Problem, wanted: str, scale: Scale, metric: str) -> str:
    """Return what trees minimise: `squared`, `absolute` or `percentage` error, or the log loss of the problem.

    `auto` takes the absolute error for MAE and MAPE, but on the logarithm, where errors are relative and tails short
    already, the squared one: medians are learned slowly (docs/decisions/tabular-models.md has the figures).
    """
    if problem != "regression":
        return problem
    if wanted == "auto":
        return "absolute" if metric in {"mae", "mape"} and scale.kind == "none" else "squared"
    return "absolute" if wanted == "percentage" and scale.kind == "log" else wanted


def monotone_signs(monotone: Mapping[str, Direction], columns: Sequence[Encoded]) -> list[int]:
    """Return 1, -1 or 0 for each column of the matrix.

    Raises:
        DataError: when a name is no feature, or a feature of categories or dates.
    """
    named = {column.name: place for place, column in enumerate(columns) if not column.n_codes and not column.cycle}
    signs = [0] * len(columns)
    for name, direction in monotone.items():
        if name not in named:
            sources = {column.source for column in columns}
            why = (
                "is not a column of numbers, and only numbers rise and fall"
                if name in sources
                else f"is not among the features. {nearest(name, named)}"
            )
            raise DataError(f"model.monotone names {name!r}, which {why.rstrip('.')}.")
        signs[named[name]] = 1 if direction == "increasing" else -1
    return signs
