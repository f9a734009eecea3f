"""`sanmaru pipeline step`: one step through the ledger, and an exit status that schedulers understand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = {
    "collect": {"command": "echo collected; test -e there || { echo not yet; exit 75; }", "retries": 0},
    "clean": {"command": "echo x >> clean.log", "needs": "collect"},
    "quiet": {"command": "exit 99", "needs": "collect"},
    "below": {"command": "touch never", "needs": "quiet"},
    "broken": {"command": "echo the disk is full; exit 3", "retries": 0},
    "window": {"command": "true", "needs": [{"step": "clean", "first": -1}]},
}
FIVE, SIX = "2026-11-20T05:00Z", "2026-11-20T06:00Z"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    pipeline = {"every": "1h", "start": FIVE, "steps": STEPS}
    content = {"name": "air", "task": "tabular", "data": {"train": "t.csv", "target": "y"}, "pipeline": pipeline}
    (tmp_path / "sanmaru.yaml").write_text(json.dumps(content))
    return tmp_path


def begin(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "pipeline", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def step(folder: Path, name: str, interval: str = FIVE) -> tuple[int, str]:
    """The exit status, and why."""
    process = begin(folder, "step", name, "--interval", interval, "--json")
    out, err = process.communicate(timeout=60)
    assert out, err
    told = json.loads(out)
    assert (told["step"], told["interval"]) == (name, interval[:14] + "00Z")
    return process.returncode, told["reason"]


def test_the_exit_status_says_how_it_went(project: Path) -> None:
    assert step(project, "clean") == (75, "waits for collect of 2026-11-20T05:00Z")
    assert step(project, "collect") == (75, "not yet")
    (project / "there").touch()
    assert step(project, "collect", "2026-11-20T05:40Z")[0] == 0  # the caller says when, not poll_s
    assert step(project, "collect") == (0, "it was complete before")
    assert step(project, "clean")[0] == 0
    assert step(project, "clean")[0] == 0
    assert (project / "clean.log").read_text() == "x\n"
    assert step(project, "quiet") == (99, "nothing new")
    assert step(project, "quiet") == (99, "it was complete before")
    assert step(project, "below") == (99, "its inputs have nothing new")
    assert not (project / "never").exists()
    for _ in range(2):  # given up by the ledger, asked for by the caller
        assert step(project, "broken") == (1, "the command ended with status 3: the disk is full")
    assert step(project, "window", SIX) == (75, "waits for clean of 2026-11-20T06:00Z")
    code, reason = step(project, "collect", "2999-01-01T00:00Z")
    assert code == 75
    assert "its interval is over, and may be looked at, in" in reason


def test_what_a_step_printed_is_passed_on_and_kept(project: Path) -> None:
    process = begin(project, "step", "broken", "--interval", FIVE)
    out, err = process.communicate(timeout=60)
    assert "the disk is full\n" in err
    assert out == "2026-11-20T05:00Z  broken: failed: the command ended with status 3: the disk is full\n"
    shown = begin(project, "status", "--log", "broken").communicate(timeout=60)[0]
    assert shown.endswith("logs/pipeline/broken/2026-11-20T05:00Z.1.log\nthe disk is full\n")
    none = begin(project, "status", "--log", "clean", "--interval", SIX).communicate(timeout=60)[0]
    assert none.startswith("nothing that clean of 2026-11-20T06:00Z printed lies in")


def test_of_two_that_are_called_at_once_one_does_it(project: Path) -> None:
    (project / "there").touch()
    assert step(project, "collect")[0] == 0
    callers = [begin(project, "step", "clean", "--interval", FIVE) for _ in range(3)]
    told = [caller.communicate(timeout=60) for caller in callers]
    assert {caller.returncode for caller in callers} <= {0, 75}, told
    assert 0 in {caller.returncode for caller in callers}
    assert (project / "clean.log").read_text() == "x\n"


def test_due_does_every_interval_that_can_be_done(project: Path) -> None:
    (project / "there").touch()
    for hour in (FIVE, SIX):
        assert step(project, "collect", hour)[0] == 0
    process = begin(project, "step", "clean", "--due", "--json")
    told = json.loads(process.communicate(timeout=60)[0])
    assert (process.returncode, told["state"]) == (0, "done")
    assert told["reason"].startswith("2 done, 0 with nothing new")
    again = begin(project, "step", "clean", "--due")
    assert again.communicate(timeout=60)[0].startswith("due  clean: nothing: 0 done")
    assert again.returncode == 99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["claen", "--interval", FIVE], "there is no step 'claen'. Did you mean 'clean'?"),
        (["clean"], "say which interval: --interval 2026-11-21T05:00Z, or --due"),
        (["clean", "--interval", "soon"], "'soon' is no date or time"),
        (["clean", "--interval", "2026-01-01"], "2026-01-01 lies before the pipeline's start, 2026-11-20T05:00Z"),
    ],
)
def test_what_cannot_be_asked_is_told(project: Path, words: list[str], message: str) -> None:
    process = begin(project, "step", *words)
    assert message in process.communicate(timeout=60)[1]
    assert process.returncode == 1
