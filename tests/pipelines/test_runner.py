"""Whole pipelines with real processes: late data, revisions, crashes, two runners at once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.plan import Plan
from sanmaru.pipelines.runner import Runner, Summary

Make = Callable[..., tuple[Plan, Ledger]]
CHAIN = {
    "collect": {"call": "steps.py:collect", "poll_s": 3600},
    "clean": {"call": "steps.py:clean", "needs": "collect"},
    "window": {"call": "steps.py:window", "needs": [{"step": "clean", "first": -1}]},
}
CODE = """
def log(c):
    with (c.folder / "log.txt").open("a") as handle:
        handle.write(f"{c.step}@{c.interval[11:13]}\\n")

def collect(c):
    log(c)
    source = c.folder / f"source-{c.interval[11:13]}.txt"
    if not source.exists():
        from sanmaru.pipelines.context import NotReady
        raise NotReady("the station has not reported")
    raw = c.folder / f"raw-{c.interval[11:13]}.txt"
    raw.write_text(source.read_text())
    return {"raw": raw}

def clean(c):
    log(c)
    return {"value": int((c.folder / c.input("collect")["raw"]).read_text()) // 10}

def window(c):
    log(c)
    return {"sum": sum(outputs["value"] for outputs in c.inputs["clean"].values())}
"""


def hour(number: int) -> datetime:
    return datetime(2026, 11, 20, number, tzinfo=UTC)


def go(plan: Plan, ledger: Ledger, until: int, *, check: bool = False, workers: int | None = None) -> Summary:
    with Runner(plan, ledger, workers=workers) as runner:
        return runner.run(until=hour(until), check=check)


def due_now(ledger: Ledger) -> None:
    """Let the time pass until everything may be tried again."""
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("UPDATE sanmaru_ledger SET next_try = 0"))


def logged(folder: Path) -> list[str]:
    path = folder / "log.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def sources(folder: Path, **values: int) -> None:
    for name, value in values.items():
        (folder / f"source-{name[1:]}.txt").write_text(str(value))


def test_a_late_collection_delays_what_follows_and_skips_nothing(make: Make, tmp_path: Path) -> None:
    plan, ledger = make(CHAIN, CODE)
    sources(tmp_path, h00=10, h02=30)
    summary = go(plan, ledger, 3)
    # Hour 1 is late: hour 2 is collected and cleaned, its window of two hours waits.
    assert logged(tmp_path) == ["collect@00", "clean@00", "window@00", "collect@01", "collect@02", "clean@02"]
    assert summary.blocked["collect@2026-11-20T01:00Z"] == "the station has not reported"
    assert summary.blocked["window@2026-11-20T02:00Z"] == "waits for clean of 2026-11-20T01:00Z"
    sources(tmp_path, h01=20)
    due_now(ledger)
    assert go(plan, ledger, 3).blocked == {}
    assert logged(tmp_path) == ["collect@01", "clean@01", "window@01", "window@02"]
    sums = {e.start[11:13]: e.outputs["sum"] for e in ledger.entries(steps=["window"])}
    assert sums == {"00": 1, "01": 3, "02": 5}
    assert go(plan, ledger, 3) == Summary()  # a re-run of what is done costs nothing
    assert logged(tmp_path) == []


def test_a_step_without_data_is_asked_once_a_run_however_short_its_wait(make: Make, tmp_path: Path) -> None:
    plan, ledger = make({**CHAIN, "collect": {**CHAIN["collect"], "poll_s": 0.001}}, CODE)
    sources(tmp_path, h00=10)
    for _ in range(2):
        summary = go(plan, ledger, 2)
        assert summary.blocked["collect@2026-11-20T01:00Z"] == "the station has not reported"
        assert summary.next_try is not None
        assert logged(tmp_path).count("collect@01") == 1


def test_a_revision_does_again_exactly_what_depends_on_it(make: Make, tmp_path: Path) -> None:
    plan, ledger = make(CHAIN, CODE)
    sources(tmp_path, h00=10, h01=20, h02=30)
    go(plan, ledger, 3)
    logged(tmp_path)
    sources(tmp_path, h01=25)  # cleaned to the same 2
    ledger.ask_again(["collect"], ["2026-11-20T01:00Z"], "revision", failed_only=False)
    go(plan, ledger, 3)
    assert logged(tmp_path) == ["collect@01", "clean@01"]
    sources(tmp_path, h01=90)
    ledger.ask_again(["collect"], ["2026-11-20T01:00Z"], "revision", failed_only=False)
    go(plan, ledger, 3)
    assert logged(tmp_path) == ["collect@01", "clean@01", "window@01", "window@02"]
    assert ledger.entries(steps=["window"], starts=["2026-11-20T02:00Z"])[0].outputs == {"sum": 12}


def test_changed_code_or_settings_are_noticed_when_asked(make: Make, tmp_path: Path) -> None:
    plan, ledger = make(CHAIN, CODE)
    sources(tmp_path, h00=10, h01=20)
    go(plan, ledger, 2)
    logged(tmp_path)
    assert go(plan, ledger, 2, check=True) == Summary()
    plan, _ = make(CHAIN, CODE.replace("// 10", "// 5"))
    go(plan, ledger, 2, check=True)
    assert logged(tmp_path) == ["clean@00", "window@00", "clean@01", "window@01"]
    settings = {**CHAIN, "window": {**CHAIN["window"], "with": {"unit": "ug"}}}
    plan, _ = make(settings, CODE.replace("// 10", "// 5"))
    go(plan, ledger, 2, check=True)
    assert logged(tmp_path) == ["window@00", "window@01"]


def test_commands_say_how_it_went_by_their_status(make: Make, tmp_path: Path) -> None:
    made = json.dumps({"out": "./out.txt", "n": 7})
    steps = {
        "ask": {"command": 'echo "$SANMARU_INTERVAL_START" >> seen; test -e there || { echo not yet; exit 75; }',
                "poll_s": 3600},
        "look": {"command": "echo nothing came >&2; exit 99", "needs": "ask"},
        "after": {"command": "touch never", "needs": "look"},
        "file": {"command": "echo 7 > out.txt; echo '{OUT}' > $SANMARU_OUTPUTS".replace("{OUT}", made), "needs": "ask"},
        "broken": {"command": "echo the disk is full >&2; exit 3", "retries": 1, "retry_wait_s": 0, "needs": "ask"},
    }  # fmt: skip
    plan, ledger = make(steps)
    assert go(plan, ledger, 1).blocked["ask@2026-11-20T00:00Z"] == "not yet"
    (tmp_path / "there").touch()
    due_now(ledger)
    summary = go(plan, ledger, 1)
    assert (summary.done, summary.nothing, summary.failed) == (2, 2, 2)
    assert summary.blocked == {
        "broken@2026-11-20T00:00Z": "given up: the command ended with status 3: the disk is full"
    }
    assert (tmp_path / "seen").read_text() == "2026-11-20T00:00:00+00:00\n" * 2
    assert not (tmp_path / "never").exists()
    states = {entry.step: entry for entry in ledger.entries()}
    assert states["look"].reason == "nothing came"
    assert states["file"].outputs == {"n": 7, "out": "out.txt"}


def test_errors_crashes_and_overdue_steps_are_failures_with_reasons(make: Make) -> None:
    code = """
def error(c): return 1 / 0
def crash(c):
    import os; os._exit(9)
def slow(c):
    import time; time.sleep(60)
def wrong(c): return [1]
def absent(c): return {"file": Path("nowhere.txt")}
def fine(c): return {"n": c.settings["n"], "attempt": c.attempt}
"""
    steps = {name: {"call": f"steps.py:{name}", "retries": 0} for name in ("error", "crash", "slow", "wrong", "absent")}
    steps["slow"]["timeout_s"] = 0.3
    steps["gone"] = {"call": "steps.py:gone", "retries": 0}
    steps["fine"] = {"call": "steps.py:fine", "with": {"n": 3}}
    plan, ledger = make(steps, code)
    summary = go(plan, ledger, 1)
    assert (summary.done, summary.failed) == (1, 6)
    reasons = {entry.step: entry.reason for entry in ledger.entries()}
    assert reasons["error"].startswith("ZeroDivisionError: division by zero (steps.py:")
    assert reasons["crash"] == "the step's process ended with status 9"
    assert reasons["slow"] == "the step took longer than 0.3 s"
    assert "a mapping of names to files or plain values, got list" in reasons["wrong"]
    assert "there is no such file" in reasons["absent"]
    assert "has no function 'gone'" in reasons["gone"]
    assert next(e for e in ledger.entries() if e.step == "fine").outputs == {"n": 3, "attempt": 1}


def test_several_workers_and_runners_do_every_step_once(make: Make, tmp_path: Path) -> None:
    plan, ledger = make(CHAIN, CODE)
    sources(tmp_path, **{f"h{number:02d}": number * 10 for number in range(8)})
    write_project(tmp_path)
    others = [command(tmp_path, "run", "--to", "2026-11-20T08:00") for _ in range(2)]
    go(plan, ledger, 8, workers=2)
    for other in others:
        told = other.communicate(timeout=60)
        assert other.returncode == 0, told
    go(plan, ledger, 8)
    assert Counter(logged(tmp_path)) == {f"{step}@{n:02d}": 1 for step in CHAIN for n in range(8)}
    assert {entry.state for entry in ledger.entries()} == {"done"}


def test_what_a_killed_runner_held_is_taken_over_after_its_lease(make: Make, tmp_path: Path) -> None:
    code = (
        CODE
        + """
def hang(c):
    log(c)
    import time
    if not (c.folder / "released").exists():
        time.sleep(60)
    return {"n": 1}
"""
    )
    steps = {**CHAIN, "hang": {"call": "steps.py:hang", "needs": "clean"}}
    plan, ledger = make(steps, code)
    sources(tmp_path, h00=10)
    write_project(tmp_path, steps)
    runner = command(tmp_path, "run", "--to", "2026-11-20T01:00")
    deadline = time.monotonic() + 30
    while "hang@00" not in ((tmp_path / "log.txt").read_text() if (tmp_path / "log.txt").exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    group = os.getpgid(children(runner.pid)[0])
    runner.send_signal(signal.SIGKILL)
    runner.wait(10)
    for stream in (runner.stdout, runner.stderr):  # the orphan holds their other ends
        assert stream is not None
        stream.close()
    held = next(e for e in ledger.entries() if e.step == "hang")
    assert held.state == "running"
    (tmp_path / "released").touch()
    while (summary := go(plan, ledger, 1)).blocked:  # until its lease of a second runs out
        assert "is at it" in summary.blocked["hang@2026-11-20T00:00Z"]
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)  # the orphan, which would sleep on
    assert [row["state"] for row in ledger.attempts("hang", "2026-11-20T00:00Z")] == ["lost", "done"]
    done = Counter(logged(tmp_path))
    assert (done["hang@00"], done["collect@00"]) == (2, 1)


def test_the_commands_tell_people_and_scripts(make: Make, tmp_path: Path) -> None:
    make(CHAIN, CODE)
    sources(tmp_path, h00=10)
    broken = {**CHAIN, "clean": {**CHAIN["clean"], "call": "steps.py:nowhere", "retries": 0}}
    write_project(tmp_path, broken)
    first = command(tmp_path, "backfill", "--from", "2026-11-20", "--to", "2026-11-20T02:00", "--json")
    out, _ = first.communicate(timeout=60)
    assert first.returncode == 1  # something was given up
    told = json.loads(out)
    assert (told["done"], told["failed"]) == (1, 1)
    assert "has no function 'nowhere'" in told["blocked"]["clean@2026-11-20T00:00Z"]
    status = command(tmp_path, "status", "--json")
    found = json.loads(status.communicate(timeout=60)[0])
    assert found["steps"]["clean"] == {"failed": 1, "waiting": 1}
    write_project(tmp_path, CHAIN)
    assert "1 step will run again" in command(tmp_path, "retry").communicate(timeout=60)[0]
    last = command(tmp_path, "run", "--to", "2026-11-20T01:00")
    assert "2 done" in last.communicate(timeout=60)[0]
    wrong = command(tmp_path, "retry", "claen")
    assert "there is no step 'claen'. Did you mean 'clean'?" in wrong.communicate(timeout=60)[1]


def write_project(folder: Path, steps: dict[str, object] = CHAIN) -> None:
    pipeline = {"every": "1h", "start": "2026-11-20", "lease_s": 1, "steps": steps}
    content = {"name": "air", "task": "tabular", "data": {"train": "t.csv", "target": "y"}, "pipeline": pipeline}
    (folder / "sanmaru.yaml").write_text(json.dumps(content))


def command(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "pipeline", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def children(pid: int) -> list[int]:
    import psutil

    found = []
    for child in psutil.Process(pid).children():
        if "spawn_main" in " ".join(child.cmdline()):
            found.append(child.pid)
    assert found
    return found


@pytest.fixture(autouse=True)
def _fresh_steps() -> None:
    sys.modules.pop("steps", None)
