"""What a fold's model is asked after its fit, on the fold's validation rows: which columns and steps it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.tasks.tabular.contributions import told_contributions
from sanmaru.tasks.tabular.features.featured import Featured
from sanmaru.tasks.tabular.features.gain import permuted, refitted
from sanmaru.tasks.tabular.permutation import Shuffles, column_losses, rows_to_shuffle

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import Estimator, FitContext
    from sanmaru.tasks.tabular.task import Tabular


def examine(
    task: Tabular,
    estimator: Estimator,
    valid: pl.DataFrame,
    context: FitContext,
    *,
    fit: pl.DataFrame,
    selection: pl.DataFrame | None,
) -> dict[str, Any]:
    """Return plain values for `details.json`: permutation importance, contributions, and the gain of feature steps."""
    if not len(valid):
        return {}
    details = estimator.details()
    names = {feature.name for feature in task.schema.features}
    chosen = np.random.default_rng(context.seed).permutation(len(valid))[: rows_to_shuffle(len(valid), len(names))]
    rows = valid[np.sort(chosen)]
    matrix = estimator.encode(rows)
    shuffles = Shuffles(task, context.metric, task.truth(rows), context.seed)
    told: dict[str, Any] = {
        "metric": context.metric.name,
        "rows": len(rows),
        "permutation": column_losses(task, estimator, matrix, shuffles, details),
    }
    contributions = told_contributions(estimator, matrix, details, context.seed)
    if contributions is not None:
        told["contributions"] = contributions
    if isinstance(estimator, Featured) and task.steps.gain != "none":
        refit = task.steps.gain == "refit"
        losses = (
            refitted(task, estimator, valid, context, fit=fit, selection=selection)
            if refit
            else permuted(estimator, matrix, shuffles)
        )
        told["steps"] = [
            {"step": name, "columns": list(columns), "how": "refit" if refit else "permute", "losses": one}
            for (name, _), columns, one in zip(estimator.step_columns(), estimator.names, losses, strict=True)
        ]
    return {"examined": told}
