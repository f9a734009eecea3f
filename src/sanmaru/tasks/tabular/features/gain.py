"""What each feature step gains on a fold's validation rows.

`permute`: what the score loses when the step's columns are shuffled. Cheap, and says how much this model leans on the
step; a model without it might find the same elsewhere. `refit`: what the score loses when the step is left out and the
model fitted again. Dear, and says what the step adds.
"""

from __future__ import annotations

import copy
import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.tasks.tabular.features.build import Steps
from sanmaru.tasks.tabular.features.featured import Featured
from sanmaru.tasks.tabular.permutation import Shuffles

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.task import Tabular


def permuted(estimator: Featured, matrix: np.ndarray, shuffles: Shuffles) -> list[list[float]]:
    """Loss of score per step, once per repeat, when its columns are shuffled among encoded held rows."""
    wide = estimator.widen(matrix)
    forward = estimator.inner.forward
    whole = shuffles.value(forward(wide))
    return [shuffles.losses(forward, wide, list(places), whole) for _, places in estimator.step_columns()]


def refitted(
    task: Tabular,
    estimator: Featured,
    valid: pl.DataFrame,
    context: FitContext,
    *,
    fit: pl.DataFrame,
    selection: pl.DataFrame | None,
) -> list[list[float]]:
    """Loss of score per step, one number each, when the model is fitted without it."""
    metric = context.metric
    sign = 1.0 if metric.greater_is_better else -1.0
    whole = _value(task, estimator, valid, context)
    losses = []
    for place in range(len(task.steps.configs)):
        other = copy.copy(task)
        other.steps = without(task.steps, place)
        folder = context.folder / f"without-step-{place}"
        folder.mkdir(exist_ok=True)
        less = other.estimator(estimator.inner.config, estimator.inner.train)
        less.fit(fit, selection, dataclasses.replace(context, folder=folder, resume=False))
        losses.append([sign * (whole - _value(other, less, valid, context))])
        shutil.rmtree(folder)
    return losses


def without(steps: Steps, place: int) -> Steps:
    """The steps without one of them."""
    return dataclasses.replace(
        steps,
        configs=(*steps.configs[:place], *steps.configs[place + 1 :]),
        terms=(*steps.terms[:place], *steps.terms[place + 1 :]),
    )


def _value(task: Tabular, estimator: Any, valid: pl.DataFrame, context: FitContext) -> float:
    predictions = task.predictions(valid[task.roles.id], estimator.forward(estimator.encode(valid)))
    return context.metric(task.truth(valid), task.scored(predictions))
