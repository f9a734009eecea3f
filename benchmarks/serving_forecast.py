"""Forecast requests a second of `sanmaru serve`, beside the same package called in this process.

Run: python benchmarks/serving_forecast.py [--seconds 3] [--rounds 5]

Data: hourly numbers made with a seed (two targets, one past and one known covariate), a ridge regression with 168 steps
of history and 24 of horizon. One request holds 1 or 25 series of a week as JSON or csv. "in process" reads the same
body and gives the same answer without a server; both take turns in every round, ratios are taken within a round and
medians of the rounds are printed. The client shares the machine with the server.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import polars as pl

from sanmaru.experiments.forecasting import evaluation_of, golden_windows
from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.project import Project
from sanmaru.serving.model import ServedModel, warm
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import Candidate
from sanmaru.tasks.base import FitContext
from serving import OURS, Server, load, running, sanmaru_server

PROJECT = """
name: air
task: forecasting
data: {train: air.csv, series: district, time: time, target: [pm25, temperature], known: [holiday]}
forecast: {horizon: 24, lookback: 168, season: 24, origins: {every: 1d, reach: 0.2}}
split: {folds: 2}
model: {kind: ridge}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}\n")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        package = forecast_package(folder / "air")
        bodies = {
            (n, kind): request(package, n, kind, folder) for n in (1, 25) for kind in ("application/json", "text/csv")
        }
        print(measure(package, bodies, arguments))


def forecast_package(folder: Path) -> Path:
    """Fit and package the model."""
    from sanmaru.tasks.forecasting.opening import open_series, split_windows

    folder.mkdir()
    hours = np.arange(24 * 60)
    rng = np.random.default_rng(0)
    times = np.datetime64("2026-03-01T00", "us") + hours * np.timedelta64(1, "h")
    parts = [
        pl.DataFrame(
            {
                "district": [name] * len(hours),
                "time": times,
                "pm25": (30 + 8 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 3, len(hours))).round(1),
                "temperature": (10 + 8 * np.sin(2 * np.pi * hours / 24 - 2) + rng.normal(0, 1, len(hours))).round(1),
                "wind": rng.gamma(2, 1, len(hours)).round(1),
                "holiday": ((hours // 24) % 7 >= 5).astype(float),
            }
        )
        for name in ("Gangnam", "Jongno", "Mapo-gu")
    ]
    pl.concat(parts).write_csv(folder / "air.csv")
    (folder / "sanmaru.yaml").write_text(PROJECT)
    file: Any = Project.load(folder).file
    split = split_windows(open_series(file.data, file.forecast, folder), file.forecast, file.split)
    task, windows = split.task, split.windows
    estimator = task.estimator(file.model, file.train)
    context = FitContext(folder=folder, cache=folder, seed=0, metric=find_metric("mae"))
    estimator.fit(windows[split.folds.train(0)], None, context)
    estimator.save(folder / "estimator")
    judged = windows.filter(pl.Series(split.folds.fold >= 0))
    predictions = task.predictions(judged["window"], estimator.forward(estimator.encode(judged)))
    fold = pl.Series("fold", split.folds.fold[split.folds.fold >= 0])
    write_package(
        folder / "package",
        task=task,
        estimators=[folder / "estimator"],
        golden=golden_windows(task, judged.head(4)),
        evaluation=evaluation_of(task, judged, predictions.with_columns(fold)),
        card={"name": "air"},
    )
    return folder / "package"


def request(package: Path, n_series: int, kind: str, folder: Path) -> Path:
    """Write the body of a request for so many series."""
    from sanmaru.serving.forecast_example import csv_text, example_rows

    example = example_rows(Package.load(package))
    rows = [{**row, "series": f"district {n}"} for n in range(n_series) for row in example]
    path = folder / f"{n_series}-{kind.replace('/', '-')}"
    path.write_text(csv_text(rows) if kind == "text/csv" else json.dumps({"rows": rows}))
    return path


def measure(package: Path, bodies: dict[tuple[int, str], Path], arguments: argparse.Namespace) -> str:
    """Load the server with each body in turn, and this process beside it."""
    loaded = Package.load(package)
    model = ServedModel(loaded, Candidate(name="air", version=1, folder=package), warm(loaded))
    lines = [
        "| series | body | KiB | callers | requests/s | p50 ms | in process ms | of in process |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (n_series, kind), body in bodies.items():
        server = sanmaru_server(package, body, kind)
        with running([server], body.parent / "server.log"):
            load(server, 1, 1)
            for callers in (1, 8):
                lines.append(line(server, model, n_series, callers, arguments))
    return "\n".join(lines)


def line(server: Server, model: ServedModel, n_series: int, callers: int, arguments: argparse.Namespace) -> str:
    assert server.name == OURS
    text = server.body.read_bytes()
    rounds = []
    for turn in range(arguments.rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        found: dict[int, Any] = {}
        for which in order:
            found[which] = (
                load(server, callers, arguments.seconds)
                if which == 0
                else in_process(model, text, server.kind.encode(), arguments.seconds)
            )
        rounds.append((found[0]["per_s"], found[0]["p50_ms"], found[1]))
    per_s, p50, alone = (statistics.median(one[place] for one in rounds) for place in range(3))
    share = statistics.median(one[0] / one[2] for one in rounds)
    return (
        f"| {n_series} | {server.kind.split('/')[1]} | {len(text) / 1024:.0f} | {callers} | {per_s:,.0f} | {p50:.1f} "
        f"| {1000 / alone:.1f} | {share:.2f} |"
    )


def in_process(model: ServedModel, body: bytes, kind: bytes, seconds: float) -> float:
    """Answers a second without a server: read, forecast, word."""
    settings, count, began = Settings(), 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        asked = model.read(body, kind, settings)
        model.replies([asked], model.outputs([model.encode(asked)]))
        count += 1
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
