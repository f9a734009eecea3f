"""What steps print: one file for each attempt that printed something."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def log_path(folder: Path, step: str, start: str, attempt: int) -> Path:
    """Return where what an attempt prints is kept.

    Args:
        folder: Of all logs of the pipeline.
        step: Its name.
        start: Name of the interval.
        attempt: Number of the attempt.
    """
    return folder / step / f"{start}.{attempt}.log"


def newest_log(folder: Path, step: str, start: str | None = None) -> Path | None:
    """Return the log of a step that was written last, of one interval or of all; None where it printed nothing."""
    found = list((folder / step).glob(f"{start or '*'}.*.log"))
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def remove_old(folder: Path, days: float) -> int:
    """Remove the logs that are older than `days`; return how many."""
    before = time.time() - days * 86400
    old = [path for path in folder.glob("*/*.log") if path.stat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


@contextlib.contextmanager
def printed_to(path: Path | None) -> Iterator[None]:
    """Send everything that this process and its children print to a file, which is removed if that is nothing.

    Where the file cannot be written (the disk is full) the step runs all the same, and prints where it did before.
    """
    handle = _opened(path)
    if handle is None or path is None:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        empty = os.fstat(handle).st_size == 0
        for old, number in zip(kept, (1, 2), strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(handle)
        if empty:
            path.unlink(missing_ok=True)


def _opened(path: Path | None) -> int | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:
        return None
