"""What the conformance suite runs, in a module of its own so that workers find it by name."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


class RefusalError(ValueError):
    """An error that carries more than its message, and so cannot be read back from a pickle."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def square(value: int) -> int:
    return value * value


def slow_first(value: int) -> int:
    time.sleep(0.4 if value == 0 else 0.0)
    return value


def array(value: int) -> np.ndarray:
    return np.full((300, 300), value)


def fail_at_two(value: int) -> int:
    if value == 2:
        raise ValueError("two is not wanted")
    return value


def refuse(value: int) -> int:
    raise RefusalError(f"{value} refused", 7)


def die_once(marker: str) -> str:
    """Be killed at the first call, succeed at the second."""
    path = Path(marker)
    if not path.exists():
        path.write_text("was here")
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def die_always(value: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return value


def threads(value: int) -> tuple[str, int]:
    from threadpoolctl import threadpool_info

    return os.environ.get("OMP_NUM_THREADS", ""), max(pool["num_threads"] for pool in threadpool_info())


def unsendable(value: int) -> Any:
    return lambda: value


def wait_forever(folder: str) -> None:
    """Say which process waits, then wait."""
    Path(folder, str(os.getpid())).write_text("")
    time.sleep(600)


def slow_away_from(job: tuple[str, int, str]) -> str:
    """Leave a mark, then take long on every Ray node but the head; return the node's id."""
    import ray

    folder, number, head = job
    node = str(ray.get_runtime_context().get_node_id())
    Path(folder, f"{number}-{node}").write_text("")
    time.sleep(0.2 if node == head else 60.0)
    return node


if __name__ == "__main__":  # the script that the Ctrl-C tests interrupt
    from sanmaru import cluster

    _, chosen, where = sys.argv
    try:
        cluster.map(wait_forever, [where] * 2, kind=chosen, workers=2)
    except KeyboardInterrupt:
        sys.exit(130)
