"""Items in worker processes of this machine.

A pool of our own, because `concurrent.futures.ProcessPoolExecutor` gives up all its work when one worker dies. Each
worker has its own pipe: a dying worker breaks nobody's queue, and the item it held is known.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from sanmaru.cluster.base import ClusterError, OnResult, Outcome, Plan, attempt, died, failure, thread_environment

STOP_S = 2.0
"""How long a worker may take to end when asked, before it is killed."""
STARTED = "started"


def run(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    planned: Plan,
    on_result: OnResult | None,
    retries: int,
) -> list[Any]:
    """Return the result of every item; see `sanmaru.cluster.map`."""
    results: list[Any] = [None] * len(items)
    waiting = deque(range(len(items)))
    deaths = [0] * len(items)
    left = len(items)
    workers: list[_Worker] = []
    try:
        while left:
            while len(workers) < min(planned.workers, left):
                workers.append(_Worker(function, planned.threads))
            for worker in workers:
                if worker.index is None and waiting:
                    worker.give(waiting.popleft(), items)
            for worker in _ready(workers):
                message, index = worker.read(), worker.index
                if message == STARTED:
                    continue
                if isinstance(message, Outcome) and index is not None:
                    worker.index = None
                    results[index] = message.unwrap(items[index], index)
                    left -= 1
                    if on_result is not None:
                        on_result(index, results[index])
                    continue
                worker.stop()
                workers.remove(worker)
                if index is not None:
                    deaths[index] += 1
                    _again_or_raise(worker, items[index], index, deaths[index], retries)
                    waiting.appendleft(index)
    except BaseException:
        for worker in workers:
            worker.process.terminate()
        raise
    finally:
        for worker in workers:
            worker.pipe.close()  # an idle worker reads the end of the pipe, and ends
        for worker in workers:
            worker.stop()
    return results


def _again_or_raise(worker: _Worker, item: Any, index: int, times: int, retries: int) -> None:
    """Raise unless an item whose worker died is to be run again."""
    code = worker.process.exitcode
    if not worker.started and code is not None and code > 0:
        raise ClusterError(
            f"a worker process ended with status {code} before it could begin; its own message stands above. A script "
            'that starts workers needs its calls under `if __name__ == "__main__":`, because workers import it.',
            item=item,
            index=index,
        )
    if times > retries:
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        raise died(item, index, how, times)


def _ready(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until a worker has said something or has died; return those."""
    said = connection.wait([handle for worker in workers for handle in (worker.pipe, worker.process.sentinel)])
    return [worker for worker in workers if worker.pipe in said or worker.process.sentinel in said]


class _Worker:
    """A process, the pipe to it, and the item it holds."""

    def __init__(self, function: Callable[[Any], Any], threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, pickle.dumps(function)))
        self.index: int | None = None
        self.started = False
        with _without_interrupts(), _environment(thread_environment(threads)):
            self.process.start()
        theirs.close()

    def give(self, index: int, items: Sequence[Any]) -> None:
        """Send an item. A worker that died meanwhile is noticed by its sentinel in the next round."""
        self.index = index
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send_bytes(pickle.dumps(items[index]))

    def read(self) -> Outcome | str | None:
        """Return what the worker said, or None when it has died (even in the middle of a message)."""
        try:
            message = self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionResetError):
            return None
        self.started = self.started or message is not None
        return message

    def stop(self) -> None:
        """Wait a moment for the process to end, then kill it."""
        self.process.join(STOP_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _work(pipe: Connection, pickled_function: bytes) -> None:
    """Run items from the pipe until it ends: the whole life of a worker."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function = pickle.loads(pickled_function)
    except Exception as error:
        function = _Unfindable(error)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(STARTED)
        while True:
            outcome = attempt(_Loaded(function), pipe.recv_bytes())
            try:
                message = pickle.dumps(outcome)
            except Exception as error:
                message = pickle.dumps(failure(TypeError(f"its result cannot be sent back ({error})")))
            pipe.send_bytes(message)


def _end_with_parent() -> None:
    """End at once when the parent has gone, even killed, so that nothing writes beside a resumed run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Loaded:
    """The function on an item still pickled, so that an item that cannot be read is that item's error."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, pickled: bytes) -> Any:
        return self.function(pickle.loads(pickled))


class _Unfindable:
    """Stands for a function that this process cannot find, and says so for each item."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, item: Any) -> Any:
        raise TypeError(
            f"the worker process cannot find the function ({self.error}). Define it at the top of a module or of a "
            "script file, not in a notebook or at the prompt."
        ) from self.error


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C while a worker starts; it inherits the block, so that only this process meets Ctrl-C.

    The signal is kept, not lost: it arrives here on leaving.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own first start would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables while a worker starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
