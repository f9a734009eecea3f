"""Runs killed at several moments and resumed end as undisturbed ones do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sanmaru import Project, Run, RunError, train
from sanmaru.experiments.events import learning_curve
from sanmaru.experiments.lock import locked

pytestmark = pytest.mark.usefixtures("without_mirror")

TREES = {"kind": "lightgbm", "trees": 1200, "learning_rate": 0.01}
NO_STOP = {"early_stopping": None}
COMMAND = [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "train"]


def killed_when(project: Project, moment: Callable[[Path], bool], *arguments: str) -> Run:
    """Start `sanmaru train`, send SIGKILL at the moment that `moment(run folder)` names, return the run."""
    process = subprocess.Popen(
        [*COMMAND, "--project", str(project.folder), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 60
    try:
        while True:
            assert time.monotonic() < deadline, "the moment never came"
            assert process.poll() is None, process.communicate()[0].decode()
            runs = Run.all(project)
            if runs and moment(runs[-1].folder):
                break
            time.sleep(0.001)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    return Run.all(project)[-1]


def same(resumed: Run, undisturbed: Run) -> None:
    assert resumed.status == "done"
    assert resumed.predictions().equals(undisturbed.predictions())
    assert resumed.score() == undisturbed.score()
    assert resumed.rows().equals(undisturbed.rows())
    assert (resumed.folder / "report.html").is_file()


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "before the folds are written": lambda run: (run / "rows.parquet").exists(),
    "during fold 0": lambda run: (run / "folds" / "0" / "events.jsonl").exists(),
    "between folds": lambda run: (run / "folds" / "0" / "done.json").exists(),
    "while fold 1 is kept": lambda run: (run / "folds" / "1" / "predictions.parquet").exists(),
    "while packaging": lambda run: any(run.glob(".package.*")),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The undisturbed run that all others are held against, trained once."""
    return []


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_equals_undisturbed(make_project: Any, undisturbed: list[Run], moment: str) -> None:
    if not undisturbed:
        undisturbed.append(train(make_project(model=TREES, train=NO_STOP, folder="undisturbed")))
    project = make_project(model=TREES, train=NO_STOP)
    run = killed_when(project, MOMENTS[moment])
    assert run.status == "running"
    before = {path: path.stat().st_mtime_ns for path in run.folder.glob("folds/*/done.json")}
    same(train(project, resume=run.id), undisturbed[0])
    assert all(path.stat().st_mtime_ns == at for path, at in before.items()), "finished folds are left as they are"


def test_killed_worker_processes_leave_nothing_that_writes(make_project: Any) -> None:
    import psutil

    whole = train(make_project(model=TREES, train=NO_STOP, folder="undisturbed"))
    project = make_project(model=TREES, train=NO_STOP)
    run = killed_when(project, MOMENTS["during fold 0"], "--cluster", "processes", "--workers", "2")
    resumed = train(project, resume=run.id, cluster="inline")
    same(resumed, whole)
    names = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not any(str(run.folder) in name and "tracking" not in name for name in names)


def test_pictures_go_on_from_the_checkpoint(make_project: Any, tmp_path: Path) -> None:
    from sanmaru.cli.demo_data import write_digits

    def pictures(folder: str) -> Project:
        project = make_project(
            folder=folder,
            task="image-classification",
            data={"train": "few.csv", "images": "images", "id": "id", "image": "file", "target": "digit"},
            split={"kind": "stratified", "folds": 2},
            model={"image_size": 8},
            train={"epochs": 6, "augment": ["rotate"]},
        )
        write_digits(project.folder)
        lines = (project.folder / "train.csv").read_text().splitlines(keepends=True)
        (project.folder / "few.csv").write_text("".join(lines[:301]))
        return project

    whole = train(pictures("undisturbed"))
    project = pictures("project")

    def second_epoch(run: Path) -> bool:
        events = run / "folds" / "0" / "events.jsonl"
        return events.exists() and '"step": 2' in events.read_text()

    run = killed_when(project, second_epoch)
    same(train(project, resume="last"), whole)
    events = run.folder / "folds" / "0" / "events.jsonl"
    assert "continued after epoch" in events.read_text()
    assert [point["step"] for point in learning_curve(events)] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_done_stays_as_it_is(make_project: Any) -> None:
    project = make_project()
    run = train(project)
    before = run.predictions(), run.score()
    again = train(project, resume=run.id)
    assert (again.predictions().equals(before[0]), again.score()) == (True, before[1])


def test_an_interrupted_run_says_so_and_goes_on(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sanmaru.tasks.tabular.linear import Linear

    fit, calls = Linear.fit, []

    def interrupted_at_the_second(self: Linear, *arguments: Any) -> None:
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        fit(self, *arguments)

    project = make_project()
    with monkeypatch.context() as patch:
        patch.setattr(Linear, "fit", interrupted_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            train(project)
        [run] = Run.all(project)
        assert (run.status, run.facts["reason"]) == ("failed", "interrupted")
        same(train(project, resume=run.id), train(make_project(folder="undisturbed")))
    assert len(calls) == 4 + 3, "the first fold is not fitted again"


def test_other_data_is_refused(make_project: Any) -> None:
    project = make_project()
    run = train(project)
    path = project.folder / "train.csv"
    path.write_text(path.read_text().replace("h000,0,", "h000,1,"))
    with pytest.raises(RunError, match=f"the data is not what run {run.id} was begun with"):
        train(project, resume=run.id)


def test_the_project_file_of_then_is_used(make_project: Any) -> None:
    project = make_project()
    run = train(project.with_overrides("seed=11"))
    shutil.rmtree(run.folder / "folds")
    resumed = train(make_project(seed=12), resume=run.id)
    assert resumed.project.file.seed == 11


HOLD = """
import sys, time
from pathlib import Path
from sanmaru.experiments.events import learning_curve
from sanmaru.experiments.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_dead_ones_lock_taken_over(make_project: Any) -> None:
    project = make_project()
    run = train(project)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(RunError, match=rf"is being worked on by process {holder.pid} on \S+\. Wait"):
            train(project, resume=run.id)
    finally:
        holder.kill()
        holder.communicate()
    assert (run.folder / "lock").is_file()
    train(project, resume=run.id)
    assert not (run.folder / "lock").exists()


def test_a_lock_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"pid": 7, "host": "elsewhere"}')
    with pytest.raises(RunError, match=r"process 7 on the machine elsewhere.*remove .*lock"), locked(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["lock"]
