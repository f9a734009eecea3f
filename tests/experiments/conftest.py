"""Small projects to train, and an MLflow store whose migrations are done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Idle OpenMP threads that spin would slow the other workers of the test run.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl
import pytest

from sanmaru.experiments import train as train_module
from sanmaru.project import Project

MakeProject = Callable[..., Project]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store: its first migration takes three seconds, so tests copy this one."""
    from sanmaru.experiments.tracking import client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def make_project(tmp_path: Path, migrated: Path) -> MakeProject:
    """Write a table of 120 rows and a project file's content beside it; keyword arguments override fields."""

    def make(name: str = "small", *, folder: str = "project", **fields: Any) -> Project:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        small_table().write_csv(place / "train.csv")
        shutil.copy(migrated, place / "mlflow.db")
        content = {
            "name": name,
            "task": "tabular",
            "data": {"train": "train.csv", "id": "id", "target": "price", "group": "house"},
            "split": {"kind": "grouped", "folds": 3},
            "model": {"kind": "linear", "penalty": 0.001},
            **fields,
        }
        import yaml

        (place / "sanmaru.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return Project.load(place)

    return make


def small_table(rows: int = 120) -> pl.DataFrame:
    """Houses in groups of four, with a price that a line explains but for some noise."""
    generator = np.random.default_rng(5)
    area = generator.uniform(30, 120, rows).round(1)
    town = generator.choice(["north", "south", "east"], rows)
    price = 3 * area + 40 * (town == "south") + generator.normal(0, 5, rows)
    return pl.DataFrame(
        {
            "id": [f"h{number:03d}" for number in range(rows)],
            "house": [number // 4 for number in range(rows)],
            "area": area,
            "town": town,
            "price": price.round(2),
        }
    )


@pytest.fixture
def without_mirror(monkeypatch: pytest.MonkeyPatch, no_mirror: type) -> None:
    monkeypatch.setattr(train_module, "Mirror", no_mirror)


class WrittenRuns:
    """A project and finished runs in it, written without training: models of any quality, with any folds."""

    def __init__(self, folder: Path, kind: str, rows: int) -> None:
        self.kind = kind
        generator = np.random.default_rng(11)
        self.signal = generator.normal(size=rows)
        noisy = self.signal + 0.5 * generator.normal(size=rows)
        target: Any = {
            "regression": 100 + 10 * noisy,
            "binary": np.where(noisy > 0.5, "yes", "no"),
            "classes": np.array(["low", "mid", "top"])[np.digitize(noisy, [-0.5, 0.5])],
        }[kind]
        self.table = pl.DataFrame(
            {
                "id": [f"r{number:04d}" for number in range(rows)],
                "house": np.arange(rows) // 3,
                "x": self.signal,
                "y": target,
            }
        )
        self.folds = generator.permutation(np.arange(rows) // 3 % 5)[np.arange(rows) // 3]
        self.project = self._project(folder)

    def _project(self, folder: Path, **fields: Any) -> Project:
        content = {"name": "written", "task": "tabular", "data": {"train": "t.csv", "id": "id", "target": "y"}}
        return Project.from_dict(folder, {**content, **fields})

    def task(self) -> Any:
        from sanmaru.tables.roles import Roles
        from sanmaru.tasks.tabular.task import Tabular

        return Tabular.open(self.table, Roles(id="id", targets=("y",), features=("x",), group="house"))

    def outputs(self, noise: float, seed: int) -> np.ndarray:
        """Outputs of a model that sees the signal through noise of its own."""
        seen = self.signal + noise * np.random.default_rng(seed).normal(size=len(self.signal))
        if self.kind == "regression":
            return (100 + 10 * seen)[:, None].astype(np.float32)
        if self.kind == "binary":
            return np.column_stack([-2 * (seen - 0.5), 2 * (seen - 0.5)]).astype(np.float32)
        return np.column_stack([-2 * seen, 0.5 - abs(seen), 2 * seen]).astype(np.float32)

    def run(
        self,
        noise: float = 0.3,
        seed: int = 0,
        *,
        keep: Any = None,
        folds: Any = None,
        status: str = "done",
        **fields: Any,
    ) -> Any:
        """Write a run; `keep` chooses rows, `folds` replaces the folds, other arguments are fields of its project."""
        from sanmaru.experiments.runs import Run
        from sanmaru.files import write_json
        from sanmaru.metrics.base import find_metric
        from sanmaru.metrics.bootstrap import interval

        task, keep = self.task(), slice(None) if keep is None else keep
        fold = pl.Series("fold", self.folds if folds is None else folds, dtype=pl.Int32)[keep]
        rows = self.table[keep].drop("x").with_columns(fold)
        project = self._project(self.project.folder, **fields)
        run = Run.create(
            project, metric=task.metrics[0], rows=rows.height, folds=5, seconds={"read": 0.5, "folds": 2.0}
        )
        rows.write_parquet(run.folder / "rows.parquet")
        write_json(run.folder / "task.json", task.to_json())
        if status != "done":
            run.update(status=status, reason="out of memory" if status == "failed" else None)
            return run
        made = task.predictions(rows["id"], self.outputs(noise, seed)[keep])
        made = made.select("id", fold, pl.exclude("id")).filter(fold >= 0)
        rows = rows.filter(fold >= 0)
        made.write_parquet(run.folder / "predictions.parquet")
        metric = find_metric(task.metrics[0])
        truth, scored = task.truth(rows), task.scored(made)
        low, high = interval(metric, truth, scored, groups=rows["house"].to_numpy())
        parts = [np.flatnonzero(rows["fold"].to_numpy() == number) for number in range(5)]
        scores = [task.score(rows[part], made[part]) for part in parts if len(part)]
        value = metric(truth, scored)
        content = {"metric": metric.name, "value": value, "low": low, "high": high}
        write_json(run.folder / "scores.json", {**content, "all": task.score(rows, made), "folds": scores})
        run.update(status="done")
        return run


@pytest.fixture
def written_runs(tmp_path: Path) -> Callable[..., WrittenRuns]:
    """A project whose runs are written, not trained: `written_runs("binary").run(noise=0.5)`."""
    return lambda kind="classes", rows=300: WrittenRuns(tmp_path / "written", kind, rows)
