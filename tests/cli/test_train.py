from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from sanmaru.cli import progress
from sanmaru.experiments.progress import Event

COMMAND = [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "train"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("project")
    lines = ["id,size,price", *(f"r{n},{n % 17},{3 * (n % 17) + n % 3}" for n in range(60)), "r60,5,"]
    (place / "train.csv").write_text("\n".join(lines) + "\n")
    content = {
        "name": "prices",
        "task": "tabular",
        "data": {"train": "train.csv", "id": "id", "target": "price"},
        "split": {"folds": 2},
        "model": {"kind": "linear"},
        "problem_type": "regression",
    }
    (place / "sanmaru.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return place


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], check=False, cwd=folder, capture_output=True, text=True, timeout=120)


def test_without_a_terminal_it_prints_plain_lines(folder: Path) -> None:
    result = command(folder)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    run = lines[0].split()[1]
    assert lines[0] == f"run {run}  60 rows, 2 folds, rmse"
    assert lines.pop(1).startswith("9 rows equal an earlier one in every column but the id")
    assert re.fullmatch(r"1 row could not be used \(1 missing-target\): \S+/quarantine.csv", lines[1])
    assert re.fullmatch(r"fold 0  30 rows  rmse 0\.\d+  [\d.]+ s", lines[2])
    assert re.fullmatch(r"rmse 0\.\d+  95 % interval 0\.\d+ to 0\.\d+", lines[4])
    assert lines[5].split() == ["run", f"{folder}/runs/{run}"]
    assert lines[6].split() == ["report", f"{folder}/runs/{run}/report.html"]
    assert f"sanmaru predict {run}" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    made = {path.name for path in folder.iterdir()} - {"train.csv", "sanmaru.yaml"}
    assert made == {"mlflow.db", "runs"}


def test_on_a_terminal_the_same_lines_stay(folder: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "split.folds=3"], cwd=folder, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        written += part
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    for fold in range(3):
        assert re.search(rf"fold {fold}  20 rows  rmse", text)
    assert "95 % interval" in text


def test_a_wrong_key_names_the_nearest(folder: Path) -> None:
    result = command(folder, "train.learning_rat=0.1")
    assert result.returncode == 1
    assert "unknown key 'train.learning_rat'. Did you mean 'learning_rate'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_overrides_do_not_go_with_resume(folder: Path) -> None:
    result = command(folder, "--resume", "last", "seed=3")
    assert result.returncode == 1
    assert "'seed=3' cannot be given with --resume" in result.stderr


def test_an_unknown_cluster_is_one_line(folder: Path) -> None:
    result = command(folder, "--cluster", "slurm")
    assert result.returncode == 1
    assert "cluster.kind" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fold_line_says_what_it_knows() -> None:
    facts = {
        "fold": 2,
        "rows": 1200,
        "metric": "accuracy",
        "scores": {"accuracy": 0.91234},
        "best_step": 7,
        "seconds": {"total": 3.21},
        "honest_fraction": 0.957,
    }
    line = "fold 2  1,200 rows  accuracy 0.9123  best step 7  3.2 s  honest fraction 0.96"
    assert progress.fold_line(facts) == line


def test_bars_follow_the_epochs_and_go_when_the_fold_is_done() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress._bars(console) as bars:
        moving = progress._Bars(bars)
        moving.progress(0, {"done": 3, "total": 10, "unit": "epoch", "train_loss": 0.5, "at_s": 1.0})
        [task] = bars.tasks
        assert (task.description, task.completed, task.total) == ("fold 0", 3, 10)
        assert task.fields["shown"] == "epoch 3/10  train_loss 0.5"
        moving.finished(0)
        assert bars.tasks == []


def test_without_a_terminal_epochs_are_told_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.shown() as watch:
        for second in range(25):
            now[0] = float(second)
            watch(Event(kind="progress", fold=1, facts={"done": second, "total": 30, "unit": "epoch", "at_s": 0.0}))
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["fold 1: epoch 10/30", "fold 1: epoch 20/30"]
    assert captured.out == ""


@pytest.mark.parametrize(
    ("value", "text"), [(0.98126, "0.9813"), (48286.4, "48,286"), (None, "-"), (3, "3"), (float("nan"), "nan")]
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert progress.number(value) == text


def test_ctrl_c_ends_it_and_says_how_to_go_on(folder: Path) -> None:
    slow = ["model.kind=lightgbm", "model.trees=200000", "model.min_rows_per_leaf=2", "train.early_stopping=null"]
    process = subprocess.Popen([*COMMAND, *slow], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run = process.stdout.readline().split()[1]
    events = folder / "runs" / run / "folds" / "0" / "events.jsonl"
    deadline = time.monotonic() + 30
    while not events.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert f"run {run} interrupted. Go on with it: sanmaru train --resume {run}" in errors
    assert "Traceback" not in errors
