"""What a project does about unequal classes, told in the data report and in a run's report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.html.blocks import Section
from sanmaru.tasks.imbalance import Remedy, imbalance_section
from sanmaru.tasks.rebanding import bands_section

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sanmaru.tasks.base import Task

ALIKE = {"soft-macro-f1", "logit-adjustment"}
"""Losses that treat classes alike by themselves."""


def remedy_of(file: Any) -> Remedy:
    """Return what the project file does for rare classes, wherever its model has the field for it."""
    heads = getattr(file.model, "heads", "joint")
    if file.task == "image-classification":
        loss = file.train.loss
        beta = getattr(loss, "beta", None)
        return Remedy(
            sampling=getattr(file.train, "sampling", "natural"),
            class_weights=loss.class_weights,
            beta=0.999 if beta is None else beta,
            loss=loss.kind if loss.kind in ALIKE else "",
            per_head=heads != "joint",
            per_network=heads == "separate",
            advice="Try train.sampling: balanced, or train.loss: {class_weights: balanced}, or train.loss: "
            "logit-adjustment, one at a time, and compare by macro F1; merge classes whose difference does not matter.",
        )
    return Remedy(
        class_weights=getattr(file.model, "class_weights", "none"),
        advice="Try model.class_weights: balanced and compare by macro F1; merge classes whose difference does not "
        "matter."
        if hasattr(file.model, "class_weights")
        else "Judge by macro F1 or ROC AUC rather than accuracy, and merge classes whose difference does not matter.",
    )


def imbalance_sections(
    task: Task, file: Any, rows: pl.DataFrame, folds: np.ndarray, predictions: pl.DataFrame | None = None
) -> list[Section]:
    """Show unequal classes, and numbers that are cut into bands; nothing for regression.

    Args:
        task: With its classes.
        file: The project file's content.
        rows: With the targets.
        folds: int64 (n,), where each row is validated.
        predictions: Out-of-fold predictions, keyed by id; absent before training.
    """
    if task.outputs[0].kind != "classification":
        return []
    found = []
    predicted = None if predictions is None else _predicted(task, rows, predictions)
    section = imbalance_section(task.outputs[0], task.truth(rows), folds, remedy_of(file), predicted)
    if section is not None:
        found.append(section)
    joint = getattr(task.roles, "joint", None)
    for target in joint.targets if joint is not None else ():
        if target.cuts and target.name in rows.columns:
            found.append(bands_section(target, rows[target.name].cast(float).to_numpy()))
    return found


def _predicted(task: Task, rows: pl.DataFrame, predictions: pl.DataFrame) -> np.ndarray:
    import numpy as np

    from sanmaru.tables.match import align

    name = task.roles.id
    places = align(predictions[name], rows[name], left_name="the predictions", right_name="the rows", subset=True)
    found = np.full(rows.height, -1, np.int64)
    found[places] = task.scored(predictions).argmax(axis=1)
    return found
