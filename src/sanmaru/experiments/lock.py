"""One process at a time works on a run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sanmaru.errors import RunError

FILE_NAME = "lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder while inside.

    The lock is the kernel's (`flock`), so that it ends with the process that holds it, however that ends; a file left
    by a killed process is taken over. The file names process and host for the message, and for hosts that share the
    folder over a file system whose locks do not reach each other.

    Raises:
        RunError: when another process holds it, naming the process and host.
    """
    path = folder / FILE_NAME
    me = {"pid": os.getpid(), "host": socket.gethostname()}
    handle = _open(path, folder.name, me["host"])
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(me).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is let go, so that nobody locks a file about to vanish
        os.close(handle)


def _open(path: Path, run: str, host: object) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(handle)
            os.close(handle)
            raise RunError(
                f"run {run} is being worked on by process {holder.get('pid', '?')} on {holder.get('host', '?')}. Wait "
                "for it, or end it first."
            ) from error
        holder = _holder(handle)
        if holder and holder.get("host") != host:
            os.close(handle)
            raise RunError(
                f"run {run} is being worked on by process {holder.get('pid')} on the machine {holder.get('host')}. If "
                f"it no longer runs there, remove {path}."
            )
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)  # the holder before us removed this file between our open and our lock


def _holder(handle: int) -> dict[str, object]:
    try:
        return dict(json.loads(os.pread(handle, 1000, 0) or b"{}"))
    except ValueError:
        return {}
