"""What the ledger costs: overhead of a step that does nothing, a backfill, `status` on what is then there.

    python benchmarks/pipeline.py                                  # SQLite, 200 hours of three steps
    python benchmarks/pipeline.py --hours 8760                     # a year
    python benchmarks/pipeline.py --ledger postgresql+pg8000://postgres@127.0.0.1:5432/postgres

The steps return at once, so all the time is the runner's, the ledger's and the worker's pipe. What the pipeline
`sanmaru_benchmark` left in the database is removed before and after.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.pipelines.config import PipelineConfig
from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.plan import Plan
from sanmaru.pipelines.runner import Runner

NAME = "sanmaru_benchmark"
START = datetime(2025, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", default="sqlite:///pipeline.db")
    parser.add_argument("--hours", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "steps.py").write_text("def act(context):\n    return {'n': context.interval}\n")
        steps = {
            "collect": {"call": "steps.py:act"},
            "clean": {"call": "steps.py:act", "needs": "collect"},
            "forecast": {"call": "steps.py:act", "needs": [{"step": "clean", "first": -23}]},
        }
        config = PipelineConfig.model_validate(
            {"every": "1h", "start": START.isoformat(), "steps": steps, "ledger": options.ledger}
        )
        engine = open_engine(config.ledger, folder)
        plan, ledger = Plan(NAME, config, folder), Ledger(engine, NAME)
        forget(engine)
        try:
            print(json.dumps(measure(plan, ledger, options.hours, options.workers), indent=2))
        finally:
            forget(engine)
            engine.dispose()


def measure(plan: Plan, ledger: Ledger, hours: int, workers: int) -> dict[str, object]:
    ended: list[float] = []
    with Runner(plan, ledger, workers=workers, tell=lambda *_: ended.append(time.perf_counter())) as runner:
        runner.run(until=START + timedelta(hours=2))  # worker processes start
        until = START + timedelta(hours=2 + hours)
        began, cpu = time.perf_counter(), time.process_time()
        summary = runner.run(until=until)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        assert (summary.done, summary.blocked) == (3 * hours, {})
        again = time.perf_counter()
        assert runner.run(until=until).done == 0
        again = time.perf_counter() - again
    gaps = [1000 * (late - early) for early, late in itertools.pairwise(ended[1:])]
    tenth = len(gaps) // 10
    looked = time.perf_counter()
    counts = ledger.counts()
    ledger.open_entries(limit=200)
    looked = time.perf_counter() - looked
    return {
        "ledger": ledger.engine.dialect.name,
        "steps": summary.done,
        "workers": workers,
        "seconds": round(seconds, 1),
        "ms_per_step": round(1000 * seconds / summary.done, 2),
        "ms_per_step_of_the_runner_itself": round(1000 * cpu / summary.done, 2),
        "last_tenth_to_first_tenth": round(statistics.mean(gaps[-tenth:]) / statistics.mean(gaps[:tenth]), 2),
        "run_again_seconds": round(again, 3),
        "status_seconds": round(looked, 3),
        "rows": sum(sum(states.values()) for states in counts.values()),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def forget(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in ("sanmaru_ledger", "sanmaru_attempts"):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE pipeline = '{NAME}'"))


if __name__ == "__main__":
    main()
