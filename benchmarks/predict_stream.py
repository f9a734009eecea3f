"""Batch prediction in constant memory, and what a package adds to its estimators for one row.

Run: python benchmarks/predict_stream.py [--rows 1000000] [--folds 5] [--trees 100]

Prints rows per second and peak memory for files of growing size, without and with a sample submission in another
order of rows; then, for one row, the median time of the estimators alone beside encode_rows + forward + answers.
Every prediction runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.packages.write import write_package
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.config import LightGBMConfig
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

NUMBERS = tuple(f"x{i}" for i in range(8))
CATEGORIES = ("city", "kind")

PREDICT = """
import json, re, sys, time
from pathlib import Path
from sanmaru.packages.batch import predict_file
from sanmaru.packages.package import Package

def peak():  # of this program; getrusage also counts the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

package, source, output, sample = sys.argv[1:]
loaded = Package.load(package)
before = peak()
started = time.perf_counter()
predict_file(loaded, Path(source), Path(output), sample=Path(sample) if sample else None)
seconds = time.perf_counter() - started
print(json.dumps([seconds, before, peak()]))
"""


def rows(n_rows: int, seed: int, start: int = 0) -> pl.DataFrame:
    """Seeded rows with eight numbers, two categories and two classes."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {"id": np.arange(start, start + n_rows)}
    columns |= {name: rng.normal(0, 1, n_rows).round(3) for name in NUMBERS}
    columns["city"] = rng.choice([f"city {i}" for i in range(30)], n_rows)
    columns["kind"] = rng.choice(["a", "b", "c"], n_rows)
    signal = columns["x0"] + columns["x1"] * columns["x2"] + rng.normal(0, 0.5, n_rows)  # type: ignore[operator]
    return pl.DataFrame(columns).with_columns(target=pl.Series(np.where(signal > 0, "yes", "no")))


def make_package(folder: Path, n_folds: int, trees: int) -> Package:
    """Package `n_folds` LightGBM models fitted on 5,000 rows."""
    table = rows(5000, 0)
    task = Tabular.open(table, Roles(id="id", targets=("target",), features=NUMBERS + CATEGORIES))
    parts = []
    for fold in range(n_folds):
        work = folder / f"fold-{fold}"
        work.mkdir(parents=True)
        estimator = task.estimator(LightGBMConfig(trees=trees, leaves=15), TrainConfig())
        context = FitContext(folder=work, cache=work, seed=fold, metric=find_metric("log_loss"))
        estimator.fit(table.filter(np.arange(5000) % n_folds != fold), None, context)
        estimator.save(work / "estimator")
        parts.append(work / "estimator")
    predictions = task.predictions(table["id"], estimator.forward(estimator.encode(table)))
    evaluation = predictions.with_columns(table["target"].alias("truth"), fold=pl.lit(0))
    return write_package(
        folder / "package", task=task, estimators=parts, golden=table.head(16), evaluation=evaluation, card={}
    )


def stream(folder: Path, package: Package, sizes: list[int]) -> None:
    """Time files of growing size."""
    print("| rows | csv MiB | sample | rows/s | peak MiB above the loaded model |\n| ---: | ---: | --- | ---: | ---: |")
    for n_rows in sizes:
        source, sample = folder / "in.csv", folder / "sample.csv"
        with source.open("wb") as handle:
            for start in range(0, n_rows, 50_000):
                part = rows(min(50_000, n_rows - start), start + 1, start).drop("target")
                part.write_csv(handle, include_header=start == 0)
        shuffled = np.random.default_rng(0).permutation(n_rows)
        pl.DataFrame({"id": shuffled}).with_columns(target=pl.lit("no")).write_csv(sample)
        for given in ("", str(sample)):
            words = [sys.executable, "-c", PREDICT, str(package.folder), str(source), str(folder / "out.csv"), given]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            seconds, before, peak = json.loads(done.stdout)
            size = source.stat().st_size / 2**20
            asked = "other order" if given else "none"
            print(f"| {n_rows:,} | {size:.0f} | {asked} | {n_rows / seconds:,.0f} | {peak - before:.0f} |")


def one_row(package: Package, repeats: int = 3000) -> None:
    """Time one row through the package beside its bare estimators, in turn."""
    row = [rows(1, 9).drop("target").to_dicts()[0]]
    encoded = package.encode_rows(row)
    outputs = package.forward(encoded)
    first = package.estimators[0]
    steps = {
        "estimators alone: encode once, forward each": lambda: [
            e.forward(array)
            for array in [first.encode_rows(row)]
            for e in package.estimators  # type: ignore[attr-defined]
        ],
        "encode_rows": lambda: package.encode_rows(row),
        "forward": lambda: package.forward(encoded),
        "answers": lambda: package.answers(outputs),
        "encode_rows + forward + answers": lambda: package.answers(package.forward(package.encode_rows(row))),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - started)
    print(f"\n| one row, {len(package.estimators)} folds | median us |\n| --- | ---: |")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values) * 1e6:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--trees", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        package = make_package(Path(name), given.folds, given.trees)
        stream(Path(name), package, [given.rows // 100, given.rows // 10, given.rows])
        one_row(package)


if __name__ == "__main__":
    main()
