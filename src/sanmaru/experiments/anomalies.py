"""Anomaly detectors of a project: compare them, keep one, judge a file with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import ProjectFileError, UserError, nearest
from sanmaru.project import Project

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.anomalies.compare import Comparison
    from sanmaru.tasks.anomalies.config import AnomalyConfig
    from sanmaru.tasks.anomalies.fitted import Fitted

FOLDER = "anomaly-detector"
"""Folder of the kept detector, in the project folder."""


def detection_config(project: Project) -> AnomalyConfig:
    """Return what the project file says of anomalies: of the task, or of its section `anomalies`.

    Raises:
        ProjectFileError: when it says nothing.
    """
    from sanmaru.tasks.anomalies.config import TRAINING, AnomalyConfig

    file: Any = project.file
    if file.task == "anomaly-detection":
        section, columns, zone = file, tuple(file.data.features or ()), file.zone
        train = file.train if "train" in file.model_fields_set else TRAINING
    elif getattr(file, "anomalies", None) is not None:
        section, columns, zone, train = file.anomalies, file.anomalies.columns, file.forecast.zone, TRAINING
    else:
        raise ProjectFileError(
            f"the project {file.name!r} has task {file.task}, and says nothing of anomalies. Set task: "
            "anomaly-detection, or give a forecasting project the section anomalies."
        )
    return AnomalyConfig(
        columns=columns,
        counters=section.counters,
        zone=zone,
        model=section.model,
        budget=section.budget,
        train=train,
        seed=file.seed,
    )


def read_rows(project: Project, config: AnomalyConfig, file: str | Path | None = None) -> pl.DataFrame:
    """Read the project's past rows, or another file of the same form, as a long table.

    Raises:
        DataError: when the file cannot be read.
    """
    from sanmaru.tasks.anomalies.read import LongColumns, read_long

    roles = LongColumns.of(project.file.data, zone=config.zone, columns=config.columns)
    return read_long(project.path(project.file.data.train) if file is None else Path(file), roles)


def compare_anomalies(
    project: Project,
    kinds: Sequence[str] = (),
    *,
    events: int,
    output: Path | None = None,
    threads: int = 1,
    told: Callable[[str], None] | None = None,
) -> tuple[Comparison, Path]:
    """Compare detectors on faults injected into the project's rows, and write the page.

    Args:
        project: With its rows.
        kinds: Of detectors; all where empty. The project's own keeps its settings.
        events: Faults of each kind.
        output: HTML file; `reports/anomalies.html` in the project folder where absent.
        threads: Cores that may be used.
        told: Called with each detector before it is fitted.

    Raises:
        UserError: for an unknown kind, or rows that cannot be used.
    """
    from pydantic import TypeAdapter

    from sanmaru.files import write_json, write_text
    from sanmaru.html.page import render
    from sanmaru.tasks.anomalies.compare import compare_detectors
    from sanmaru.tasks.anomalies.config import KINDS, DetectorConfig
    from sanmaru.tasks.anomalies.page import comparison_page

    config = detection_config(project)
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"unknown detector {kind!r}. {nearest(kind, KINDS)}")
    models: TypeAdapter[Any] = TypeAdapter(DetectorConfig)
    configs = [
        config
        if kind == config.model.kind
        else config.model_copy(update={"model": models.validate_python({"kind": kind})})
        for kind in dict.fromkeys(kinds or KINDS)
    ]
    table = read_rows(project, config)
    found = compare_detectors(table, configs, events=events, seed=config.seed, threads=threads, told=told)
    path = output or project.folder / "reports" / "anomalies.html"
    write_text(path, render(comparison_page(found, project.name)))
    write_json(path.with_suffix(".json"), found.to_json())
    return found, path


def fit_anomalies(project: Project, folder: Path | None = None, *, threads: int = 1) -> tuple[Fitted, Path]:
    """Fit the project's detector on its past rows and keep it.

    Args:
        project: With its rows.
        folder: Where the detector is kept; `anomaly-detector` in the project folder where absent.
        threads: Cores that may be used.

    Raises:
        UserError: when the rows cannot be used.
    """
    from sanmaru.tasks.anomalies.fitted import fit_detector

    config = detection_config(project)
    fitted = fit_detector(read_rows(project, config), config, threads=threads)
    path = folder or project.folder / FOLDER
    fitted.save(path)
    return fitted, path


def score_anomalies(
    project: Project, file: Path, *, folder: Path | None = None, before: Path | None = None
) -> pl.DataFrame:
    """Give every row of a file its verdict; none is left out.

    Args:
        project: Whose roles the file's columns have.
        file: New rows, in the form of `data.train`.
        folder: The kept detector.
        before: Rows from before, in the same form; the project's past rows where absent.

    Raises:
        UserError: when there is no detector, it was altered, or a file cannot be read.
    """
    from sanmaru.tasks.anomalies.fitted import Fitted

    fitted = Fitted.load(folder or project.folder / FOLDER)
    rows = read_rows(project, fitted.config, file)
    earlier = read_rows(project, fitted.config, before)
    return fitted.verdicts(rows, earlier)
