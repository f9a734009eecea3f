"""SIGKILL at the writes of every built-in step, then once more: what is left is what an undisturbed run leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.crashes import IGNORED, kill_at_every_boundary
from tests.steps.small import HEAVY, Service

# Databases are files of pages in an order of their own, and are compared by their rows, which `run` writes out.
LEFT_OUT = (
    *IGNORED, "*.db", "*.db-*", "collected/raw/*", ".killed",
    # Versions and revisions are named by the moment they were made; `run` writes out what they say.
    "collected/tables/*", "service/published/air/data/*", "service/published/air/manifests/*",
    "service/published/air/latest.json",
)  # fmt: skip
_TEMPLATE = "SANMARU_TEST_SERVICE"


@pytest.fixture
def template(begun: Service, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(_TEMPLATE, str(begun.folder))
    return begun.folder


def make_project(folder: Path) -> None:
    """A copy of the service whose first hours are done."""
    shutil.copytree(os.environ[_TEMPLATE], folder, dirs_exist_ok=True)
    pages = folder / "rows"
    pages.mkdir()


def run_one_hour(folder: Path) -> None:
    """The fourth hour: everything but a training."""
    service = Service(folder)
    service.run(hours=4)
    for database, query in (
        ("forecasts.db", "SELECT * FROM sanmaru_forecasts ORDER BY 1, 2, 3, 4"),
        ("monitor.db", "SELECT * FROM sanmaru_joined ORDER BY 1, 2, 3, 4"),
        ("monitor.db", "SELECT * FROM sanmaru_truth ORDER BY 1, 2, 3"),
        ("pipeline.db", "SELECT pipeline, what, start, yes, fired, reason, figures FROM sanmaru_decisions ORDER BY 3"),
    ):
        rows = service.rows(query, database)
        name = query.split("FROM ")[1].split()[0]
        (folder / "rows" / f"{name}.txt").write_text("\n".join(map(repr, rows)))
    (folder / "rows" / "published.json").write_text(json.dumps(published(folder), indent=1))
    (folder / "rows" / "tables.json").write_text(json.dumps([collected(folder, name) for name in ("air", "verdicts")]))


def published(folder: Path) -> list[dict[str, Any]]:
    """Return every version's number, sizes and hashes of files, and facts, without when and where."""
    from sanmaru.storage import open_storage

    storage = open_storage("service/published", folder)
    found = []
    for number in range(1, storage.latest("air").version + 1):  # type: ignore[union-attr]
        content = json.loads((folder / f"service/published/air/manifests/{number:010d}.json").read_text())
        files = {name: one["sha256"] for name, one in content["files"].items()}
        found.append({"version": number, "files": files, "meta": content["meta"]})
    return found


def collected(folder: Path, name: str) -> list[str]:
    from sanmaru.collect import table

    return [repr(row) for row in table.read(folder / "collected" / "tables" / name).rows()]


def stride(usual: int) -> int:
    """Kill at every so many writes; SANMARU_CRASH_STRIDE=1 tries all of them.

    That takes a quarter of an hour for the hourly steps and half an hour for a training, on one core.
    """
    return int(os.environ.get("SANMARU_CRASH_STRIDE", usual))


@pytest.mark.timeout(3600)
def test_the_hourly_steps_survive_a_crash(template: Path, tmp_path: Path) -> None:
    found = kill_at_every_boundary(
        make_project, run_one_hour, tmp_path, stride=stride(53), ignored=LEFT_OUT, preload=HEAVY
    )
    assert found > 100


# What a training leaves is named by its run, whose name is drawn. Forecasts, contest and ledger tell what the
# model says and which version it became.
TRAINED = (*LEFT_OUT, "service/runs/*", "service/snapshots/*", "service/versions/*", "models/*", ".cache/*")


@pytest.fixture
def untrained_template(make_service: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(tmp_path / "template")
    service.collect_history()
    monkeypatch.setenv(_TEMPLATE, str(service.folder))


def run_the_first_hour(folder: Path) -> None:
    """The hour with the first two trainings, their contest and the promotions."""
    service = Service(folder)
    service.run(hours=1)
    held = service.rows("SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2", "mlflow.db")
    (folder / "rows" / "aliases.txt").write_text(repr(held))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("untrained_template")
def test_a_training_survives_a_crash(tmp_path: Path) -> None:
    found = kill_at_every_boundary(
        make_project, run_the_first_hour, tmp_path / "killed", stride=stride(499), ignored=TRAINED, preload=HEAVY
    )
    assert found > 300
