"""A small service for tests: its recording, its project file, and ways to drive it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 29, tzinfo=UTC)
"""The pipeline's first interval; what lies before is history."""
DAYS = 34
HEAVY = (
    "tests.steps.quiet", "sanmaru.pipelines.work", "sanmaru.project",
    "sanmaru.registry.models", "sanmaru.experiments.train",
    "sanmaru.packages.package", "sanmaru.publish.files", "sanmaru.monitoring.watch", "sanmaru.steps.monitor",
    "sanmaru.steps.train", "sanmaru.steps.publish", "sanmaru.collect.interval", "sanmaru.tasks.forecasting.task",
    "mlflow", "mlflow.tracking", "mlflow.store.tracking.sqlalchemy_store", "polars", "sqlalchemy", "scipy.stats",
)  # fmt: skip
"""What the worker processes of tests have imported before they are needed."""
PROJECT = """\
name: air
task: forecasting
data: {{train: data/train.parquet, series: series, time: time, target: pm25}}
forecast:
  {{every: 1h, horizon: 6, lookback: 24, season: 24, zone: Asia/Seoul, stride: 1, origins: {{every: 6h, reach: 8d}}}}
split: {{kind: time, folds: 2}}
model: {model}
storage: {{tracking: "sqlite:///mlflow.db"}}
contract:
  pm25: {contract}
anomalies: {{model: {{kind: rules}}, columns: [pm25, o3]}}
collect:
  air:
    kind: replay
    path: air.csv
    series: station
    columns: {{pm25: pm25, o3: o3}}
    patience_s: null
    {replay}
pipeline:
  every: 1h
  start: {start}
  lease_s: 60
  {pipeline}
  steps:
    collect: {{use: collect, retry_wait_s: 0}}
    check: {{use: check, needs: collect, retry_wait_s: 0}}
    anomalies: {{use: anomalies, needs: check, retry_wait_s: 0, with: {{refit_days: 1, history_days: 20}}}}
    decide: {{use: decide, needs: anomalies, retry_wait_s: 0, with: {{triggers: {triggers}}}}}
    train: {{use: train, needs: decide, retry_wait_s: 0, with: {{window_days: 9}}}}
    judge: {{use: judge, needs: train, retry_wait_s: 0, with: {{every_hours: 6}}}}
    promote: {{use: promote, needs: judge, retry_wait_s: 0}}
    forecast: {{use: forecast, needs: [{{step: anomalies, first: -1}}, promote], retry_wait_s: 0}}
    publish:
      use: publish
      needs: [anomalies, forecast]
      retry_wait_s: 0
      with:
        database: sqlite:///forecasts.db
        title: {{en: Fine dust, ko: 미세먼지}}
        targets: {{pm25: {{unit: µg/m³, label: {{en: PM2.5, ko: 초미세먼지}}, grade: pm25}}}}
        live: false
    monitor: {{use: monitor, needs: [anomalies, forecast], retry_wait_s: 0, with: {{horizon: 2, look_at: {look_at}}}}}
"""
DEFAULTS = {
    "model": "{kind: ridge, penalty: 0.001}",
    "contract": "{low: 0, high: 500}",
    "replay": "need: 1",
    "start": "2026-01-29",
    "pipeline": "workers: 1",
    "triggers": "{cooldown_days: 0}",
    "look_at": "10",  # 01:00 UTC
}


def recorded(days: int = DAYS, seed: int = 3) -> pl.DataFrame:
    """Two stations: a daily wave, and a deviation from it that fades within hours."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    parts = []
    for number, station in enumerate(("east", "west")):
        noise = rng.normal(0, 3, len(hours))
        fading = np.zeros(len(hours))
        for n in range(1, len(hours)):
            fading[n] = 0.8 * fading[n - 1] + noise[n]
        pm25 = 40 + 10 * number + 20 * np.sin(2 * np.pi * hours / 24) + fading
        o3 = 0.03 + 0.01 * np.cos(2 * np.pi * hours / 24) + rng.normal(0, 0.001, len(hours))
        times = [(BEGIN + timedelta(hours=int(h))).strftime("%Y-%m-%d %H:%M") for h in hours]
        parts.append(pl.DataFrame({"time": times, "station": station, "pm25": pm25.round(1), "o3": o3.round(4)}))
    return pl.concat(parts).sort("time", "station")


def write_recording(path: Path) -> Path:
    recorded().write_csv(path)
    return path


def write_service(folder: Path, **changes: str) -> Service:
    """Write the project file; `changes` replace the parts of `DEFAULTS`."""
    (folder / "sanmaru.yaml").write_text(PROJECT.format(**{**DEFAULTS, **changes}), encoding="utf-8")
    return Service(folder)


@dataclass(frozen=True)
class Service:
    """A service in a folder."""

    folder: Path

    def copy(self, folder: Path) -> Service:
        shutil.copytree(self.folder, folder)
        return Service(folder)

    @property
    def project(self) -> Any:
        from sanmaru.project import Project

        return Project.load(self.folder)

    def collect_history(self, until: datetime = START) -> None:
        """Collect what lies before the pipeline's first interval, in one sweep."""
        from sanmaru.collect.interval import collect_interval

        project = self.project
        config = project.file.collect["air"]
        collect_interval("air", config, BEGIN, until, project.collected_folder, project=self.folder)

    def run(self, hours: float, *, until: datetime | None = None, **options: Any) -> Any:
        """Do everything that can be done for the first so many intervals; return the runner's summary."""
        from sanmaru.cli.pipeline.common import open_ledger, open_plan
        from sanmaru.pipelines.runner import Runner

        plan = open_plan(self.folder)
        ledger = open_ledger(plan)
        try:
            with Runner(plan, ledger) as runner:
                return runner.run(until=until or START + timedelta(hours=hours), **options)
        finally:
            ledger.engine.dispose()

    def rows(self, query: str, database: str = "pipeline.db") -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / database) as connection:
            found = connection.execute(query).fetchall()
        connection.close()
        return found

    def outputs(self, step: str, hour: int) -> dict[str, Any]:
        """Return what a step gave for the interval of an hour after the start."""
        start = f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}"
        ((found,),) = self.rows(f"SELECT outputs FROM sanmaru_ledger WHERE step = '{step}' AND start = '{start}'")
        outputs: dict[str, Any] = json.loads(found)
        return outputs

    def states(self, hour: int) -> dict[str, str]:
        """Return the state of every step for the interval of an hour after the start."""
        start = f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}"
        return dict(self.rows(f"SELECT step, state FROM sanmaru_ledger WHERE start = '{start}'"))  # type: ignore[arg-type]

    def done(self) -> list[tuple[str, int]]:
        """Return every completion so far as (step, hour after the start), in order."""
        found = self.rows(
            "SELECT step, start FROM sanmaru_attempts WHERE state IN ('done', 'nothing') ORDER BY ended, attempt"
        )
        return [(step, int((datetime.fromisoformat(start) - START) / timedelta(hours=1))) for step, start in found]

    def again(self, step: str, hour: int) -> None:
        """Ask for a step of the interval of an hour after the start to be done once more."""
        from sanmaru.cli.pipeline.common import open_ledger, open_plan

        ledger = open_ledger(open_plan(self.folder))
        start = f"{START + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}"
        assert ledger.ask_again([step], [start], "a test", failed_only=False, span=True) == 1
        ledger.engine.dispose()
