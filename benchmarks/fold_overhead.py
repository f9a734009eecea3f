"""What a fold costs beyond its fit, in process: start, data, prediction, artefacts, tracking.

Run: python benchmarks/fold_overhead.py [--runs 5] [--folds 5]

Trains scikit-learn's diabetes table (442 rows, LightGBM) and some of its digits (pictures of 8 px, a convnet for two
epochs) again and again in one process. What a whole run takes beyond the fits is shared out among its folds. The first
run, with the imports and MLflow's first migration, stands apart.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sanmaru import Project, Run, train
from sanmaru.cli.demo_data import write_diabetes, write_digits
from sanmaru.files import read_json

PARTS = {
    "read": "read data, set up the run",
    "data": "take the fold's rows",
    "predict": "predict and score validation rows",
    "keep": "write the fold's files",
    "score": "join and score, interval",
    "package": "model package with golden rows",
    "report": "report",
    "tracking": "wait for the MLflow mirror",
    "rest": "everything else",
}
TARGET_S = 1.0


def diabetes(folder: Path, folds: int) -> Project:
    write_diabetes(folder)
    data = {"train": "train.csv", "id": "id", "target": "progression"}
    content = {"name": "diabetes", "task": "tabular", "data": data, "split": {"folds": folds}}
    return Project.from_dict(folder, content)


def digits(folder: Path, folds: int) -> Project:
    write_digits(folder)
    lines = (folder / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "few.csv").write_text("".join(lines[:501]), encoding="utf-8")
    content = {
        "name": "digits",
        "task": "image-classification",
        "data": {"train": "few.csv", "images": "images", "id": "id", "image": "file", "target": "digit"},
        "split": {"kind": "stratified", "folds": folds},
        "model": {"image_size": 8},
        "train": {"epochs": 2},
    }
    return Project.from_dict(folder, content)


def measure(project: Project) -> dict[str, float]:
    """Return the seconds of a run by part, and `fit`, `total` and `overhead` (beyond the fits, per fold)."""
    began = time.perf_counter()
    run: Run = train(project)
    total = time.perf_counter() - began
    stages: dict[str, float] = run.facts["seconds"]
    folds = [read_json(folder / "done.json")["seconds"] for folder in run.fold_folders()]
    parts = {name: sum(fold[name] for fold in folds) for name in ("data", "predict", "keep", "fit")}
    parts |= {name: stages[name] for name in ("read", "score", "package", "report", "tracking")}
    parts["rest"] = total - sum(parts.values())
    return {**parts, "total": total, "overhead": (total - parts["fit"]) / len(folds)}


def table(name: str, first: dict[str, float], later: list[dict[str, float]], folds: int) -> None:
    median = {key: statistics.median(run[key] for run in later) for key in later[0]}
    largest = max(run["overhead"] for run in later)
    print(f"\n### {name}: {folds} folds, median of {len(later)} runs\n")
    print("| part of the overhead | seconds per fold | share |\n| --- | ---: | ---: |")
    beyond = sum(median[key] for key in PARTS)
    for key, what in PARTS.items():
        print(f"| {what} | {median[key] / folds:.4f} | {median[key] / beyond:.0%} |")
    verdict = "below" if median["overhead"] < TARGET_S else "NOT below"
    print(f"| **beyond the fit** (target below {TARGET_S:.0f} s: {verdict}) | **{median['overhead']:.3f}** | |")
    print(f"| largest of the runs | {largest:.3f} | |")
    print(f"| first run, with imports and first migration | {first['overhead']:.3f} | |")
    print(f"| the fit itself | {median['fit'] / folds:.3f} | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; seed 7")
    makers: dict[str, Callable[[Path, int], Any]] = {"diabetes, LightGBM": diabetes, "digits, convnet": digits}
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as folder:
            project = make(Path(folder), arguments.folds)
            first = measure(project)
            later = [measure(project) for _ in range(arguments.runs)]
        table(name, first, later, arguments.folds)


if __name__ == "__main__":
    main()
