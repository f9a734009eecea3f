"""Kills a pipeline at every write boundary, runs it again, and compares with an undisturbed run.

A boundary is the moment before a file is opened for writing, flushed to disk, renamed or removed, before a folder is
made or removed, and before a statement that changes an SQLite database, its COMMIT included. The moment before the next
boundary is the moment after this one, so every state that a crash can leave is met. Writes that happen outside Python
(a Parquet file written by a library) are met at the flush and the renaming that follow.

Used by every step's own test:

    def test_forecast_survives_crashes(tmp_path):
        assert kill_at_every_boundary(make_project, run, tmp_path) > 20

`make_project` and `run` take a folder, are functions of a module (a process of its own calls them), and leave nothing
in it that depends on the time or the folder's name.
"""

from __future__ import annotations

import fnmatch
import hashlib
import multiprocessing
import os
import signal
import sqlite3
import sqlite3.dbapi2
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

IGNORED = ("*.part", "*.part/*", "*.old", "pipeline.db*", "logs/*", "sanmaru.yaml", "*.pyc", "mlflow.db*")
"""Files that need not be equal: what was left half-written under a name nobody reads, the ledger itself (compared by
its rows), logs."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "COMMIT", "REPLACE")

Act = Callable[[Path], None]


def kill_at_every_boundary(
    make_project: Act,
    run: Act,
    folder: Path,
    *,
    whole: bool = True,
    stride: int = 1,
    ignored: Sequence[str] = IGNORED,
    preload: Sequence[str] = (),
    after_kill: Act | None = None,
) -> int:
    """Return how many boundaries there are, having been killed at each (or each `stride`-th) of them.

    Args:
        make_project: Writes the project into a folder.
        run: Runs its pipeline once; called again until nothing is left to do.
        folder: An empty one for the copies.
        whole: Kill runner and workers together, as when the machine goes down; else only the process at the boundary.
        stride: Kill at every so many boundaries only, for slow pipelines.
        ignored: Patterns of files that are not compared.
        preload: Modules that every process starts with, such as the heavy ones that the steps import.
        after_kill: Called before the second run; lets leases run out where absent.

    Raises:
        AssertionError: when a second run does not end, or what it leaves differs.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["sanmaru.pipelines.runner", "sanmaru.database", "sqlalchemy", __name__, *preload])
    make_project(undisturbed := _fresh(folder / "undisturbed"))
    assert _child(processes, run, undisturbed, None, whole) == 0
    expected = state_of(undisturbed, ignored)
    assert expected["files"] or expected["ledger"], "an undisturbed run should leave something to compare"
    at = 1
    while True:
        make_project(killed := _fresh(folder / f"killed-{at}"))
        status = _child(processes, run, killed, at, whole)
        was_killed = (killed / ".killed").exists()
        (killed / ".killed").unlink(missing_ok=True)
        if not was_killed:
            assert status == 0
            assert state_of(killed, ignored) == expected
            return at - 1
        for _ in range(5):
            (after_kill or let_leases_run_out)(killed)
            assert _child(processes, run, killed, None, whole) == 0, f"the run after a kill at boundary {at} failed"
            if state_of(killed, ignored) == expected:
                break
        found = state_of(killed, ignored)
        assert found == expected, f"killed at boundary {at}: {_difference(expected, found)}"
        repeated = [place for place, times in completions(killed).items() if times > 1]
        assert not repeated, f"killed at boundary {at}, and completed more than once: {repeated}"
        at += stride


def state_of(folder: Path, ignored: Sequence[str] = IGNORED) -> dict[str, Any]:
    """Return the content of every file (hashed) and how every step stands, without times and attempts."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and "__pycache__" not in name and not any(fnmatch.fnmatch(name, one) for one in ignored):
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    columns = "step, start, state, outputs, outputs_hash, done_key, inputs"
    return {"files": files, "ledger": _rows(folder, f"SELECT {columns} FROM sanmaru_ledger ORDER BY step, start")}


def completions(folder: Path) -> Counter[tuple[str, str]]:
    """Return how often each step of each interval was completed."""
    rows = _rows(folder, "SELECT step, start FROM sanmaru_attempts WHERE state IN ('done', 'nothing')")
    return Counter((step, start) for step, start in rows)


def let_leases_run_out(folder: Path) -> None:
    """Let as much time pass for the ledger as is needed to take everything over."""
    if (folder / "pipeline.db").exists():
        with sqlite3.connect(folder / "pipeline.db") as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if "sanmaru_ledger" in tables:
                database.execute("UPDATE sanmaru_ledger SET lease_until = 0, next_try = 0")
        database.close()


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _child(processes: Any, run: Act, folder: Path, at: int | None, whole: bool) -> int | None:
    process = processes.Process(target=_run, args=(run, folder, at, whole))
    process.start()
    process.join(240)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"the run in {folder.name} did not end")
    status: int | None = process.exitcode
    return status


def _run(run: Act, folder: Path, at: int | None, whole: bool) -> None:
    import sanmaru.pipelines.work

    sanmaru.pipelines.work.START_METHOD = "fork"  # so that workers are watched too, and start quickly
    os.chdir(folder)
    if at is not None:
        _watch(folder, at, whole)
    run(folder)


def _watch(folder: Path, at: int, whole: bool) -> None:
    """Count the boundaries of this process and of those it forks, and kill at the `at`-th."""
    processes = multiprocessing.get_context("fork")
    count, pids = processes.Value("q", 0), processes.Array("q", 64)
    pids[0] = os.getpid()
    inside = False

    def enter() -> None:
        with pids.get_lock():
            pids[list(pids).index(0)] = os.getpid()

    os.register_at_fork(after_in_child=enter)

    def boundary() -> None:
        nonlocal inside
        if inside:
            return
        with count.get_lock():
            count.value += 1
            reached = count.value == at
        if not reached:
            return
        inside = True
        os.close(os.open(folder / ".killed", os.O_CREAT | os.O_WRONLY))
        for pid in [one for one in list(pids) if one and one != os.getpid()] if whole else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        os.kill(os.getpid(), signal.SIGKILL)

    def traced(statement: str) -> None:
        if statement.lstrip().upper().startswith(_CHANGES):
            boundary()

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes | os.PathLike) and (flags or 0) & _WRITES and _within(path, folder):
                boundary()
        elif event in _EVENTS and any(
            isinstance(one, str | bytes | os.PathLike) and _within(one, folder) for one in args[:2]
        ):
            boundary()

    connect = sqlite3.dbapi2.connect

    def traced_connect(*args: Any, **options: Any) -> sqlite3.Connection:
        database = connect(*args, **options)
        database.set_trace_callback(traced)
        return database

    sqlite3.dbapi2.connect = traced_connect  # type: ignore[assignment]
    flush = os.fsync

    def counted_fsync(handle: Any) -> None:
        boundary()
        flush(handle)

    os.fsync = counted_fsync
    sys.addaudithook(hook)


def _within(path: Any, folder: Path) -> bool:
    return os.path.abspath(os.fsdecode(path)).startswith(str(folder) + os.sep)


def _rows(folder: Path, query: str) -> list[Any]:
    if not (folder / "pipeline.db").exists():
        return []
    database = sqlite3.connect(folder / "pipeline.db")
    try:
        return database.execute(query).fetchall()
    except sqlite3.OperationalError:  # killed before its tables were made
        return []
    finally:
        database.close()


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    files = {name for name in {*expected["files"], *found["files"]}
             if expected["files"].get(name) != found["files"].get(name)}  # fmt: skip
    rows = set(map(tuple, expected["ledger"])) ^ set(map(tuple, found["ledger"]))
    return f"files {sorted(files)}, ledger rows {sorted(rows)[:4]}"
