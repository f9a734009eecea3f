"""The report of a run: one HTML file that holds everything someone needs who was not there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RunError, UserError
from sanmaru.experiments.looked import seen_section
from sanmaru.experiments.runs import FOLD, Run
from sanmaru.files import write_text
from sanmaru.project import ForecastingFile, ImageClassificationFile

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.html.blocks import Finding, Section
    from sanmaru.tasks.base import Task


def report(run: Run, output: Path | None = None, *, table: pl.DataFrame | None = None) -> Path:
    """Write the report of a run whose folds are scored.

    Features and pictures for the error analysis are read from the project's data; when that is gone, the report says
    so and goes without. Everything else comes from the run's own folder.

    Args:
        run: A run of `train` or `ensemble`.
        output: The HTML file; `report.html` in the run's folder where absent.
        table: The run's usable rows, where the caller has them at hand; read again where absent.

    Returns:
        Where the report lies.

    Raises:
        RunError: when the run has no scores yet.
    """
    from sanmaru.html.blocks import Page
    from sanmaru.html.page import render

    facts = run.facts
    project, task = run.project, run.task()
    path = output or run.folder / "report.html"
    page = Page(
        title=f"{project.name}: {_what(facts['kind'])}",
        subtitle=f"Run {run.id} · {_date(facts['created'])}",
        sections=sections(run, task, table),
        footer=f"Made by Sanmaru from {run.folder}. To make it again: sanmaru report {run.id}",
    )
    write_text(path, render(page))
    return path


def sections(run: Run, task: Task, table: pl.DataFrame | None = None) -> list[Section]:
    """Return the sections of a run's report, in reading order."""
    from sanmaru.experiments import report_curves as curves
    from sanmaru.experiments import report_facts as told
    from sanmaru.experiments.report_ensemble import ensemble_section
    from sanmaru.experiments.report_imbalance import imbalance_sections
    from sanmaru.experiments.report_result import result_section
    from sanmaru.experiments.report_scores import scores_section

    if not (run.folder / "scores.json").is_file():
        run.score()  # raises, and says how to finish the run
    rows, predictions = run.rows(), run.predictions()
    details = curves.read_details(run)
    found: list[Section | None] = [result_section(run, task, details), ensemble_section(run)]
    found.append(scores_section(run, task, rows, predictions))
    found += imbalance_sections(task, run.project.file, rows, rows[FOLD].to_numpy(), predictions)
    found += _diagnosis(run, task, rows, predictions, table)
    importance = getattr(task, "importance", None)
    if importance is not None and details:
        found += importance(details)
    found.append(curves.curves_section(run, details))
    found.append(told.data_section(run, task))
    found.append(told.split_section(run, task, rows))
    found.append(told.parameters_section(run))
    found.append(told.environment_section(run))
    return [section for section in found if section is not None]


def _diagnosis(
    run: Run, task: Task, rows: pl.DataFrame, predictions: pl.DataFrame, table: pl.DataFrame | None
) -> list[Section]:
    """The task's own error analysis; where the data cannot be read any more, what it can say without it."""
    from sanmaru.html.blocks import Section

    note = None
    bare = rows.drop(FOLD)  # a feature may have this name, and the analysis is not about folds
    if isinstance(run.project.file, ForecastingFile):  # its series lie in the run's folder
        from sanmaru.experiments.report_forecast import forecast_sections

        return forecast_sections(run, task, bare, predictions)
    try:
        if table is None:
            table, changed = read_again(run)
            note = _changed() if changed else None
        found = list(_analysis(run, task, with_features(bare, task, table), predictions))
    except (UserError, OSError) as error:
        found, note = _as_far_as_possible(task, bare, predictions), _gone(error)
    return found if note is None else [*found, Section(title="The data today", findings=[note])]


def _analysis(run: Run, task: Task, rows: pl.DataFrame, predictions: pl.DataFrame) -> Iterator[Section]:
    """The error analysis; of pictures with heat maps and what the network saw, where the run has fits of its own."""
    fits = [folder / "estimator" for folder in run.fold_folders()]
    file = run.project.file
    if not isinstance(file, ImageClassificationFile) or not fits:
        yield from task.diagnose(rows, predictions)
        return
    explained: Any = getattr(task, "explained", None)
    yield from explained(rows, predictions, fits, file.report.explain)
    section = seen_section(run.project, task, rows)
    if section is not None:
        yield section


def _changed() -> Finding:
    from sanmaru.html.blocks import Finding

    return Finding(
        title="The data has changed since this run",
        severity="info",
        evidence="Its fingerprint is not that of the run; features and pictures are shown as they are now.",
        advice="Train again for a report on today's data.",
        kind="data-changed",
    )


def _gone(error: Exception) -> Finding:
    from sanmaru.html.blocks import Finding

    return Finding(
        title="The data cannot be read any more",
        severity="info",
        evidence=f"Features and pictures are left out: {error}",
        advice="Bring it back and make the report again.",
        kind="data-gone",
    )


def _as_far_as_possible(task: Task, rows: pl.DataFrame, predictions: pl.DataFrame) -> list[Section]:
    found = []
    try:
        for section in task.diagnose(rows, predictions):
            found.append(section)
    except (UserError, OSError):
        pass  # the sections that need more than the targets come last, and the reader is told of them
    return found


def read_again(run: Run) -> tuple[pl.DataFrame, bool]:
    """Read the training table of a run's project, and whether its content has changed since.

    Raises:
        UserError: when it cannot be read any more.
    """
    from sanmaru.tables.read import read_data

    project = run.project
    data = read_data(project.file.data, project.folder, task=project.file.task)
    return data.table, data.fingerprint != run.facts.get("fingerprint")


def with_features(rows: pl.DataFrame, task: Task, table: pl.DataFrame) -> pl.DataFrame:
    """Join the rows of a run with the features and pictures of a table.

    Raises:
        RunError: when the table lacks rows of the run, with their number.
    """
    name = task.roles.id
    columns = [column for column in table.columns if column not in rows.columns]
    joined = rows.join(table.select(name, *columns), on=name, how="inner", maintain_order="left")
    if joined.height != rows.height:
        raise RunError(f"of the {rows.height} rows of the run the data holds {joined.height} now")
    return joined


def _what(kind: str) -> str:
    return {"train": "how well it works", "ensemble": "how well the ensemble works"}.get(kind, kind)


def _date(created: str) -> str:
    return f"{datetime.fromisoformat(created):%d %B %Y, %H:%M} UTC"
