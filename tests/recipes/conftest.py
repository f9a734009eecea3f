"""Recipes are run as their users run them, but in this process, on one core, with a prepared MLflow store."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Idle OpenMP threads that spin would slow the other workers of the test run.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest

HOME = Path(__file__).parents[2] / "recipes"

RunTiny = Callable[[str], dict[str, Any]]


def load_script(path: Path) -> ModuleType:
    """Import a recipe's script, whose folder is no package."""
    spec = importlib.util.spec_from_file_location(f"recipe_{path.parent.name.replace('-', '_')}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up the module of their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script() -> Callable[[str], ModuleType]:
    """Import a recipe's script, by its path below `recipes/`."""
    return lambda path: load_script(HOME / path)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store: its first migration takes three seconds, so tests copy this one."""
    from sanmaru.experiments.tracking import client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def run_tiny(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> RunTiny:
    """Run a recipe's tiny mode and return its results; `project` is added to them."""

    def run(name: str) -> dict[str, Any]:
        from sanmaru.cluster import base

        monkeypatch.setattr(base, "cores", lambda: 1)
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(migrated, folder / "mlflow.db")
        recipe = load_script(HOME / name / "run.py").RECIPE
        from sanmaru.recipes.command import run as command

        assert command(recipe, ["--tiny", "--folder", str(folder)]) == 0
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        check_whole(recipe, folder, results)
        return {**results, "folder": folder}

    return run


def check_whole(recipe: Any, folder: Path, results: dict[str, Any]) -> None:
    """What every recipe must have led to."""
    import polars as pl

    from sanmaru.project import Project

    made = [line["variant"] for line in results["lines"]]
    assert set(recipe.tiny_variants or recipe.variants) <= {
        *made,
        *(name.removeprefix("left out, ") for name in results["facts"]),
    }
    for line in results["lines"]:
        for value in (*line["out of fold"], *line["aside"]):
            assert math.isfinite(value), f"{line} holds {value}"
    asked = pl.read_csv(folder / (Project.load(folder).file.data.test or ""))
    assert len(asked) == len(pl.read_csv(folder / "predictions.csv"))
    assert (folder / "reports" / "explore.html").is_file()


@pytest.fixture
def local_data(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes read the shared data sets, or the test is skipped where there are none."""
    monkeypatch.setenv("SANMARU_DATA", str(shared_data))
    return shared_data
