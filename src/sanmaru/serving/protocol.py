"""The short road of `POST /predict`: from the parsed bytes to the answer without a task, a scope or a second write.

uvicorn makes an ASGI scope, a cycle object, an event and a task for every request, which together cost as much as a
small model. Where a request to `/predict` lies whole in one read, nobody is before it on the connection and the served
model answers it on the event loop, it is answered here, in the parser's own callback. Everything else - bodies in
several pieces, refusals, mistakes, other paths, large requests, forecasts - takes the usual road through the ASGI
application, which also words every error.

Written and tested against uvicorn 0.54 (`uvicorn.protocols.http.httptools_impl`); only methods that an
`asyncio.Protocol` with httptools' callbacks must have, and the attributes its own constructor sets, are used.
"""

from __future__ import annotations

from asyncio import TimerHandle
from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sanmaru.serving.predict import INLINE_BODY_BYTES, BasePredict
from sanmaru.serving.rows import read_rows

_PATH = b"/predict"
_KEPT = b"HTTP/1.1 200 OK\r\n"

SPIN_S = 150e-6
"""How soon the next request of a caller must come for the event loop to stay awake for it.

Putting a thread to sleep and waking it takes tens of microseconds, on virtual machines more: as long as the whole
answer. So where requests follow answers this closely, the loop looks again instead of sleeping, for this long at most;
where they do not, it sleeps as ever.
"""


class PredictProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a short road for predictions."""

    _held: bytes | None = None
    """The body so far of a request that may take the short road; None on the usual one."""
    _began = 0.0
    _active_at = 0.0
    """Time of the event loop when something last came or was answered."""
    _ended = 0.0
    """When the last answer on the short road was written, by `perf_counter`."""
    _spin_until = 0.0
    _spinning = False
    _closer: TimerHandle | None = None
    """Closes the connection when nothing comes for long; one timer for many requests, where uvicorn makes one each."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        if self._closer is not None:
            self._closer.cancel()
            self._closer = None
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a request; its scope is made only when the usual road wants it."""
        self._held = None
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Hold a prediction back until its body is there, and send everything else on its way."""
        if (
            self.url == _PATH
            and (self.cycle is None or self.cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and not self.parser.should_upgrade()
            and isinstance(self.app, BasePredict)
        ):
            self._began = perf_counter()
            self._held = b""
            return
        self._usual_road()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body

    def on_message_complete(self) -> None:
        """Answer a request that is held back, if that can be done here and now."""
        body = self._held
        if body is None:
            super().on_message_complete()
        elif not self._answered(body):
            self._release()
            super().on_message_complete()
        self._held = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a request whose body is not whole by then takes the usual road, with its time limits."""
        self._active_at = self.loop.time()
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._release()

    def _answered(self, body: bytes) -> bool:
        """Write the answer of a request; False leaves everything to the usual road."""
        service: Any = self.app
        model = service.slot.current
        if model is None or model.forecasts or self.transport.is_closing():
            return False
        lone = service.asker is self
        service.asker = self
        if len(body) > INLINE_BODY_BYTES if model.inline_rows else not (lone and service.may_hold(model, body)):
            return False
        try:
            if service.locked and service.keys.name(dict(self.headers)) is None:
                return False
            kind = b""
            for name, value in self.headers:
                if name == b"content-type":
                    kind = value
                    break
            rows = read_rows(body, kind, model, service.max_rows)
            if len(rows) > (model.inline_rows or 1):
                return False
            answer = model.answer(rows)
        except Exception:  # the usual road finds it again, words it and counts it
            return False
        self.transport.write(
            b"%s%s%s%d\r\n\r\n%s" % (_KEPT, service.head(self.server_state), model.head, len(answer), answer)
        )
        self.server_state.total_requests += 1
        self._active_at = self.loop.time()
        if self._closer is None:
            self._closer = self.loop.call_later(self.timeout_keep_alive, self._close_if_quiet)
        now = perf_counter()
        service.held(now - self._began, len(rows))
        if service.prediction_log is not None:
            service.prediction_log.note(model, body, kind, answer, now - self._began)
        if self._began - self._ended < SPIN_S:
            self._spin_until = now + SPIN_S
            if not self._spinning:
                self._spinning = True
                self.loop.call_soon(self._stay_awake)
        self._ended = now
        return True

    def _stay_awake(self) -> None:
        """Keep the event loop from sleeping: a loop with something to call only glances at its sockets."""
        if perf_counter() < self._spin_until:
            self.loop.call_soon(self._stay_awake)
        else:
            self._spinning = False

    def _close_if_quiet(self) -> None:
        """Close the connection if nothing came for as long as is allowed; else look again when that may be."""
        self._closer = None
        if self.timeout_keep_alive_task is not None or not (self.cycle is None or self.cycle.response_complete):
            return  # the usual road is on it: it has a timer of its own, or a request under way
        left_s = self._active_at + self.timeout_keep_alive - self.loop.time()
        if left_s > 0.001:
            self._closer = self.loop.call_later(left_s, self._close_if_quiet)
        else:
            self.timeout_keep_alive_handler()

    def _release(self) -> None:
        """Send a held request on the usual road, with the part of its body that is there."""
        body, self._held = self._held, None
        self._usual_road()
        if body:
            super().on_body(body)

    def _usual_road(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this very list
        super().on_headers_complete()
