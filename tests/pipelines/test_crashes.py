"""The machine dies at every moment that matters; the outputs are those of an undisturbed run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.pipelines.crashes import kill_at_every_boundary

STEPS = """
import json
from sanmaru.files import write_json, write_text

def collect(context):
    path = context.folder / "raw" / f"{context.interval[11:13]}.txt"
    write_text(path, f"values of {context.interval}\\n" * 100)
    return {"raw": path}

def clean(context):
    raw = (context.folder / context.input("collect")["raw"]).read_text()
    print("cleaning", context.interval)
    path = context.folder / "clean" / f"{context.interval[11:13]}.json"
    write_json(path, {"lines": raw.count("\\n")})
    return {"clean": path, "lines": raw.count("\\n")}

def window(context):
    total = sum(outputs["lines"] for outputs in context.inputs["clean"].values())
    write_text(context.folder / f"window-{context.interval[11:13]}.txt", str(total))
    return {"total": total}
"""
PIPELINE = {
    "every": "1h", "start": "2026-11-20T00:00", "lease_s": 60,
    "steps": {
        "collect": {"call": "steps.py:collect", "retry_wait_s": 0},
        "clean": {"call": "steps.py:clean", "needs": "collect", "retry_wait_s": 0},
        "window": {"call": "steps.py:window", "needs": [{"step": "clean", "first": -1}], "retry_wait_s": 0},
    },
}  # fmt: skip


def make_project(folder: Path) -> None:
    (folder / "steps.py").write_text(STEPS)


def run(folder: Path, hours: int = 2) -> None:
    """What `sanmaru pipeline run` does, for some hours."""
    from sanmaru.database import open_engine
    from sanmaru.pipelines.config import PipelineConfig
    from sanmaru.pipelines.ledger import Ledger
    from sanmaru.pipelines.plan import Plan
    from sanmaru.pipelines.runner import Runner

    plan = Plan("air", PipelineConfig.model_validate(PIPELINE), folder)
    engine = open_engine(plan.config.ledger, folder)
    with Runner(plan, Ledger(engine, "air")) as runner:
        runner.run(until=datetime(2026, 11, 20, hours, tzinfo=UTC))
    engine.dispose()


def run_one_hour(folder: Path) -> None:
    run(folder, hours=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_after_a_kill_at_any_write_the_outputs_are_the_same(tmp_path: Path) -> None:
    every = int(os.environ.get("SANMARU_CRASH_STRIDE", "3"))
    assert kill_at_every_boundary(make_project, run_one_hour, tmp_path, stride=every) > 40


def test_after_a_kill_of_one_process_the_others_go_on(tmp_path: Path) -> None:
    assert kill_at_every_boundary(make_project, run, tmp_path, whole=False, stride=23) > 60
