"""Doing one step in a process of its own, so that it can be timed out, and may crash, without its runner."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sanmaru.errors import UserError
from sanmaru.pipelines.context import NothingNew, NotReady, StepContext
from sanmaru.pipelines.functions import find_function
from sanmaru.pipelines.logs import printed_to

START_METHOD = "spawn"
"""Of worker processes: they share nothing with the runner, whose threads and connections a fork would copy."""
NOT_READY, NOTHING_NEW = 75, 99
"""Exit statuses of commands: the usual "try again later", and the one that Airflow's shell operator takes as a skip."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step to be done: the context and how."""

    context: StepContext
    call: str | None
    command: str | None
    log: Path | None = None
    """File for what it prints."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How it went."""

    state: str
    """`done`, `nothing`, `waiting` or `failed`."""
    outputs: Mapping[str, Any]
    outputs_hash: str = ""
    reason: str = ""
    seconds: float = 0.0


def perform(task: Task) -> Result:
    """Do a step here and say how it went; its exceptions become a `failed` result."""
    began = time.perf_counter()
    try:
        made = _called(task) if task.call is not None else _commanded(task)
        outputs, digest = recorded(made, task.context.folder)
        result = Result(state="done", outputs=outputs, outputs_hash=digest)
    except NotReady as why:
        result = Result(state="waiting", outputs={}, reason=str(why) or "its data is not there yet")
    except NothingNew as why:
        result = Result(state="nothing", outputs={}, outputs_hash=_digest({}), reason=str(why) or "nothing new")
    except UserError as error:
        result = Result(state="failed", outputs={}, reason=str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        traceback.print_exc()
        result = Result(state="failed", outputs={}, reason=f"{type(error).__name__}: {error} ({where})")
    return replace(result, seconds=round(time.perf_counter() - began, 4))


def recorded(made: Any, folder: Path) -> tuple[dict[str, Any], str]:
    """Turn what a step returned into plain values for the ledger, and the hash of their content.

    Raises:
        UserError: when it is no mapping of names to paths of files or plain values, or a file is absent.
    """
    if made is None:
        made = {}
    if not isinstance(made, Mapping) or not all(isinstance(name, str) for name in made):
        raise UserError(f"a step returns a mapping of names to files or plain values, got {type(made).__name__}")
    outputs: dict[str, Any] = {}
    content: dict[str, Any] = {}
    for name, value in made.items():
        if isinstance(value, os.PathLike):
            path = Path(value)
            full = path if path.is_absolute() else folder / path
            if not full.is_file():
                raise UserError(f"the step names an output {name!r} at {path}, but there is no such file")
            with full.open("rb") as handle:
                content[name] = "sha256:" + hashlib.file_digest(handle, "sha256").hexdigest()
            outputs[name] = str(full.relative_to(folder) if full.is_relative_to(folder) else full)
        else:
            outputs[name] = content[name] = value
    try:
        return outputs, _digest(content)
    except (TypeError, ValueError) as error:
        raise UserError(f"a step's outputs should be files or plain values (as in JSON): {error}") from None


def _called(task: Task) -> Any:
    assert task.call is not None
    return find_function(task.call, task.context.folder)(task.context)


def _commanded(task: Task) -> Any:
    assert task.command is not None
    context = task.context
    with tempfile.TemporaryDirectory(prefix="sanmaru-step-") as text:
        inputs, outputs = Path(text) / "inputs.json", Path(text) / "outputs.json"
        inputs.write_text(json.dumps(context.inputs), encoding="utf-8")
        environment = {
            "SANMARU_PIPELINE": context.pipeline,
            "SANMARU_STEP": context.step,
            "SANMARU_INTERVAL_START": context.start.astimezone(UTC).isoformat(),
            "SANMARU_INTERVAL_END": context.end.astimezone(UTC).isoformat(),
            "SANMARU_INPUTS": str(inputs),
            "SANMARU_OUTPUTS": str(outputs),
            "SANMARU_SETTINGS": json.dumps(context.settings),
        }
        status, told = _shell(task.command, context.folder, {**os.environ, **environment})
        if status == NOT_READY:
            raise NotReady(told)
        if status == NOTHING_NEW:
            raise NothingNew(told)
        if status:
            raise UserError(f"the command ended with status {status}: {told}")
        if not outputs.is_file():
            return {}
        try:
            made = json.loads(outputs.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"what the command wrote to SANMARU_OUTPUTS is no JSON: {error}") from None
        if not isinstance(made, dict):
            raise UserError("what the command wrote to SANMARU_OUTPUTS should be an object of names and values")
        # A value that names a file of the project stands for its content.
        files = {name: Path(value) for name, value in made.items() if isinstance(value, str) and value.startswith("./")}
        return {**made, **files}


def _shell(command: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command, passing on what it prints as it comes; return its status and the last line it printed."""
    last = ""
    with subprocess.Popen(
        ["/bin/sh", "-c", command], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
    return process.returncode, last


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Worker:
    """A process that does one step after another; it is started when first needed and again after a crash."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self.deadline = 0.0
        """`time.monotonic()` at which the step under way is cut off."""

    @property
    def pipe(self) -> Connection:
        """Readable when the step under way has ended."""
        assert self._pipe is not None
        return self._pipe

    def begin(self, task: Task, timeout_s: float) -> None:
        """Start a step."""
        if self._process is None or not self._process.is_alive():
            context: Any = multiprocessing.get_context(START_METHOD)
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(other,), daemon=False)
            self._process.start()
            other.close()
        self.deadline = time.monotonic() + timeout_s
        self.pipe.send(task)

    def result(self, timeout_s: float) -> Result | None:
        """Return how the step went, if it has ended or is overdue; None while it is under way."""
        if self.pipe.poll():
            try:
                found: Result = self.pipe.recv()
                return found
            except (EOFError, OSError):
                status = self._ended()
                return Result(state="failed", outputs={}, reason=f"the step's process ended with status {status}")
        if time.monotonic() > self.deadline:
            self.stop()
            return Result(state="failed", outputs={}, reason=f"the step took longer than {timeout_s:g} s")
        return None

    def stop(self) -> None:
        """End the process and whatever it started."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError, TypeError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.pid is not None:
            self._process.kill()
            self._ended()

    def _ended(self) -> int | None:
        self._process.join(10)
        status: int | None = self._process.exitcode
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe = None, None
        return status


def _serve(pipe: Connection) -> None:
    """What the process does. Ctrl-C is the runner's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError):
        os.setsid()  # so that a step's own children end with it
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        with printed_to(task.log):
            result = perform(task)
        try:
            pipe.send(result)
        except OSError:
            return


def moment(seconds: float) -> datetime:
    """Return a time of the ledger as a UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)
