"""A worker thread that predicts for many requests at once, without ever waiting for more to come.

Whatever queued up while the last batch ran is the next batch: one request alone is predicted at once, and under load
the batches grow by themselves. The queue is bounded; when it is full the service says so instead of falling behind.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sanmaru.serving.errors import RequestError

if TYPE_CHECKING:
    from sanmaru.packages.package import Encoded
    from sanmaru.serving.forecasts import ForecastRequest
    from sanmaru.serving.model import Request, ServedModel
    from sanmaru.serving.settings import Settings


@dataclass(eq=False)
class Job:
    """A request on its way through the worker thread. It keeps the version it started with."""

    model: ServedModel
    read: Callable[[], Request]
    """Gives what is asked for, checked; called in the worker thread, as large bodies would hold the event loop."""
    future: asyncio.Future[bytes]
    cancelled: bool = False
    request: Request = field(default_factory=list)
    encoded: Encoded | ForecastRequest | None = None
    outcome: bytes | BaseException | None = None


class Batcher:
    """The bounded queue and its worker thread.

    Args:
        settings: Length of the queue and rows of a batch.
        on_batch: Called with the number of rows of each batch, in the event loop.
    """

    def __init__(self, settings: Settings, on_batch: Callable[[int], None]) -> None:
        self.settings = settings
        self._on_batch = on_batch
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="sanmaru-batcher", daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the worker thread; answers are handed to `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Let the worker thread end after the jobs it has."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(timeout=5.0)

    def __len__(self) -> int:
        return self._waiting.qsize()

    @property
    def idle(self) -> bool:
        """Whether the worker thread has nothing to do."""
        return not self._busy and not self._waiting.qsize()

    async def submit(self, model: ServedModel, read: Callable[[], Request]) -> bytes:
        """Predict in the worker thread and return the JSON text of the answer.

        Raises:
            RequestError: 503 when the queue is full; 504 when the prediction takes too long; whatever `read` raises.
            DataError: for a value that the model cannot take.
        """
        if self._waiting.qsize() >= self.settings.queue:
            raise RequestError(
                503, f"{self.settings.queue} requests already wait for the model. Try again.", "queue", retry_after_s=1
            )
        job = Job(model, read, asyncio.get_running_loop().create_future())
        self._waiting.put(job)
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await job.future
        except TimeoutError:
            raise RequestError(504, f"the prediction took longer than {self.settings.timeout_s:g} s", None) from None
        finally:
            job.cancelled = True  # answered, given up, or the caller went away

    def _run(self) -> None:
        while True:
            job = self._waiting.get()
            if job is None:
                return
            jobs = [job]
            while len(jobs) < self.settings.batch_rows:
                try:
                    another = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if another is None:
                    self._waiting.put(None)
                    break
                jobs.append(another)
            self._busy = True
            sizes = self._work([job for job in jobs if not job.cancelled])
            self._busy = False
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._deliver, jobs, sizes)
            except RuntimeError:  # the loop is closed: nobody waits for these answers
                return
            # Without this an idle thread would keep the last version alive until the next request.
            del job, jobs

    def _work(self, jobs: list[Job]) -> list[int]:
        """Answer every job, together where they fit into one batch. Returns the rows of each batch."""
        sizes: list[int] = []
        together: list[Job] = []
        n_rows = 0
        for job in jobs:
            try:
                job.request = job.read()
                if len(job.request) > self.settings.batch_rows:
                    sizes += self._alone(job)
                    continue
                job.encoded = job.model.encode(job.request)
            except BaseException as error:
                job.outcome = error
                continue
            full = n_rows + len(job.request) > self.settings.batch_rows
            if together and (full or together[0].model is not job.model):
                sizes.append(self._together(together))
                together, n_rows = [], 0
            together.append(job)
            n_rows += len(job.request)
        if together:
            sizes.append(self._together(together))
        return sizes

    def _together(self, jobs: list[Job]) -> int:
        try:
            model = jobs[0].model
            outputs = model.outputs([job.encoded for job in jobs if job.encoded is not None])
            for job, outcome in zip(jobs, model.replies([job.request for job in jobs], outputs), strict=True):
                job.outcome = outcome
        except BaseException as error:
            for job in jobs:
                job.outcome = error
        return sum(len(job.request) for job in jobs)

    def _alone(self, job: Job) -> list[int]:
        """Answer one large request part by part, so that its arrays never stand in memory at once."""
        model, size = job.model, self.settings.batch_rows
        outputs: list[np.ndarray] = []
        sizes: list[int] = []
        for start in range(0, len(job.request), size):
            if job.cancelled:
                return sizes
            part = job.request[start : start + size]
            outputs.append(model.outputs([model.encode(part)]))
            sizes.append(len(part))
        (job.outcome,) = model.replies([job.request], np.concatenate(outputs))
        return sizes

    def _deliver(self, jobs: list[Job], sizes: list[int]) -> None:
        for size in sizes:
            self._on_batch(size)
        for job in jobs:
            if job.future.done():
                continue
            if isinstance(job.outcome, bytes):
                job.future.set_result(job.outcome)
            elif job.outcome is not None:
                job.future.set_exception(job.outcome)
