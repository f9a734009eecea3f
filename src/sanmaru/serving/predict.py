"""`POST /predict`: one ASGI function before any routing.

A small model answers in a tenth of a millisecond, so what stands around it must cost next to nothing: the body is
read once, nothing is validated twice, headers are ready-made bytes, counts are plain integers.
"""

from __future__ import annotations

import asyncio
import logging
import re
from asyncio import current_task
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sanmaru.errors import DataError
from sanmaru.serving.errors import Header, RequestError, error_body
from sanmaru.serving.rows import read_rows

if TYPE_CHECKING:
    from sanmaru.serving.batching import Batcher
    from sanmaru.serving.keys import Keys
    from sanmaru.serving.metrics import Metrics
    from sanmaru.serving.model import ServedModel
    from sanmaru.serving.prediction_log import PredictionLog
    from sanmaru.serving.settings import Settings
    from sanmaru.serving.slot import Slot

log = logging.getLogger("sanmaru.serving")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

INLINE_BODY_BYTES = 64 * 1024
"""Larger bodies are parsed in the worker thread."""
LONE_MS = 25.0
"""A model that answers one row within this answers a lone caller on the event loop."""
LONE_BODY_BYTES = 256 * 1024
"""And only where the body is no larger: how long a picture takes to decode depends on the picture."""
_SLOW = "the body is too slow"
"""Tells a cancellation by the timer from one by the server."""
BUFFERED_BYTES = 4
"""Bodies still arriving may hold this many times the largest body in memory, together."""
_PLACE = re.compile(r"row \d+(, column '[^']*')?")
_SERIES = re.compile(r"series '[^']*'")
REASONS = {400: "malformed", 401: "key", 408: "slow-body", 413: "too-large", 415: "media-type", 422: "data"}


class ClientGoneError(Exception):
    """The caller hung up before its body was complete."""


class BasePredict:
    """Answers `POST /predict` and leaves every other request to `elsewhere`, which a service sets.

    A base class and not a part of the service, because a call from one to the other would cost every request a
    coroutine more.
    """

    elsewhere: Callable[[Scope, Receive, Send], Awaitable[None]]

    prediction_log: PredictionLog | None = None

    def __init__(self, slot: Slot, batcher: Batcher, settings: Settings, keys: Keys, metrics: Metrics) -> None:
        self.slot = slot
        self.batcher = batcher
        self.settings = settings
        self.keys = keys
        self.metrics = metrics
        self._buffered = 0
        self.locked = keys.active
        self._max_body_bytes = settings.max_body_bytes
        self.max_rows = settings.max_rows
        self.asker: object = None
        """The connection that asked last; see `protocol.PredictProtocol`."""
        self._no_holding_before = 0.0
        self._common: tuple[object, bytes] = (None, b"")
        self._receiving: dict[asyncio.Task[Any] | None, float] = {}
        """Requests whose body is not complete, and when they began."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
            await self.elsewhere(scope, receive, send)
            return
        started = perf_counter()
        inline_rows = 0
        model: ServedModel | None = None
        try:
            if self.locked and self.keys.name(dict(scope["headers"])) is None:
                raise RequestError(
                    401,
                    "an API key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`",
                    "header",
                    close=True,
                )
            task = current_task()
            self._receiving[task] = started
            try:
                message = await receive()
                # Nearly every body is there in one piece; what follows is written out here because each further
                # coroutine would cost more than all the checks.
                body = (
                    message["body"]
                    if message.get("more_body") is False
                    else await self._rest(message, dict(scope["headers"]), receive)
                )
            finally:
                self._receiving.pop(task, None)
            if len(body) > self._max_body_bytes:
                raise self._too_large(len(body))
            model = self.slot.current
            if model is None:
                raise RequestError(503, "no model is loaded yet. See /ready.", None, retry_after_s=2)
            content_type = b""
            for name, value in scope["headers"]:  # a dictionary of all would cost twice as much
                if name == b"content-type":
                    content_type = value
                    break
            if len(body) <= INLINE_BODY_BYTES and model.inline_rows:
                rows = read_rows(body, content_type, model, self.max_rows)
                if len(rows) <= model.inline_rows:
                    answer = model.answer(rows)
                    inline_rows = len(rows)
                else:
                    answer = await self.batcher.submit(model, lambda: rows)
            else:
                answer = await self.batcher.submit(model, partial(model.read, body, content_type, self.settings))
            status, sent = 200, [*model.headers, (b"content-length", b"%d" % len(answer))]
        except ClientGoneError:
            self.metrics.done(499, perf_counter() - started)
            return
        except (Exception, asyncio.CancelledError) as error:
            status, answer, sent = self._refusal(error, model)
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": answer})
        seconds = perf_counter() - started
        self.metrics.done(status, seconds, inline_rows)
        if self.prediction_log is not None and status == 200:
            assert model is not None
            self.prediction_log.note(model, body, content_type, answer, seconds)

    def may_hold(self, model: ServedModel, body: bytes) -> bool:
        """Whether a lone caller's request to a slower model may be predicted on the event loop.

        A hand-over to the worker thread and back costs two wake-ups, which a caller who is alone need not pay. Nobody
        else waits then but probes; they wait for one prediction at most, which `LONE_MS` and `LONE_BODY_BYTES` bound.
        Where one took longer nevertheless, the thread takes them all for a while.
        """
        return (
            model.warmth.row_ms <= LONE_MS
            and len(body) <= LONE_BODY_BYTES
            and self.batcher.idle
            and perf_counter() >= self._no_holding_before
        )

    def held(self, seconds: float, rows: int) -> None:
        """Count a request that was answered on the event loop."""
        self.metrics.done(200, seconds, rows)
        if seconds * 1000 > 4 * LONE_MS:
            self._no_holding_before = perf_counter() + 10.0

    def head(self, server_state: Any) -> bytes:
        """Return the header lines that every answer shares: the date, renewed by the server every second."""
        headers = server_state.default_headers
        known, text = self._common
        if headers is not known:
            text = b"".join(b"%s: %s\r\n" % header for header in headers)
            self._common = (headers, text)
        return text

    def _refusal(self, error: BaseException, model: ServedModel | None) -> tuple[int, bytes, list[Header]]:
        """Turn whatever stopped a request into status, body and headers of its answer."""
        if isinstance(error, asyncio.CancelledError):
            if _SLOW not in error.args:
                raise error
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            limit_s = self.settings.timeout_s
            error = RequestError(408, f"the body did not arrive within {limit_s:g} s", "body", close=True)
        if isinstance(error, RequestError):
            status, answer, sent = error.status, error.body(), error.headers()
            self.metrics.reject("queue" if error.where == "queue" else REASONS.get(status, "unready"))
        else:
            sent = [(b"content-type", b"application/json")]
            if isinstance(error, DataError):
                status, answer = 422, error_body(str(error), _where(str(error)))
                self.metrics.reject("data")
            else:
                log.error("a request met a defect", exc_info=error)
                status, answer = 500, error_body("internal error; the server's log has the details", None)
        if model is not None:
            sent += model.headers[1:]
        return status, answer, [*sent, (b"content-length", b"%d" % len(answer))]

    def cut_slow(self) -> None:
        """Cancel the requests whose body is overdue. Called a few times a second.

        A timer per request would cost as much as a small model's whole encoding (6 microseconds, 4 with uvloop's own).
        """
        now = perf_counter()
        for task, started in list(self._receiving.items()):
            if task is not None and now - started > self.settings.timeout_s:
                task.cancel(_SLOW)

    async def _rest(self, message: Message, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """Read a body that comes in several pieces."""
        limit, size = self.settings.max_body_bytes, 0
        length = headers.get(b"content-length", b"")
        if length.isdigit() and len(length) < 20 and int(length) > limit:
            await self._discard(receive)
            raise self._too_large(int(length))
        chunks: list[bytes] = []
        try:
            while True:
                if message["type"] != "http.request":
                    raise ClientGoneError
                chunk = message.get("body", b"")
                size += len(chunk)
                self._buffered += len(chunk)
                chunks.append(chunk)
                if size > limit:
                    if message.get("more_body", False):
                        await self._discard(receive)
                    raise self._too_large(size)
                if self._buffered > BUFFERED_BYTES * limit:
                    raise RequestError(
                        503, "too many large bodies arrive at once. Try again.", "queue", retry_after_s=1, close=True
                    )
                if not message.get("more_body", False):
                    return b"".join(chunks)
                message = await receive()
        finally:
            self._buffered -= size

    async def _discard(self, receive: Receive) -> None:
        """Read a little on and drop it: most clients look at the answer only after sending everything.

        The answer is settled, so that the body may be overdue from here on.
        """
        self._receiving.pop(current_task(), None)
        dropped = 0
        try:
            async with asyncio.timeout(2.0):
                while dropped < 2 * self.settings.max_body_bytes:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _too_large(self, size: int) -> RequestError:
        limit = self.settings.max_body_bytes
        return RequestError(
            413,
            f"the body has {size:,} bytes or more; at most {limit:,} are taken. Send several requests.",
            "body",
            close=True,
        )


def _where(message: str) -> str:
    """The row and column, or the series, that an error of the model's encoders names."""
    found = _PLACE.match(message) or _SERIES.search(message)
    return found[0] if found else "rows"
