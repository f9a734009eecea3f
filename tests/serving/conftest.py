"""Small fitted packages, a service around them in this process, and a service in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from PIL import Image
from starlette.testclient import TestClient

from sanmaru.experiments.runs import Run
from sanmaru.experiments.tracking import client as tracking_client
from sanmaru.files import write_json
from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.project import Project
from sanmaru.serving.app import create_app
from sanmaru.serving.keys import Keys
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import Candidate, FolderSource
from sanmaru.tables.contract import Column
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import LinearConfig
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

CITIES = ["Seoul", "Busan", "Jeju"]
COLUMNS = (
    Column(name="age", kind="integer", low=18, high=79, example=41),
    Column(name="hours", kind="number", low=10.5, high=72.5, example=40.5),
    Column(name="city", kind="category", categories=tuple(CITIES), example="Seoul"),
    Column(name="member", kind="boolean", example=True),
    Column(name="joined", kind="date", date_format="%Y-%m-%d", example="2020-03-01"),
)


def people(n_rows: int = 120) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    age, hours = rng.integers(18, 80, n_rows), rng.normal(40, 10, n_rows).round(1)
    signal = 0.08 * (age - 50) + 0.05 * (hours - 40) + rng.normal(0, 0.7, n_rows)
    return pl.DataFrame(
        {
            "id": [f"p{row}" for row in range(n_rows)],
            "age": age,
            "hours": hours,
            "city": rng.choice(CITIES, n_rows),
            "member": rng.random(n_rows) < 0.5,
            "joined": (15000 + rng.integers(0, 3000, n_rows)).astype("datetime64[D]").astype("datetime64[us]"),
            "income": np.where(signal > 0, ">50K", "<=50K"),
            "price": (100 + 20 * signal).round(3),
        }
    )


def make_package(folder: Path, target: str = "income", *, table: pl.DataFrame | None = None) -> Package:
    """Fit a linear model on `people` and package it."""
    table = people() if table is None else table
    features = tuple(column.name for column in COLUMNS)
    task = Tabular.open(
        table, Roles(id="id", targets=(target,), features=features), columns=COLUMNS, missing=("", "NA")
    )
    return _package(folder, task, table, task.estimator(LinearConfig(penalty=0.01), TrainConfig()))


def _package(folder: Path, task: Any, table: pl.DataFrame, estimator: Any) -> Package:
    work = folder.with_name(folder.name + "-work")
    work.mkdir(parents=True)
    context = FitContext(folder=work, cache=work, seed=0, metric=find_metric(task.metrics[0]))
    estimator.fit(table, None, context)
    estimator.save(work / "estimator")
    predictions = task.predictions(table["id"], estimator.forward(estimator.encode(table)))
    return write_package(
        folder,
        task=task,
        estimators=[work / "estimator"],
        golden=table.head(16),
        evaluation=predictions.with_columns(table[task.roles.targets[0]].alias("truth"), fold=pl.lit(0)),
        card={
            "name": "people <&> co",
            "problem": "Who earns more?",
            "metric": task.metrics[0],
            "score": {"value": 0.91234, "low": 0.88, "high": 0.94},
            "data": {"rows": table.height},
        },
    )


DISTRICTS = ("Gangnam", "Jongno", "Mapo-gu")
SERIES_FILE = """
name: air
task: forecasting
data: {train: air.csv, series: district, time: time, target: [pm25, temperature], known: [holiday], static: [lat]}
forecast: {zone: Asia/Seoul, horizon: 24, lookback: 48, season: 24, origins: {every: 1d, reach: 0.3}}
split: {folds: 2}
model: {kind: ridge}
"""


def air(n_steps: int = 24 * 20) -> pl.DataFrame:
    """Hours of three districts with gaps, a category, and a holiday that is known in advance; local times."""
    rng = np.random.default_rng(0)
    hours = np.arange(n_steps)
    times = np.datetime64("2026-03-01T00:00", "us") + hours * np.timedelta64(1, "h")
    parts = []
    for place, district in enumerate(DISTRICTS):
        holiday = ((hours // 24) % 7 >= 5).astype(float)
        pm25 = 30 + 10 * place + 8 * np.sin(2 * np.pi * hours / 24) - 5 * holiday + rng.normal(0, 3, n_steps)
        known = rng.random(n_steps) > 0.02
        parts.append(
            pl.DataFrame(
                {
                    "district": [district] * n_steps,
                    "time": pl.Series(times).dt.strftime("%Y-%m-%d %H:%M"),
                    "pm25": [
                        round(float(value), 1) if there else None for value, there in zip(pm25, known, strict=True)
                    ],
                    "temperature": (10 + 8 * np.sin(2 * np.pi * (hours - 9) / 24) + rng.normal(0, 1, n_steps)).round(1),
                    "wind": rng.choice(["N", "E", "S"], n_steps),
                    "holiday": holiday,
                    "lat": [37.5 + place / 100] * n_steps,
                }
            )
        )
    return pl.concat(parts)


def make_forecaster(folder: Path, kind: str = "ridge", **forecast: Any) -> Package:
    """Fit a forecaster on `air` and package it."""
    from sanmaru.experiments.forecasting import evaluation_of, golden_windows
    from sanmaru.tasks.forecasting.models import config_of
    from sanmaru.tasks.forecasting.opening import open_series, split_windows

    work = folder.with_name(folder.name + "-work")
    work.mkdir(parents=True)
    air().write_csv(work / "air.csv")
    (work / "sanmaru.yaml").write_text(SERIES_FILE)
    file: Any = Project.load(work).file
    settings = file.forecast.model_copy(update=forecast)
    split = split_windows(open_series(file.data, settings, work), settings, file.split)
    task, windows = split.task, split.windows
    estimator = task.estimator(config_of(kind)(), TrainConfig())
    estimator.fit(
        windows[split.folds.train(0)], None, FitContext(folder=work, cache=work, seed=0, metric=find_metric("mae"))
    )
    estimator.save(work / "estimator")
    judged = windows.filter(pl.Series(split.folds.fold >= 0))
    predictions = task.predictions(judged["window"], estimator.forward(estimator.encode(judged)))
    fold = pl.Series("fold", split.folds.fold[split.folds.fold >= 0])
    return write_package(
        folder,
        task=task,
        estimators=[work / "estimator"],
        golden=golden_windows(task, judged.head(16)),
        evaluation=evaluation_of(task, judged, predictions.with_columns(fold)),
        card={"name": "air", "problem": "How much fine dust tomorrow?", "metric": "mase", "score": {"value": 0.7}},
    )


@pytest.fixture(scope="session")
def forecaster_maker() -> Callable[..., Package]:
    return make_forecaster


@pytest.fixture(scope="session")
def forecaster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ridge regression that forecasts two targets of three districts; tests do not change its folder."""
    return make_forecaster(tmp_path_factory.mktemp("air") / "package").folder


@pytest.fixture(scope="session")
def history() -> Callable[..., list[dict[str, Any]]]:
    """Makes rows of a request: so many steps of history, and the steps ahead with the holiday only; local times."""

    def make(steps: int = 48, *, ahead: int = 24, districts: tuple[str, ...] = DISTRICTS) -> list[dict[str, Any]]:
        rows = []
        for district in districts:
            table = air().filter(pl.col("district") == (district if district in DISTRICTS else DISTRICTS[0]))
            for place, row in enumerate(table.head(steps + ahead).to_dicts()):
                blank = {} if place < steps else dict.fromkeys(("pm25", "temperature", "wind"))
                time = row["time"].replace(" ", "T") + ":00+09:00"
                rows.append({"series": district, **row, "time": time, **blank})
                del rows[-1]["district"]
        return rows

    return make


@pytest.fixture(scope="session")
def air_client(serving: Client, forecaster: Path) -> Iterator[TestClient]:
    with serving(forecaster) as client:
        yield client


@pytest.fixture(scope="session")
def package_maker() -> Callable[..., Package]:
    return make_package


@pytest.fixture(scope="session")
def income(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of rows; tests do not change its folder."""
    return make_package(tmp_path_factory.mktemp("income") / "package").folder


@pytest.fixture(scope="session")
def price(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("price") / "package", "price").folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that tells dark pictures from bright ones."""
    import torch

    from sanmaru.tasks.image_classification.config import NetworkConfig
    from sanmaru.tasks.image_classification.task import ImageClassification

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths, labels = [], []
    for number in range(48):
        bright = number % 2 == 1
        pixels = rng.integers(150, 256, (24, 24, 3)) if bright else rng.integers(0, 100, (24, 24, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        paths.append(str(folder / f"{number}.png"))
        labels.append("bright" if bright else "dark")
    table = pl.DataFrame({"id": [str(n) for n in range(48)], "picture": paths, "light": labels})
    task = ImageClassification.open(table, Roles(id="id", targets=("light",), image="picture"))
    train = TrainConfig.model_validate({"epochs": 4, "batch_size": 16, "learning_rate": 3e-3, "augment": []})
    return _package(folder / "package", task, table, task.estimator(NetworkConfig(image_size=16), train)).folder


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """Makes a PNG of one grey."""
    import io

    def make(grey: int = 230, side: int = 32) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (side, side), (grey, grey, grey)).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def air_project(tmp_path: Path, prepared_database: Path) -> Project:
    """A forecasting project with an empty registry."""
    shutil.copy(prepared_database, tmp_path / "mlflow.db")
    (tmp_path / "sanmaru.yaml").write_text(SERIES_FILE)
    return Project.load(tmp_path)


@pytest.fixture
def air_run(air_project: Project) -> Callable[[str], Run]:
    """Makes a finished run whose model is of the given kind."""

    def make(kind: str) -> Run:
        run = Run.create(air_project)
        make_forecaster(run.package_folder, kind)
        write_json(
            run.folder / "scores.json",
            {"metric": "mase", "value": 1.0, "low": 0.9, "high": 1.1, "all": {"mase": 1.0}, "folds": []},
        )
        run.update(status="done")
        return run

    return make


class PointedSource:
    """A source that a test points at packages by hand, and may make fail."""

    name = "people"
    alias = "production"

    def __init__(self, folder: Path, version: int = 1) -> None:
        self.candidate = Candidate(name=self.name, version=version, folder=folder)
        self.away: Exception | None = None
        self.loads = 0

    def point(self, folder: Path, version: int) -> None:
        self.candidate = Candidate(name=self.name, version=version, folder=folder)

    def resolve(self) -> Candidate:
        if self.away is not None:
            raise self.away
        return self.candidate

    def load(self, candidate: Candidate) -> Package:
        self.loads += 1
        return Package.load(candidate.folder)


@pytest.fixture
def pointed() -> type[PointedSource]:
    return PointedSource


Client = Callable[..., contextlib.AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def serving() -> Client:
    """Runs a service in this process, ready, with a client."""

    @contextlib.contextmanager
    def run(source: Any, settings: Settings | None = None, keys: Keys | None = None) -> Iterator[TestClient]:
        service = create_app(FolderSource(source) if isinstance(source, Path) else source, settings, keys)
        with TestClient(service, raise_server_exceptions=True) as client:
            assert service.slot.wait(20)
            client.service = service  # type: ignore[attr-defined]
            yield client

    return run


@pytest.fixture(scope="session")
def income_client(serving: Client, income: Path) -> Iterator[TestClient]:
    with serving(income, Settings(max_rows=500)) as client:
        yield client


@pytest.fixture(scope="session")
def pictures_client(serving: Client, pictures: Path) -> Iterator[TestClient]:
    with serving(pictures) as client:
        yield client


class Server:
    """`sanmaru serve` in a process of its own."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "serve", *arguments, "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[str] = []
        self.url = self._read_url()
        import threading

        threading.Thread(target=self._drain, daemon=True).start()

    def _read_url(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"running on (http://\S+)", line)
            if found:
                return found[1]
        raise AssertionError("the server did not start:\n" + "".join(self.lines))

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def log(self) -> str:
        return "".join(self.lines)

    def wait_ready(self, timeout_s: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(self.url + "/ready")
                if answer.status_code == 200:
                    return dict(answer.json())
            time.sleep(0.05)
        raise AssertionError("the server is not ready:\n" + self.log())

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@pytest.fixture
def server() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> Server:
        started.append(Server(*arguments, environment=environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            try:
                one.process.wait(10)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        if one.process.stderr is not None:
            one.process.stderr.close()


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database after its migration, which takes seconds; tests copy it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    tracking_client(f"sqlite:///{path}").search_registered_models(max_results=1)
    return path


@pytest.fixture
def project(tmp_path: Path, prepared_database: Path) -> Project:
    """A project with an empty registry."""
    shutil.copy(prepared_database, tmp_path / "mlflow.db")
    (tmp_path / "sanmaru.yaml").write_text("{name: people, task: tabular, data: {train: t.csv, target: price}}\n")
    return Project.load(tmp_path)


@pytest.fixture
def finished_run(project: Project) -> Callable[[float], Run]:
    """Makes a run whose model predicts about the given price for every row."""

    def make(level: float) -> Run:
        table = people().with_columns(price=level + pl.col("age") * 0.01)
        run = Run.create(project)
        make_package(run.package_folder, "price", table=table)
        write_json(
            run.folder / "scores.json",
            {"metric": "rmse", "value": 1.0, "low": 0.9, "high": 1.1, "all": {"rmse": 1.0}, "folds": []},
        )
        run.update(status="done")
        return run

    return make
