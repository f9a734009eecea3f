"""Notices a newly promoted version and puts it in service: load, warm, golden test, swap, drain."""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import TYPE_CHECKING

from sanmaru.errors import UserError
from sanmaru.serving.forecasts import breaks_forecasts
from sanmaru.serving.model import ServedModel, breaks, warm

if TYPE_CHECKING:
    from sanmaru.serving.keys import Keys
    from sanmaru.serving.settings import Settings
    from sanmaru.serving.slot import Slot
    from sanmaru.serving.source import Candidate, ModelSource

log = logging.getLogger("sanmaru.serving")


class BadVersionError(Exception):
    """A version that must not be served; the message says why."""


class Poller:
    """Asks the source which version should be served, every few seconds, in a thread of its own.

    A version that cannot be served never replaces one that can. A source that cannot be asked changes nothing.
    """

    def __init__(self, source: ModelSource, slot: Slot, settings: Settings, keys: Keys | None = None) -> None:
        self.source = source
        self.slot = slot
        self.settings = settings
        self.keys = keys
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sanmaru-poller", daemon=True)

    def start(self) -> None:
        """Begin to poll; the first round loads the first model."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling; a load under way is not waited for longer than a second."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

    def step(self) -> bool:
        """Ask the source once and act on it; return whether another version is served now."""
        candidate = self._resolve()
        if candidate is None:
            return False
        current, refusal = self.slot.current, self.slot.refusal
        if current is not None and current.candidate == candidate:
            self.slot.refusal = None
            return False
        if refusal is not None and refusal.candidate == candidate and time.monotonic() < refusal.next_try:
            return False
        try:
            model = self.prepare(candidate)
        except Exception as error:
            reason = (
                str(error) if isinstance(error, UserError | BadVersionError) else f"{type(error).__name__}: {error}"
            )
            self.slot.refuse(candidate, reason, first_wait_s=self.settings.retry_s, most_s=self.settings.retry_most_s)
            serving = "nothing" if current is None else f"version {current.version}"
            log.error("version %s is refused, %s stays in service: %s", candidate.version, serving, reason)
            return False
        settle_memory()
        self.slot.swap(model)
        log.info(
            "serving %s version %s (one row in %.2f ms, %s)",
            model.name, model.version, model.warmth.row_ms, "inline" if model.inline_rows else "worker thread",
        )  # fmt: skip
        return True

    def prepare(self, candidate: Candidate) -> ServedModel:
        """Load, warm and test a version.

        Raises:
            Exception: whatever shows that it cannot be served.
        """
        package = self.source.load(candidate)
        current = self.slot.current
        reason = None if current is None else breaks(current.signature, package.signature)
        if reason is None and current is not None and current.forecasts:
            reason = breaks_forecasts(current.package, package)
        if reason is not None:
            raise BadVersionError(f"its signature would break callers: {reason}. Restart the service to change it.")
        package.golden_test()
        return ServedModel(package, candidate, warm(package))

    def _resolve(self) -> Candidate | None:
        try:
            candidate = self.source.resolve()
        except Exception as error:
            reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            if reason != self.slot.source_error:
                log.warning("cannot ask which version to serve, what is served stays: %s", reason)
            self.slot.source_error = reason
            return None
        if self.slot.source_error is not None:
            log.info("the registry answers again")
            self.slot.source_error = None
        return candidate

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
                if self.keys is not None and self.keys.refresh():
                    log.info("read the changed keys file")
            except UserError as error:
                log.error("%s", error)
            except Exception:
                log.exception("the poller met a defect and goes on")
            self._stopping.wait(self.settings.poll_s)


def settle_memory() -> None:
    """Put what stands now out of the garbage collector's sight, after what an earlier version left is collected.

    A web framework and a model are some hundred thousand objects that live as long as the service; the collector would
    walk over them again and again between requests.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
