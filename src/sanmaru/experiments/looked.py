"""What the data report says of training to come: the imbalance that folds will have, and what the network will see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.html.blocks import Section
    from sanmaru.project import Project
    from sanmaru.tasks.base import Task


def training_sections(project: Project, task: Task, table: pl.DataFrame) -> list[Section]:
    """Return the sections, as far as the project file's settings can be carried out.

    Args:
        project: Its split, model and training.
        task: Opened on the table.
        table: Usable training rows.
    """
    found = _imbalance(project, task, table)
    section = seen_section(project, task, table)
    return found if section is None else [*found, section]


def seen_section(project: Project, task: Task, table: pl.DataFrame) -> Section | None:
    """Show pictures as the network sees them; None for tasks without pictures, or where none can be read."""
    from sanmaru.cluster import cores

    look: Any = getattr(task, "seen", None)
    if look is None or task.roles.image not in table.columns:
        return None
    file = project.file
    section: Section | None = look(table, file.model, file.train, cache=project.cache_folder, threads=cores())
    return section


def _imbalance(project: Project, task: Task, table: pl.DataFrame) -> list[Section]:
    """With the folds that training would make; where they cannot be made, training says why."""
    from sanmaru.experiments.report_imbalance import imbalance_sections
    from sanmaru.tables.split import split

    classes = task.outputs[0].kind == "classification"
    try:
        if project.file.split.reuse is not None:
            return []  # the folds of another run, whose report tells of them
        folds = split(table, task.roles, project.file.split, classes=classes).fold
    except UserError:
        return []
    return imbalance_sections(task, project.file, table, folds)
