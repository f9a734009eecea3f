"""A run's folder: the authority on what was done. MLflow mirrors it; nothing is read back from there.

runs/20261121-024500-brave-otter/
  run.json             what was run, with what, and how it ended
  project.yaml         every field of the project file, overrides applied
  task.json            classes and kinds of features
  series.parquet       forecasting: the series that its windows point into
  rows.parquet         id, target, group and time of every usable row, and its fold
  quarantine.csv       rows that could not be used
  folds/0/             events.jsonl, predictions.parquet, estimator/, done.json
  predictions.parquet  id, fold and the out-of-fold prediction columns
  forecasts.parquet    forecasting: the predictions as a long table, beside what came
  baselines/           forecasting: predictions of the naive forecasts
  final/               the estimator of the package, fitted on everything, where folds are blocks of time
  scores.json          the main score with its interval, all metrics, per fold
  package/             the model package
  report.html
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import RunError, nearest
from sanmaru.files import read_json, write_json, write_text
from sanmaru.project import Project

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import Task

FOLD = "fold"
"""Column of `rows.parquet` and `predictions.parquet`: the fold in which a row is validated; -1 for never."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """The main score of a run, on all its out-of-fold predictions."""

    metric: str
    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    all: Mapping[str, float]
    """Every metric of the task."""
    folds: tuple[Mapping[str, float], ...]
    """Every metric, per fold."""


class Run:
    """One execution of a project file, as its folder keeps it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @classmethod
    def create(cls, project: Project, *, kind: str = "train", **facts: Any) -> Run:
        """Make the folder of a new run with its project file and `run.json` (status `running`)."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        run = cls(project.runs_folder / f"{stamp}-{_word()}")
        run.folder.mkdir(parents=True)
        import yaml

        write_text(run.folder / "project.yaml", yaml.safe_dump(project.to_dict(), sort_keys=False, allow_unicode=True))
        write_json(
            run.folder / "run.json",
            {
                "id": run.id,
                "project": project.name,
                "folder": str(project.folder),
                "kind": kind,
                "status": "running",
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                **facts,
            },
        )
        return run

    @classmethod
    def load(cls, project: Project, name: str) -> Run:
        """Find a run by its id, by a unique part of it, by a path, or as `last`.

        Raises:
            RunError: when there is none, or the part fits several.
        """
        if (Path(name) / "run.json").is_file():
            return cls(Path(name).resolve())
        ids = [run.id for run in cls.all(project)]
        if name == "last" and ids:
            return cls(project.runs_folder / ids[-1])
        fitting = [name] if name in ids else [run for run in ids if name in run]
        if len(fitting) == 1:
            return cls(project.runs_folder / fitting[0])
        if fitting:
            raise RunError(f"{name!r} fits {len(fitting)} runs: {', '.join(fitting[:5])}. Give more of the id.")
        if not ids:
            raise RunError(f"there is no run in {project.runs_folder} yet. Make one with: sanmaru train")
        raise RunError(f"no run {name!r} in {project.runs_folder}. {nearest(name, ids)}")

    @classmethod
    def all(cls, project: Project) -> list[Run]:
        """Every run of a project, oldest first."""
        if not project.runs_folder.is_dir():
            return []
        return [cls(path.parent) for path in sorted(project.runs_folder.glob("*/run.json"))]

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return dict(read_json(self.folder / "run.json"))

    def update(self, **facts: Any) -> None:
        """Add or replace facts of `run.json`."""
        write_json(self.folder / "run.json", {**self.facts, **facts})

    @property
    def status(self) -> str:
        """`running`, `done` or `failed`; a killed run stays `running` until it is resumed."""
        return str(self.facts["status"])

    @property
    def project(self) -> Project:
        """The project as it was run, overrides applied."""
        import yaml

        # Asked for by every step of a run; the parser in C takes a tenth of the time, where PyYAML was built with it.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load((self.folder / "project.yaml").read_text(encoding="utf-8"), Loader=loader)
        return Project.from_dict(self.facts["folder"], content)

    @property
    def package_folder(self) -> Path:
        """Where the model package lies once the run is done."""
        return self.folder / "package"

    def fold_folder(self, fold: int) -> Path:
        """Where a fold keeps its own."""
        return self.folder / "folds" / str(fold)

    def fold_folders(self) -> Iterator[Path]:
        """The folders of the folds, in order (none for an ensemble)."""
        yield from sorted((self.folder / "folds").glob("[0-9]*"), key=lambda path: int(path.name))

    def task(self) -> Task:
        """The task with its classes."""
        from sanmaru.tasks.find import task_from_json

        task = task_from_json(read_json(self.folder / "task.json"))
        attach = getattr(task, "attach", None)
        if attach is not None:  # its rows point into series that lie in the run's folder
            attach(self.folder)
        return task

    def rows(self) -> pl.DataFrame:
        """Id, target, group, time and fold of every usable row."""
        return self._table("rows.parquet")

    def predictions(self) -> pl.DataFrame:
        """Out-of-fold predictions with their fold, in the order of `rows` (rows never validated are absent)."""
        return self._table("predictions.parquet")

    def score(self) -> Score:
        """The run's scores.

        Raises:
            RunError: when the run is not done.
        """
        path = self.folder / "scores.json"
        if not path.is_file():
            raise RunError(
                f"run {self.id} has no score yet (status {self.status}). "
                f"Finish it with: sanmaru train --resume {self.id}"
            )
        content = read_json(path)
        return Score(**{**content, "folds": tuple(content["folds"])})

    def _table(self, name: str) -> pl.DataFrame:
        import polars as pl

        path = self.folder / name
        if not path.is_file():
            raise RunError(
                f"run {self.id} has no {name} (status {self.status}). Finish it with: sanmaru train --resume {self.id}"
            )
        return pl.read_parquet(path)


_ADJECTIVES = (
    "brave calm clear cool eager early fair fond glad keen kind light lucid mild neat quick quiet solid swift warm"
).split()
_NOUNS = (
    "badger crane deer falcon finch fox hare heron ibex jay lynx magpie marten otter owl pine ridge swan tiger wren"
).split()


def _word() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.token_hex(2)}"
