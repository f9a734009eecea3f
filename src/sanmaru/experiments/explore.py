"""The data report: what the tables show before anything is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.files import write_json, write_text
from sanmaru.project import ForecastingFile, Project

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.findings.source import Source
    from sanmaru.html.blocks import Finding, Section
    from sanmaru.tables.roles import Roles
    from sanmaru.tasks.base import Task

REPORT = "reports/explore.html"


def explore(project: Project, output: Path | None = None) -> Path:
    """Write the data report of a project, and beside it its findings as JSON.

    Args:
        project: Whose train and test tables are looked at.
        output: The HTML file; `reports/explore.html` in the project folder where absent. The findings get the same
            name with the ending `.json`.

    Returns:
        Where the report lies.

    Raises:
        UserError: when the data cannot be read.
    """
    from sanmaru.html.blocks import Page
    from sanmaru.html.page import render

    path = output or project.path(REPORT)
    if path.suffix == ".json":
        raise DataError(
            f"the report is HTML and its findings go to a .json beside it; {path} would be both. Name a .html."
        )
    looked = look_series(project) if isinstance(project.file, ForecastingFile) else look(project)
    made = datetime.now(UTC)
    page = Page(
        title=f"{project.name}: the data",
        subtitle=looked.subtitle,
        sections=looked.sections,
        footer=f"Made by Sanmaru on {made:%d %B %Y, %H:%M} UTC. To repeat: sanmaru explore --project {project.folder}",
    )
    write_text(path, render(page))
    findings = [{"section": s.title, **asdict(finding)} for s in looked.sections for finding in s.findings]
    record: dict[str, Any] = {
        "project": project.name,
        "made": made.isoformat(timespec="seconds"),
        "report": path.name,
        **looked.facts,
        "findings": sorted(findings, key=lambda finding: _ORDER[finding["severity"]]),
    }
    write_json(path.with_suffix(".json"), record)
    return path


_ORDER = {"problem": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at the data of a project gave."""

    sections: list[Section]
    subtitle: str
    facts: dict[str, Any] = field(default_factory=dict)


def look(project: Project) -> Looked:
    """Read the tables of a project and compute the sections: first the overview, then the task's, then the columns'.

    Raises:
        UserError: when the training data cannot be read. What only keeps the task from opening (one class, a missing
            target) becomes a finding, so that the report still shows the rest.
    """
    from sanmaru.experiments.looked import training_sections
    from sanmaru.findings.sections import general_sections, opening_sections

    source, options = _read(project)
    task, hindrance = _open(project, source.train, source.roles, options)
    if task is not None:
        source = _with_classes(source, task)
    sections = opening_sections(source)
    if task is not None:
        sections += list(task.explore(source.train, source.test))
        sections += training_sections(project, task, source.train)
    if hindrance is not None:
        sections.insert(0, hindrance)
    sections += general_sections(source)
    rows = {"train": source.train.height, "test": None if source.test is None else source.test.height}
    aside = {"train": len(source.quarantine), "test": len(source.test_quarantine)}
    subtitle = f"{project.file.task.replace('-', ' ')} · {source.train.height:,} rows"
    if source.test is not None:
        subtitle += f" · {source.test.height:,} to predict"
    return Looked(sections=sections, subtitle=subtitle, facts={"rows": rows, "set_aside": aside})


def look_series(project: Project) -> Looked:
    """Read the series of a forecasting project and compute the sections.

    Raises:
        UserError: when they cannot be read. What only keeps origins from being chosen becomes a finding.
    """
    import polars as pl

    from sanmaru.findings.quarantine import quarantined
    from sanmaru.findings.source import Source
    from sanmaru.html.blocks import Section
    from sanmaru.tasks.forecasting.diagnose import left_out_section
    from sanmaru.tasks.forecasting.opening import open_series, split_windows

    file = project.file
    assert isinstance(file, ForecastingFile)
    opened = open_series(file.data, file.forecast, project.folder)
    sections: list[Section] = []
    try:
        task = split_windows(opened, file.forecast, file.split).task
    except DataError as error:
        task, finding = opened.task, _cannot_train(str(error))
        sections.append(
            Section(title="Cannot be trained yet", lead="The rest of this report holds.", findings=[finding])
        )
    sections += task.explore(pl.DataFrame(), None)
    judged = left_out_section(task)
    rows = int(opened.grid.present.sum())
    source = Source(train=pl.DataFrame({"row": range(rows)}), roles=task.roles, quarantine=opened.quarantine)
    sections += [section for section in (judged, quarantined(source)) if section is not None]
    return Looked(
        sections=sections,
        subtitle=f"forecasting · {task.facts['series']:,} series · {rows:,} rows",
        facts={"rows": {"train": rows, "test": None}, "set_aside": {"train": len(opened.quarantine), "test": 0}},
    )


def _read(project: Project) -> tuple[Source, dict[str, Any]]:
    from sanmaru.cluster import cores
    from sanmaru.findings.source import Source
    from sanmaru.tables.contract import Quarantine
    from sanmaru.tables.read import read_data
    from sanmaru.tasks.find import task_class

    file = project.file
    kind = task_class(file.task)
    train = read_data(file.data, project.folder, task=file.task)
    test = read_data(file.data, project.folder, task=file.task, part="test") if file.data.test else None
    tables: list[pl.DataFrame | None] = [train.table, None if test is None else test.table]
    aside = [train.quarantine, Quarantine() if test is None else test.quarantine]
    if hasattr(kind, "usable"):
        size, fit = getattr(file.model, "image_size", 64), getattr(file.model, "reader", None)
        for side, table in enumerate(tables):
            if table is not None:
                # The size and the cache of training, which then finds every picture decoded.
                tables[side], unusable = kind.usable(
                    table, train.roles, project.cache_folder, image_size=size, fit=fit, threads=cores()
                )
                aside[side] = aside[side] + unusable
    assert tables[0] is not None
    source = Source(
        train=tables[0],
        test=tables[1],
        roles=train.roles,
        columns=train.columns,
        quarantine=aside[0],
        test_quarantine=aside[1],
        split=file.split.kind,
        about=file.problem,
        train_name=file.data.train,
        oddities=train.oddities,
    )
    return source, {"columns": train.columns, "missing": file.data.missing}


def _open(
    project: Project, table: pl.DataFrame, roles: Roles, options: dict[str, Any]
) -> tuple[Task | None, Section | None]:
    from sanmaru.html.blocks import Section
    from sanmaru.tasks.find import task_class

    for name in ("problem_type", "features", "features_gain"):
        if hasattr(project.file, name):
            options = {**options, name: getattr(project.file, name)}
    try:
        return task_class(project.file.task).open(table, roles, **options), None
    except DataError as error:
        finding = _cannot_train(str(error))
        return None, Section(title="Cannot be trained yet", lead="The rest of this report holds.", findings=[finding])


def _cannot_train(reason: str) -> Finding:
    from sanmaru.html.blocks import Finding

    return Finding(
        title="The target cannot be learned from",
        severity="problem",
        evidence=reason,
        advice="Mend the data or the project file; sanmaru train would stop with the same message.",
        kind="cannot-train",
    )


def _with_classes(source: Source, task: Task) -> Source:
    from dataclasses import replace

    return replace(source, classes=task.outputs[0].kind == "classification")
