"""How long one hour takes from collection to publication, for 25 districts; and a year of hours in one backfill.

Run: python benchmarks/service.py [--hours 24] [--series 25] [--year] [--write-docs]

The districts' hours are the city's average (air-seoul, from SANMARU_DATA) times a factor of each district with
seeded noise, for the real hourly values of districts are not at hand; there are as many rows as 25 stations would have.
History is collected first and a model trained (ridge on lags), which is not counted. Then hours are done one after
another, each through collect, check, anomalies, decide, forecast, monitor and publish (page, JSON, Parquet, SQLite
rows): the first in a new process, as cron would start it, the others by a runner that stays. Durations are the
ledger's. `--year` does 8,760 hours of collect, check and anomalies for one series in one backfill.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import yaml

SEED = 7
BEGIN = datetime(2021, 12, 1, tzinfo=UTC)
STEPS = ("collect", "check", "anomalies", "decide", "forecast", "monitor", "publish")
VALUES = ("pm25", "pm10", "o3", "no2", "co", "so2")
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKS = ("<!-- service: written by benchmarks/service.py -->", "<!-- end of service -->")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--series", type=int, default=25)
    parser.add_argument("--year", action="store_true", help="the backfill of a year instead")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    given = parser.parse_args()
    if "SANMARU_DATA" not in os.environ:
        sys.exit("SANMARU_DATA must name the folder that holds air-seoul/hourly.csv.")
    folder = Path(tempfile.mkdtemp(prefix="sanmaru-service-"))
    try:
        lines = year(folder) if given.year else hours(folder, given.series, given.hours)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "\n".join(lines)
    print(text)
    if given.write_docs:
        write(text, year=given.year)


def hours(folder: Path, n_series: int, n_hours: int) -> list[str]:
    """Measure single hours from collection to publication."""
    prepare(folder, n_series, history_days=120)
    end = BEGIN + timedelta(hours=1)
    began = time.perf_counter()
    backfill(folder, BEGIN, end)
    training_s = time.perf_counter() - began
    first = BEGIN + timedelta(hours=1)
    began = time.perf_counter()
    backfill(folder, first, first + timedelta(hours=1))
    cold_s = time.perf_counter() - began
    began = time.perf_counter()
    backfill(folder, first + timedelta(hours=1), first + timedelta(hours=1 + n_hours))
    warm_s = (time.perf_counter() - began) / n_hours
    took = durations(folder, since=first + timedelta(hours=2))
    title = f"One hour of {n_series} series, without training (the training before took {training_s:.0f} s):"
    rows = [
        "| step | median s | slowest s |",
        "| --- | ---: | ---: |",
        *(f"| {step} | {statistics.median(took[step]):.2f} | {max(took[step]):.2f} |" for step in STEPS),
        f"| **all, by a runner that stays** ({n_hours} hours) | **{warm_s:.2f}** | |",
        f"| **all, in a new process** (one hour, start and imports counted) | **{cold_s:.2f}** | |",
    ]
    return [stamp(), "", title, "", *rows]


def year(folder: Path) -> list[str]:
    """Measure the backfill of 8,760 hours of the steps before forecasting."""
    prepare(folder, 1, history_days=60, steps=("collect", "check", "anomalies"), until=BEGIN + timedelta(days=365))
    began = time.perf_counter()
    backfill(folder, BEGIN, BEGIN + timedelta(days=365))
    took_s = time.perf_counter() - began
    per_step = {name: statistics.median(values) for name, values in durations(folder).items()}
    told = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in per_step.items())
    n_steps = 3 * 8760
    return [
        f"A year of hours (8,760 of collect, check and anomalies, one series) in one backfill: {took_s / 60:.1f} min, "
        f"{took_s / n_steps * 1000:.0f} ms a step with everything around it (medians of the steps: {told})."
    ]


def prepare(
    folder: Path, n_series: int, history_days: int, *, steps: tuple[str, ...] = (), until: datetime | None = None
) -> None:
    """Write the recorded hours and the project file, and collect the history before the first hour."""
    until = until or BEGIN + timedelta(days=10)
    source = pl.read_csv(Path(os.environ["SANMARU_DATA"]) / "air-seoul" / "hourly.csv", null_values=["-"])
    source = source.unique("datetime", keep="first", maintain_order=True)
    local = pl.col("datetime").str.to_datetime("%Y-%m-%d %H:%M").dt.replace_time_zone("Asia/Seoul")
    utc = source.select(local.dt.convert_time_zone("UTC")).to_series()
    source = source.filter((utc >= BEGIN - timedelta(days=history_days)) & (utc < until))
    rng = np.random.default_rng(SEED)
    parts = []
    for number in range(n_series):
        noise = {name: rng.normal(1 + 0.1 * rng.normal(), 0.05, len(source)) for name in VALUES}
        parts.append(
            source.select(
                pl.lit(f"district-{number:02d}").alias("station"),
                "datetime",
                *((pl.col(name).cast(pl.Float64) * pl.Series(noise[name])).round(4).alias(name) for name in VALUES),
            )
        )
    pl.concat(parts).write_csv(folder / "hourly.csv")
    (folder / "sanmaru.yaml").write_text(yaml.safe_dump(project(steps), allow_unicode=True, sort_keys=False))
    sanmaru(folder, "collect", "fetch", "air", "--from", text_of(BEGIN - timedelta(days=history_days)),
            "--to", text_of(BEGIN))  # fmt: skip


def project(steps: tuple[str, ...]) -> dict[str, object]:
    """Return the content of the project file."""
    tied: dict[str, dict[str, object]] = {
        "collect": {"use": "collect"},
        "check": {"use": "check", "needs": "collect"},
        "anomalies": {"use": "anomalies", "needs": "check"},
        "decide": {"use": "decide", "needs": "anomalies"},
        "train": {"use": "train", "needs": "decide"},
        "judge": {"use": "judge", "needs": "train"},
        "promote": {"use": "promote", "needs": "judge"},
        "forecast": {"use": "forecast", "needs": ["anomalies", "promote"]},
        "monitor": {"use": "monitor", "needs": ["anomalies", "forecast"]},
        "publish": {
            "use": "publish", "needs": ["anomalies", "forecast"],
            "with": {"database": "sqlite:///forecasts.db", "live": False},
        },
    }  # fmt: skip
    if steps:
        tied = {name: tied[name] for name in steps}
    return {
        "name": "fine-dust",
        "task": "forecasting",
        "data": {"train": "unused.parquet", "series": "series", "time": "time", "target": ["pm25", "pm10"]},
        "forecast": {"every": "1h", "horizon": 48, "lookback": 72, "season": 24, "zone": "Asia/Seoul", "stride": 24,
                     "origins": {"every": "1d", "reach": "30d"}},
        "split": {"kind": "time", "folds": 2},
        "model": {"kind": "ridge"},
        "contract": {"pm25": {"low": 0, "high": 1000}, "pm10": {"low": 0, "high": 2000}},
        "anomalies": {"model": {"kind": "rules"}},
        "collect": {
            "air": {"kind": "replay", "path": "hourly.csv", "time": "datetime", "zone": "Asia/Seoul", "need": 0,
                    "series": "station", "columns": {name: name for name in VALUES}},
        },
        "pipeline": {"every": "1h", "start": text_of(BEGIN), "steps": tied},
    }  # fmt: skip


def backfill(folder: Path, start: datetime, end: datetime) -> None:
    sanmaru(folder, "pipeline", "backfill", "--from", text_of(start), "--to", text_of(end))


def sanmaru(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("sanmaru"), *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        sys.exit(f"sanmaru {' '.join(words)} ended with {done.returncode}:\n{told}")


def durations(folder: Path, since: datetime | None = None) -> dict[str, list[float]]:
    """Return the seconds of every step that was done, by step."""
    import sqlalchemy as sa

    engine = sa.create_engine(f"sqlite:///{folder / 'pipeline.db'}")
    table = sa.Table("sanmaru_ledger", sa.MetaData(), autoload_with=engine)
    rows = sa.select(table.c.step, table.c.seconds).where(table.c.state == "done")
    if since is not None:
        rows = rows.where(table.c.start >= since.strftime("%Y-%m-%dT%H:%MZ"))
    found: dict[str, list[float]] = {}
    with engine.connect() as connection:
        for step, seconds in connection.execute(rows):
            found.setdefault(step, []).append(seconds)
    return found


def text_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M+00:00")


def stamp() -> str:
    load = os.getloadavg()[0]
    day = datetime.now(UTC).date()
    return f"{day}, Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} when it ended."


def write(text: str, *, year: bool) -> None:
    """Put the lines into the page, in place of those of before; single hours and the year stand beside each other."""
    page = DOCS.read_text(encoding="utf-8")
    head, rest = page.split(MARKS[0])
    old, tail = rest.split(MARKS[1])
    kept = [part for part in old.strip().split("\n\n\n") if part and part.startswith("A year") != year]
    parts = [*kept, text] if year else [text, *kept]
    DOCS.write_text(f"{head}{MARKS[0]}\n\n" + "\n\n\n".join(parts) + f"\n\n{MARKS[1]}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
