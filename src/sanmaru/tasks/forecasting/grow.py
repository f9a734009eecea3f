"""Growing one booster of LightGBM, its number of trees chosen where rows select."""

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


def grow(
    train: Sample,
    valid: Sample | None,
    parameters: Mapping[str, Any],
    *,
    rounds: int,
    stopping: EarlyStoppingConfig | None,
    context: FitContext,
    what: str,
) -> tuple[str, int]:
    """Grow trees.

    Args:
        train: What is learned from.
        valid: What chooses the number of trees; None grows `rounds`.
        parameters: Of LightGBM, objective and metric among them.
        rounds: Trees at most.
        stopping: When to give up.
        context: Deadline and progress.
        what: Names the booster to a watcher.

    Returns:
        The model in LightGBM's own text format, and its number of trees.
    """
    import lightgbm

    dataset = lightgbm.Dataset(train.matrix, label=train.label, params=dict(parameters), free_raw_data=True)
    booster = lightgbm.Booster(dict(parameters), dataset)
    if valid is not None:
        booster.add_valid(lightgbm.Dataset(valid.matrix, label=valid.label, reference=dataset), "valid")
    patience = stopping.patience * ROUNDS_PER_EPOCH if stopping else rounds
    best, least, done = 0, float("inf"), 0
    for done in range(1, rounds + 1):
        exhausted = booster.update()
        if valid is not None:
            loss = booster.eval_valid()[0][2]
            if loss < least:
                best, least = done, loss
        if done % LOG_EVERY == 0 or done == rounds:
            context.progress(done, rounds, f"tree of {what}")
        if exhausted or (valid is not None and done - best >= patience):
            break
        if context.late():
            context.note(f"The deadline ended the fit of {what} after {done} of at most {rounds} trees.")
            break
    kept = best or done
    return booster.model_to_string(num_iteration=kept), kept
