"""Growing boosters of LightGBM, their number of trees chosen where rows select.

To sort numbers into bins takes as long as a hundred small trees, so boosters of the same rows share their bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.training.config import EarlyStoppingConfig

ROUNDS_PER_EPOCH = 10
"""Patience is counted in epochs in the project file; one epoch is so many rounds."""
LOG_EVERY = 10
ROWS_PER_THREAD = 50_000
"""A tree of fewer rows is done before threads have met at its leaves."""

Floats64 = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Rows of features with what is to be learned of them, no NaN in it."""

    matrix: NDArray[np.float32]
    """(n, width); NaN is a missing number."""
    label: NDArray[np.float32]
    """(n,)."""

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True)
class Binned:
    """Rows in LightGBM's bins."""

    train: Any
    """What is learned from, `lightgbm.Dataset`."""
    valid: Any
    """What chooses the number of trees, likewise; None where nothing does."""
    threads: int
    """Cores that are worth their while for so many rows."""


def put_in_bins(train: Sample, valid: Sample | None, parameters: Mapping[str, Any]) -> Binned:
    """Sort numbers into bins once, for all boosters that learn from these rows.

    Args:
        train: What is learned from.
        valid: What chooses the number of trees; None where nothing does.
        parameters: Of LightGBM, without objective and metric.
    """
    import lightgbm

    threads = max(1, min(parameters["num_threads"], len(train) // ROWS_PER_THREAD))
    own = {**parameters, "num_threads": threads}
    dataset = lightgbm.Dataset(train.matrix, label=train.label, params=own, free_raw_data=True).construct()
    held = None if valid is None else lightgbm.Dataset(valid.matrix, label=valid.label, reference=dataset, params=own)
    return Binned(dataset, held, threads)


def grow(
    rows: Binned,
    parameters: Mapping[str, Any],
    *,
    rounds: int,
    stopping: EarlyStoppingConfig | None,
    context: FitContext,
    what: str,
) -> tuple[str, int]:
    """Grow trees.

    Args:
        rows: What is learned from, and what chooses the number of trees; without the latter `rounds` are grown.
        parameters: Of LightGBM, those of the bins with objective and metric.
        rounds: Trees at most.
        stopping: When to give up.
        context: Deadline and progress.
        what: Names the booster to a watcher.

    Returns:
        The model in LightGBM's own text format, and its number of trees.
    """
    import lightgbm

    booster = lightgbm.Booster({**parameters, "num_threads": rows.threads}, rows.train)
    if rows.valid is not None:
        booster.add_valid(rows.valid, "valid")
    patience = stopping.patience * ROUNDS_PER_EPOCH if stopping else rounds
    best, least, done = 0, float("inf"), 0
    for done in range(1, rounds + 1):
        exhausted = booster.update()
        if rows.valid is not None:
            loss = booster.eval_valid()[0][2]
            if loss < least:
                best, least = done, loss
        if done % LOG_EVERY == 0 or done == rounds:
            context.progress(done, rounds, f"tree of {what}")
        if exhausted or (rows.valid is not None and done - best >= patience):
            break
        if context.late():
            context.note(f"The deadline ended the fit of {what} after {done} of at most {rounds} trees.")
            break
    kept = best or done
    return booster.model_to_string(num_iteration=kept), kept
