"""Reading and grouping tables with polars, pandas, DuckDB and pyarrow: seconds and peak memory.

Run: python benchmarks/table_library.py [--rows 1000000] [--repeats 3] [--data ../shared/data]

Each measurement runs in a process of its own, so that memory is that library's alone: import (apart), read the csv
typed into memory, then the mean of a number per category. `sanmaru` is our own reading on top of polars: encoding and
ragged rows checked, every cell of every column looked at for its type. DuckDB is no dependency of ours: `pip install
duckdb` to have it in the table. Medians over the repeats; the peak is resident memory, from after import to its
highest. `cpu s` is the processor time of reading, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

LIBRARIES = ("polars", "sanmaru", "pandas", "pandas-arrow", "duckdb", "pyarrow")
_REAL = {"adult": ("adult/train.csv", "occupation", "age"), "flats": ("apt-seoul/trades_2022.csv", "시군구", "층")}


def _polars(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import polars as pl

    return (
        lambda: pl.read_csv(path, null_values=["?", "-"], infer_schema_length=10_000),
        lambda table: table.group_by(key).agg(pl.col(value).mean()),
    )


def _sanmaru(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import polars as pl

    from sanmaru.tables.config import DataConfig
    from sanmaru.tables.read import read_data

    config = DataConfig(train=path, target=value)
    return (
        lambda: read_data(config, Path(path).parent, task="tabular").table,
        lambda table: table.group_by(key).agg(pl.col(value).mean()),
    )


def _pandas(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import pandas as pd

    return lambda: pd.read_csv(path, na_values=["?", "-"]), lambda table: table.groupby(key)[value].mean()


def _pandas_arrow(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import pandas as pd

    return (
        lambda: pd.read_csv(path, na_values=["?", "-"], engine="pyarrow", dtype_backend="pyarrow"),
        lambda table: table.groupby(key)[value].mean(),
    )


def _duckdb(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import duckdb

    connection = duckdb.connect()

    def read() -> Any:
        connection.execute("create table t as select * from read_csv(?, nullstr=['?', '-', ''])", [path])
        return connection

    return read, lambda table: table.execute(f'select "{key}", avg("{value}") from t group by 1').fetchall()


def _pyarrow(path: str, key: str, value: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from pyarrow import csv

    options = csv.ConvertOptions(null_values=["?", "-", ""], strings_can_be_null=True)
    return (
        lambda: csv.read_csv(path, convert_options=options),
        lambda table: table.group_by(key).aggregate([(value, "mean")]),
    )


def measure(library: str, path: str, key: str, value: str) -> dict[str, float]:
    """Measure one library in this process."""
    prepare = {
        "polars": _polars,
        "sanmaru": _sanmaru,
        "pandas": _pandas,
        "pandas-arrow": _pandas_arrow,
        "duckdb": _duckdb,
        "pyarrow": _pyarrow,
    }[library]
    start = time.perf_counter()
    read, group = prepare(path, key, value)
    imported, before = time.perf_counter(), _peak_kb()
    busy = time.process_time()
    table = read()
    had, busy_read = time.perf_counter(), time.process_time() - busy
    group(table)
    done = time.perf_counter()
    peak = _peak_kb()
    return {
        "import": imported - start,
        "read": had - imported,
        "cpu": busy_read,
        "group": done - had,
        "MB": (peak - before) / 1024,
    }


def _peak_kb() -> int:
    """Highest resident memory of this process. `getrusage` would count the process that started this one as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def generate(path: Path, rows: int) -> None:
    """Write a table of ten columns: numbers, whole numbers, categories, dates and texts, some of it missing."""
    import numpy as np
    import polars as pl

    generator = np.random.default_rng(7)
    category = generator.integers(0, 1000, rows)
    table = pl.DataFrame(
        {
            "key": np.arange(rows),
            **{f"number_{i}": generator.normal(size=rows).round(5) for i in range(4)},
            "count": generator.integers(0, 10_000, rows),
            "category": "c" + pl.Series(category).cast(pl.String),
            "code": pl.Series(generator.choice(["red", "green", "blue"], rows)),
            "day": pl.Series(generator.integers(0, 3650, rows)).cast(pl.Int32).cast(pl.Date),
            "words": pl.Series(category).cast(pl.String) + " some words of text",
        }
    )
    gaps = pl.Series(generator.random(rows) < 0.05)
    table.with_columns(pl.when(~gaps).then(pl.col("number_0")).alias("number_0")).write_csv(path)


def main() -> None:
    """Measure every library on every table and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one)))
        return
    present = [name for name in LIBRARIES if util.find_spec(name.split("-")[0])]
    shown = ", ".join(f"{name} {metadata.version(name)}" for name in present if name not in ("pandas-arrow", "sanmaru"))
    print(f"{shown}; Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    print(f"{'table':<12}{'library':<14}{'import s':>9}{'read s':>9}{'cpu s':>9}{'group s':>9}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "generated.csv"
        generate(made, arguments.rows)
        tables = {f"{arguments.rows:,}": (str(made), "category", "number_0")}
        for name, (file, key, value) in _REAL.items():
            if (arguments.data / file).is_file():
                tables[name] = (str((arguments.data / file).resolve()), key, value)
        for name, (path, key, value) in tables.items():
            for library in present:
                runs = []
                for _ in range(arguments.repeats):
                    command = [sys.executable, __file__, "--one", library, path, key, value]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    runs.append(json.loads(done.stdout))
                median = {what: statistics.median(run[what] for run in runs) for what in runs[0]}
                print(
                    f"{name:<12}{library:<14}{median['import']:>9.2f}{median['read']:>9.3f}{median['cpu']:>9.3f}"
                    f"{median['group']:>9.4f}{median['MB']:>9.0f}"
                )


if __name__ == "__main__":
    main()
