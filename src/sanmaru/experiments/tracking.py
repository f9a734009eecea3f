"""The mirror of a run in MLflow: parameters, scores and learning curves, for those who look there.

The run's folder stays the authority; nothing is read back. The mirror is made by a process of its own at low
priority: importing MLflow takes two seconds and its first migration three, which then pass beside the folds, and
neither its imports nor its logging nor its failure can touch the training. One such process serves all runs of the
process that started it, and ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sanmaru.experiments.environment import flat
from sanmaru.experiments.events import FILE_NAME, learning_curve
from sanmaru.experiments.runs import Run
from sanmaru.files import read_json

RUN_TAG = "sanmaru.run"
BATCH = 1000
"""Most metrics that MLflow takes in one call; parameters and tags: 100."""
LONGEST = 500
"""Characters of a parameter or tag; older MLflow servers refuse longer ones."""
TIMEOUT_S = 120.0


class Mirror:
    """The mirror of one run, begun while the run trains and told when it is done."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._server = _Server.current()
        self._server.tell("begin", run)

    def finish(self) -> str | None:
        """Write the run as its folder now stands; return what went wrong in one line, or None."""
        self._server.tell("finish", self._run)
        return self._server.answer()

    def fail(self) -> None:
        """Have the run marked as failed there, without waiting; a resumed run goes on with the same MLflow run."""
        self._server.tell("fail", self._run)


class _Server:
    """The process that mirrors: a line of JSON with `do` and `folder` in, a line with `problem` out."""

    _current: _Server | None = None
    _lock = threading.RLock()

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sanmaru.experiments.tracking"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **quiet_environment()},
            start_new_session=True,  # Ctrl-C is for the training; this ends when its stdin does
        )
        self._unanswered = 0
        # Left to itself at the end, it does what it was told and goes.
        atexit.register(self._process.stdin.close)  # type: ignore[union-attr]

    @classmethod
    def current(cls) -> _Server:
        """Return the server of this process, started anew where it has ended."""
        with cls._lock:
            if cls._current is None or cls._current._process.poll() is not None:
                cls._current = cls()
            return cls._current

    def tell(self, do: str, run: Run) -> None:
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError):  # that it has ended is told by `answer`
            self._process.stdin.write(json.dumps({"do": do, "folder": str(run.folder)}).encode() + b"\n")
            self._unanswered += 1

    def answer(self) -> str | None:
        """Wait until everything told is done; return the last problem."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + TIMEOUT_S
        problem: str | None = None
        with self._lock:
            while self._unanswered:
                if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    self.stop()
                    return f"not done within {TIMEOUT_S:.0f} s"
                line = self._process.stdout.readline()
                if not line:
                    break
                self._unanswered -= 1
                problem = json.loads(line)["problem"]
            if self._unanswered:
                status = self._process.wait()
                self.stop()
                return f"its process ended with status {status}"
        return problem

    def stop(self) -> None:
        """Kill the process; the next mirror starts another."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def mirror(run: Run) -> None:
    """Write a run into MLflow as its folder now stands, in place of what an earlier attempt wrote."""
    with _opened(run) as (client, mlflow_id):
        _write(client, mlflow_id, run)


def quiet_environment() -> dict[str, str]:
    """Return what keeps MLflow from reporting to its makers and from talking of what is usual."""
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "MLFLOW_CONFIGURE_LOGGING": "false",
    }


def client(uri: str) -> Any:
    """Return an `MlflowClient` of a tracking store, without telemetry and without notices of migrations."""
    import logging

    os.environ.update(quiet_environment())
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextlib.contextmanager
def _opened(run: Run) -> Iterator[tuple[Any, str]]:
    """Yield the client and the id of the run's mirror, made where there is none or only a broken one."""
    project = run.project
    store = client(project.tracking_uri)
    experiment = store.get_experiment_by_name(project.name)
    if experiment is None:
        location = (project.runs_folder / ".mlflow").as_uri()  # named, so that MLflow makes no `mlruns` where we stand
        experiment_id = store.create_experiment(project.name, artifact_location=location)
    else:
        experiment_id = experiment.experiment_id
    for old in store.search_runs([experiment_id], f"tags.`{RUN_TAG}` = '{run.id}'"):
        if old.data.metrics:  # an attempt that was cut short, or a run mirrored again
            store.delete_run(old.info.run_id)
        else:
            store.update_run(old.info.run_id, status="RUNNING")
            yield store, old.info.run_id
            return
    created = store.create_run(
        experiment_id,
        start_time=int(time.time() * 1000),
        run_name=run.id,
        tags={RUN_TAG: run.id, "sanmaru.folder": str(run.folder), "sanmaru.kind": str(run.facts["kind"])},
    )
    yield store, created.info.run_id


def _write(store: Any, mlflow_id: str, run: Run) -> None:
    from mlflow.entities import Metric, Param, RunTag

    params = [Param(key[:250], str(value)[:LONGEST]) for key, value in parameters(run).items()]
    tags = [RunTag(key, str(value)[:LONGEST]) for key, value in tags_of(run).items()]
    points = [Metric(*point) for point in metrics(run)]
    for start in range(0, max(len(params), len(tags)), 100):
        store.log_batch(mlflow_id, params=params[start : start + 100], tags=tags[start : start + 100])
    for start in range(0, len(points), BATCH):
        store.log_batch(mlflow_id, metrics=points[start : start + BATCH])
    status = {"done": "FINISHED", "failed": "FAILED"}.get(run.status, "RUNNING")
    store.set_terminated(mlflow_id, status=status)


def parameters(run: Run) -> dict[str, Any]:
    """Return the fields of the run's project file that a comparison looks at, by dotted key."""
    left_out = ("name", "problem", "goal", "constraints", "baseline", "storage")
    values = run.project.to_dict()
    return flat({key: value for key, value in values.items() if key not in left_out})


def tags_of(run: Run) -> dict[str, Any]:
    """Return what describes the run beside its parameters."""
    facts = run.facts
    names = ("fingerprint", "rows", "quarantined", "git_commit", "reason")
    environment = {f"environment.{name}": value for name, value in facts.get("environment", {}).items()}
    return {f"sanmaru.{name}": facts[name] for name in names if facts.get(name) is not None} | environment


def metrics(run: Run) -> list[tuple[str, float, int, int]]:
    """Return (name, value, milliseconds since 1970, step): scores, scores per fold (step = fold), learning curves.

    MLflow takes no missing or infinite numbers into every store, so these are left out.
    """
    now = int(time.time() * 1000)
    points: list[tuple[str, float, int, int]] = []
    if (run.folder / "scores.json").is_file():
        score = run.score()
        points += [(name, value, now, 0) for name, value in score.all.items()]
        points += [(f"{score.metric}_low", score.low, now, 0), (f"{score.metric}_high", score.high, now, 0)]
        for fold, values in enumerate(score.folds):
            points += [(f"fold/{name}", value, now, fold) for name, value in values.items()]
    for folder in run.fold_folders():
        done = folder / "done.json"
        if done.is_file():
            seconds = read_json(done)["seconds"]
            points += [(f"fold/seconds_{name}", value, now, int(folder.name)) for name, value in seconds.items()]
        for point in learning_curve(folder / FILE_NAME):
            step = point.pop("step")
            points += [(f"fold_{folder.name}/{name}", value, now, step) for name, value in point.items()]
    return [point for point in points if math.isfinite(point[1])]


def serve() -> None:
    """Do what the lines on stdin say, until it ends (also because the training was killed)."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that a library prints gets between the answers
    with contextlib.suppress(OSError):
        os.nice(10)
    for line in sys.stdin:
        message, problem = json.loads(line), None
        try:
            with _opened(Run(Path(message["folder"]))) as (store, mlflow_id):
                match message["do"]:
                    case "finish":
                        _write(store, mlflow_id, Run(Path(message["folder"])))
                    case "fail":
                        store.set_terminated(mlflow_id, status="FAILED")
        except Exception as error:
            problem = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]
        answers.write(json.dumps({"problem": problem}) + "\n")
        answers.flush()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        serve()
