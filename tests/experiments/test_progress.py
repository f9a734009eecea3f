from __future__ import annotations

import time
from pathlib import Path

from sanmaru.experiments.progress import Event, followed
from sanmaru.experiments.runs import Run
from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext


def context(run: Run, fold: int) -> FitContext:
    folder = run.fold_folder(fold)
    folder.mkdir(parents=True, exist_ok=True)
    return FitContext(folder=folder, cache=run.folder, seed=0, metric=find_metric("rmse"))


def test_events_arrive_while_a_fold_is_fitted(tmp_path: Path) -> None:
    run, seen = Run(tmp_path), list[Event]()
    with followed(run, range(2), seen.append):
        context(run, 1).progress(1, 10, loss=0.5)
        deadline = time.monotonic() + 5
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [(event.kind, event.fold, event.facts["done"], event.facts["loss"]) for event in seen] == [
            ("progress", 1, 1, 0.5)
        ]


def test_the_last_events_are_told_before_it_ends(tmp_path: Path) -> None:
    run, seen = Run(tmp_path), list[Event]()
    with followed(run, range(1), seen.append):
        fit = context(run, 0)
        for step in range(1, 4):
            fit.log(step, rmse=1 / step)
        fit.note("the end")
    assert [(event.kind, event.facts.get("step")) for event in seen] == [
        ("metrics", 1),
        ("metrics", 2),
        ("metrics", 3),
        ("note", None),
    ]


def test_what_was_told_before_a_resume_is_passed_over(tmp_path: Path) -> None:
    run, seen = Run(tmp_path), list[Event]()
    context(run, 0).log(1, rmse=2.0)
    with followed(run, range(1), seen.append):
        context(run, 0).log(2, rmse=1.0)
    assert [event.facts["step"] for event in seen] == [2]
