"""Tasks by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.errors import ProjectFileError, nearest

if TYPE_CHECKING:
    from sanmaru.tasks.base import Task

NAMES = ("image-classification", "tabular", "forecasting")


def task_class(name: str) -> type[Task]:
    """Return the class of a task.

    Raises:
        ProjectFileError: for an unknown name.
    """
    match name:
        case "image-classification":
            from sanmaru.tasks.image_classification.task import ImageClassification

            return ImageClassification
        case "tabular":
            from sanmaru.tasks.tabular.task import Tabular

            return Tabular
        case "forecasting":
            from sanmaru.tasks.forecasting.task import Forecasting

            return Forecasting
        case "anomaly-detection":
            raise ProjectFileError(
                "task anomaly-detection has no target to train towards. Its commands are: sanmaru anomalies compare, "
                "fit and score."
            )
    raise ProjectFileError(f"unknown task {name!r}. {nearest(name, NAMES)}")


def task_from_json(value: dict[str, Any]) -> Task:
    """Rebuild a task from its `to_json`, which holds its `name`."""
    return task_class(value["name"]).from_json(value)
