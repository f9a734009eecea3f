"""The one place that says which version is served now, and which was refused."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sanmaru.serving.metrics import Metrics
    from sanmaru.serving.model import ServedModel
    from sanmaru.serving.source import Candidate

log = logging.getLogger("sanmaru.serving")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version that should be served and cannot."""

    candidate: Candidate
    reason: str
    attempts: int
    next_try: float
    """`time.monotonic()` from which it may be tried again."""


class Slot:
    """Holds the served model. Replacing it is one assignment, so a request sees the old or the new, never both."""

    def __init__(self, metrics: Metrics) -> None:
        self.current: ServedModel | None = None
        self.refusal: Refusal | None = None
        self.source_error: str | None = None
        """Why the registry could not be asked the last time; None when it could."""
        self._metrics = metrics
        self._loaded = threading.Event()

    def swap(self, model: ServedModel) -> None:
        """Serve `model` from the next request on. The old one is released with its last request."""
        old, self.current = self.current, model
        self.refusal = None
        self._metrics.loaded(model.name, model.version)
        self._loaded.set()
        if old is not None:
            weakref.finalize(old, log.info, "version %s drained and released", old.version).atexit = False

    def refuse(self, candidate: Candidate, reason: str, *, first_wait_s: float, most_s: float) -> None:
        """Keep what is served; remember why `candidate` is not, and when to try it again."""
        same = self.refusal is not None and self.refusal.candidate == candidate
        attempts = self.refusal.attempts + 1 if same and self.refusal else 1
        wait_s = min(first_wait_s * 2 ** (attempts - 1), most_s)
        self.refusal = Refusal(
            candidate=candidate, reason=reason, attempts=attempts, next_try=time.monotonic() + wait_s
        )
        self._metrics.refused_versions += 1

    def wait(self, timeout_s: float) -> bool:
        """Wait until a model is served; False if none is after `timeout_s`."""
        return self._loaded.wait(timeout_s)
