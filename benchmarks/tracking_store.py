"""What it costs to log a run to one store or another. Run: python benchmarks/tracking_store.py [--runs 5]

A run here is 20 parameters and 200 points of a learning curve. Start-up is measured in processes of their own. wandb is
measured where it is installed, offline.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}

POINTS = 200
PARAMETERS = {f"model.parameter_{number}": number for number in range(20)}

Timed = tuple[float, float]
"""Seconds of the whole run, and of logging one point by itself."""


def run_folder(place: Path) -> Timed:
    from sanmaru.files import write_json

    began = time.perf_counter()
    place.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=place))
    write_json(folder / "run.json", PARAMETERS)
    each = time.perf_counter()
    for step in range(POINTS):
        with (folder / "events.jsonl").open("a") as handle:
            handle.write(json.dumps({"kind": "metrics", "step": step, "loss": 1 / (step + 1)}) + "\n")
    point = (time.perf_counter() - each) / POINTS
    return time.perf_counter() - began, point


def own_sqlite(place: Path) -> Timed:
    began = time.perf_counter()
    with sqlite3.connect(place / "own.db") as base:
        base.execute("create table if not exists points (run text, name text, step integer, value real)")
        base.execute("create table if not exists parameters (run text, name text, value text)")
        base.executemany("insert into parameters values ('a', ?, ?)", list(PARAMETERS.items()))
        base.commit()
        each = time.perf_counter()
        for step in range(POINTS):  # one commit a point, as one would log while training
            base.execute("insert into points values ('a', 'loss', ?, ?)", (step, 1 / (step + 1)))
            base.commit()
        point = (time.perf_counter() - each) / POINTS
    return time.perf_counter() - began, point


def mlflow_single(place: Path) -> Timed:
    return _mlflow(place, batch=False)


def mlflow_batch(place: Path) -> Timed:
    return _mlflow(place, batch=True)


def _mlflow(place: Path, *, batch: bool) -> Timed:
    from mlflow.entities import Metric, Param

    from sanmaru.experiments.tracking import client

    store = client(f"sqlite:///{place}/mlflow.db")
    began = time.perf_counter()
    run = store.create_run("0").info.run_id
    store.log_batch(run, params=[Param(key, str(value)) for key, value in PARAMETERS.items()])
    each = time.perf_counter()
    if batch:
        store.log_batch(run, metrics=[Metric("loss", 1 / (step + 1), 0, step) for step in range(POINTS)])
    else:
        for step in range(POINTS):
            store.log_metric(run, "loss", 1 / (step + 1), step=step)
    point = (time.perf_counter() - each) / POINTS
    store.set_terminated(run)
    return time.perf_counter() - began, point


def wandb_offline(place: Path) -> Timed:
    import wandb

    began = time.perf_counter()
    run = wandb.init(project="benchmark", dir=str(place), config=PARAMETERS)
    each = time.perf_counter()
    for step in range(POINTS):
        run.log({"loss": 1 / (step + 1)}, step=step)
    point = (time.perf_counter() - each) / POINTS
    run.finish()
    return time.perf_counter() - began, point


STORES: dict[str, tuple[Callable[[Path], Timed], str]] = {
    "run folder (JSON lines)": (run_folder, "import sanmaru.files"),
    "own SQLite, a commit a point": (own_sqlite, "import sqlite3"),
    "MLflow on SQLite, `log_batch` at the end": (mlflow_batch, "from mlflow import MlflowClient"),
    "MLflow on SQLite, `log_metric` as it goes": (mlflow_single, "from mlflow import MlflowClient"),
    "wandb, offline": (wandb_offline, "import wandb"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; {len(PARAMETERS)} parameters, {POINTS} points\n"
    )
    print(
        "| store | import s | first run s | a later run ms | of that a point ms |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for name, (store, start) in STORES.items():
        if "wandb" in name and importlib.util.find_spec("wandb") is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", start], check=True)
            imported = time.perf_counter() - began
            began = time.perf_counter()
            store(place)
            first = time.perf_counter() - began
            later = [store(place) for _ in range(runs)]
        whole, point = (statistics.median(one[index] for one in later) * 1000 for index in (0, 1))
        print(f"| {name} | {imported:.2f} | {first:.2f} | {whole:.1f} | {point:.3f} |")


if __name__ == "__main__":
    main()
