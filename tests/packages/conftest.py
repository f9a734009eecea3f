"""Small fitted packages, made once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import LightGBMConfig, LinearConfig
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

FEATURES = ("age", "hours", "city", "member")


def people(n_rows: int = 240, seed: int = 0) -> pl.DataFrame:
    """Rows whose class and number follow from the features, with some noise."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n_rows)
    hours = rng.normal(40, 10, n_rows).round(1)
    city = rng.choice(["Seoul", "Busan", "Jeju"], n_rows)
    member = rng.random(n_rows) < 0.5
    signal = 0.08 * (age - 50) + 0.05 * (hours - 40) + (city == "Seoul") + rng.normal(0, 0.7, n_rows)
    return pl.DataFrame(
        {
            "id": [f"p{row}" for row in range(n_rows)],
            "age": age,
            "hours": hours,
            "city": city,
            "member": member,
            "income": np.where(signal > 0, ">50K", "<=50K"),
            "level": np.digitize(signal, [-1, 1]) + 1,
            "rich": signal > 0,
            "price": (100 + 20 * signal).round(3),
        }
    )


def make_package(
    folder: Path, target: str = "income", model: Any = None, *, n_folds: int = 2, seed: int = 0, table: Any = None
) -> Package:
    """Fit `n_folds` small estimators on `people` and package them."""
    table = people(seed=seed) if table is None else table
    task = Tabular.open(table, Roles(id="id", targets=(target,), features=FEATURES), missing=("", "NA"),
                        quantiles=getattr(model, "quantiles", ()))  # fmt: skip
    model = LinearConfig(penalty=0.01) if model is None else model
    fold = np.arange(len(table)) % n_folds
    parts, judged = [], []
    for number in range(n_folds):
        work = folder.parent / f"{folder.name}-work" / str(number)
        work.mkdir(parents=True)
        estimator = task.estimator(model, TrainConfig())
        context = FitContext(folder=work, cache=work, seed=seed, metric=find_metric(task.metrics[0]))
        estimator.fit(table.filter(fold != number), None, context)
        estimator.save(work / "estimator")
        parts.append(work / "estimator")
        rows = table.filter(fold == number)
        outputs = estimator.forward(estimator.encode(rows))
        judged.append(
            task.predictions(rows["id"], outputs).with_columns(rows[target].alias("truth"), fold=pl.lit(number))
        )
    return write_package(
        folder, task=task, estimators=parts, golden=table.head(20), evaluation=pl.concat(judged),
        card={"name": "people", "metric": task.metrics[0]},
    )  # fmt: skip


@pytest.fixture(scope="session")
def people_table() -> Callable[..., pl.DataFrame]:
    return people


@pytest.fixture(scope="session")
def package_maker() -> Callable[..., Package]:
    return make_package


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Package]:
    """One package per target, loaded; tests do not change their folders."""
    folder = tmp_path_factory.mktemp("packages")
    made = {target: make_package(folder / target, target) for target in ("income", "level", "rich", "price")}
    made["trees"] = make_package(folder / "trees", "income", LightGBMConfig(trees=10, leaves=4))
    return made
