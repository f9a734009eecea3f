"""A project with an empty registry, and runs made without training: the scores are what a test asks for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.experiments.runs import Run
from sanmaru.experiments.tracking import client
from sanmaru.files import write_json
from sanmaru.metrics.base import find_metric
from sanmaru.packages.write import write_package
from sanmaru.project import Project
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import LinearConfig
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

N_ROWS = 200


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database after its migration, which takes seconds; tests copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_registered_models(max_results=1)
    return path


@pytest.fixture
def project(tmp_path: Path, prepared_database: Path) -> Project:
    shutil.copy(prepared_database, tmp_path / "mlflow.db")
    return Project.from_dict(
        tmp_path, {"name": "houses", "task": "tabular", "data": {"train": "t.csv", "target": "price"}}
    )


def table_of(n_rows: int = N_ROWS, features: tuple[str, ...] = ("size", "age"), seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(50, 10, n_rows) for name in ("size", "age", "rooms")}
    price = columns["size"] * 3 - columns["age"] + rng.normal(0, 5, n_rows)
    return pl.DataFrame({"id": np.arange(n_rows), **{f: columns[f] for f in features}, "price": price})


def make_run(
    project: Project,
    *,
    noise: float = 5.0,
    noise_seed: int = 1,
    features: tuple[str, ...] = ("size", "age"),
    table: pl.DataFrame | None = None,
    groups: bool = False,
    required: tuple[str, ...] = (),
) -> Run:
    """A finished run whose out-of-fold predictions miss the truth by normal noise."""
    table = table_of(features=features) if table is None else table
    roles = Roles(id="id", targets=("price",), features=features)
    task = Tabular.open(table, roles, problem_type="regression")
    run = Run.create(project)
    fold = run.fold_folder(0)
    fold.mkdir(parents=True)
    estimator = task.estimator(LinearConfig(penalty=0.01), TrainConfig())
    estimator.fit(table, None, FitContext(folder=fold, cache=fold, seed=0, metric=find_metric("rmse")))
    estimator.save(fold / "estimator")
    missed = np.random.default_rng(noise_seed).normal(0, noise, len(table))
    outputs = (table["price"].to_numpy() + missed).astype(np.float32)[:, None]
    added: dict[str, Any] = {"truth": table["price"], "fold": pl.lit(0)}
    if groups:
        added["group"] = pl.Series([f"g{row // 4}" for row in range(len(table))])
    evaluation = task.predictions(table["id"], outputs).with_columns(**added)
    write_package(
        run.package_folder, task=task, estimators=[fold / "estimator"], golden=table.head(16), evaluation=evaluation,
        card={"name": project.name, "metric": "rmse"},
    )  # fmt: skip
    rmse = float(np.sqrt((missed**2).mean()))
    score = {"metric": "rmse", "value": rmse, "low": rmse - 1, "high": rmse + 1, "all": {"rmse": rmse}, "folds": []}
    write_json(run.folder / "scores.json", score)
    run.update(status="done")
    return run


@pytest.fixture(scope="session")
def run_maker() -> Callable[..., Run]:
    return make_run


@pytest.fixture(scope="session")
def table_maker() -> Callable[..., pl.DataFrame]:
    return table_of


@pytest.fixture
def database_url(database_url: str) -> Iterator[str]:
    """A fresh database of each kind, whose connections the log gives back."""
    yield database_url
    from sanmaru.registry.log import engine

    engine(database_url, os.getpid()).dispose()
