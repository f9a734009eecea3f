"""A small service: two series of hours, recorded in a csv file and replayed, forecast six hours ahead by ridge."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.steps.small import HEAVY, Service, write_recording, write_service

from sanmaru.experiments.tracking import client
from sanmaru.pipelines import work


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database after its migration, which takes seconds; services copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client(f"sqlite:///{path}").search_registered_models(max_results=1)
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "air.csv")


@pytest.fixture(scope="session", autouse=True)
def forked_workers() -> Iterator[None]:
    """Workers start as copies of a process that has the heavy imports behind it and did nothing else."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(HEAVY))
    before, work.START_METHOD = work.START_METHOD, "forkserver"
    yield
    work.START_METHOD = before


@pytest.fixture(scope="session")
def make_service(prepared_database: Path, recording: Path) -> Callable[..., Service]:
    """Makes a service in a folder; named parts of its project file are replaced."""

    def make(folder: Path, **changes: str) -> Service:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(prepared_database, folder / "mlflow.db")
        shutil.copy(recording, folder / "air.csv")
        return write_service(folder, **changes)

    return make


@pytest.fixture(scope="session")
def begun(make_service: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service with its history and the first day's hours done; copy it, change nothing in it."""
    service = make_service(tmp_path_factory.mktemp("begun") / "service")
    service.collect_history()
    service.run(hours=3)
    return service


@pytest.fixture
def service(begun: Service, tmp_path: Path) -> Service:
    """A copy of the service whose first hours are done."""
    return begun.copy(tmp_path / "service")
