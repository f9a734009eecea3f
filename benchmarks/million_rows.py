"""A large table through every stage, as a user would send it: time and peak memory of each command.

Run: python benchmarks/million_rows.py [--rows 1000000] [--trees 200]

The table has a million seeded rows of 8 numbers, a date, two categories (30 and 2,000 values) and two classes, with 3 %
of the cells missing. Each stage is one command in a process of its own; its peak memory is the kernel's figure for that
process and what it starts. `read` is the reading and typing alone, which every later stage does again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

PROJECT = """
name: million
task: tabular
data: {{train: train.csv, id: id, target: target}}
split: {{kind: stratified, folds: 5, seed: 7}}
model: {{kind: lightgbm, trees: {trees}}}
"""

READ = """
from sanmaru.project import Project
from sanmaru.tables.read import read_data
project = Project.load()
data = read_data(project.file.data, project.folder, task=project.file.task, aside=[])
assert data.table.height == {rows}
"""


def write_rows(path: Path, n_rows: int, *, seed: int, target: bool) -> None:
    """Write seeded rows as csv, part by part."""
    rng = np.random.default_rng(seed)
    with path.open("wb") as handle:
        for start in range(0, n_rows, 100_000):
            n = min(100_000, n_rows - start)
            numbers = rng.normal(0, 1, (n, 8)).round(3)
            city, shop = rng.integers(0, 30, n), rng.integers(0, 2000, n)
            day = np.datetime64("2020-01-01") + rng.integers(0, 1500, n).astype("timedelta64[D]")
            signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + 0.3 * np.sin(city) + rng.normal(0, 0.7, n)
            part = pl.DataFrame({"id": np.arange(start, start + n)}).with_columns(
                *(pl.Series(f"x{i}", np.where(rng.random(n) < 0.03, np.nan, numbers[:, i])) for i in range(8)),
                day=pl.Series(day.astype("datetime64[D]")).cast(pl.String),
                city=pl.Series([f"city {i}" for i in city]),
                shop=pl.Series([f"shop {i:04d}" for i in shop]),
            )
            part = part.with_columns(pl.col(f"x{i}").fill_nan(None) for i in range(8))
            if target:
                part = part.with_columns(target=pl.Series(np.where(signal > 0, "yes", "no")))
            part.write_csv(handle, include_header=start == 0)


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; return its seconds and the peak memory of it and its children in MiB."""
    watcher = (
        "import json, resource, subprocess, sys; "
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True); "
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "print(json.dumps([done.returncode, peak, done.stderr[-2000:]]))"
    )
    began = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", watcher, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    seconds = time.perf_counter() - began
    status, peak_kib, told = json.loads(out)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}:\n{told}")
    return seconds, peak_kib / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--trees", type=int, default=200)
    arguments = parser.parse_args()
    sanmaru = [sys.executable, "-c", "from sanmaru.cli.main import main; main()"]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_rows(folder / "train.csv", arguments.rows, seed=0, target=True)
        write_rows(folder / "test.csv", arguments.rows, seed=1, target=False)
        (folder / "sanmaru.yaml").write_text(PROJECT.format(trees=arguments.trees))
        size = (folder / "train.csv").stat().st_size / 2**20
        print(f"{arguments.rows:,} rows, {size:.0f} MiB of csv, {os.cpu_count()} cores\n")
        print("| stage | seconds | rows/s | peak MiB |\n| --- | ---: | ---: | ---: |")
        for name, words in (
            ("read", [sys.executable, "-c", READ.format(rows=arguments.rows)]),
            ("explore", [*sanmaru, "explore"]),
            (f"train, 5 folds of {arguments.trees} trees at most", [*sanmaru, "train"]),
            ("predict", [*sanmaru, "predict", "last", "test.csv", "-o", "out.csv"]),
        ):
            seconds, peak = measured(words, folder)
            print(f"| {name} | {seconds:.1f} | {arguments.rows / seconds:,.0f} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
