"""The short road of `POST /predict`: from the parsed bytes to the answer without a task, a scope or a second write.

uvicorn makes an ASGI scope, a cycle object, an event and a task for every request, which together cost as much as a
small model. Where a request to `/predict` lies whole in one read, nobody is before it on the connection and the served
model answers it on the event loop, it is answered here, in the parser's own callback. Everything else - bodies in
several pieces, refusals, mistakes, other paths, large requests - takes the usual road through the ASGI application,
which also words every error.

Written against uvicorn 0.30-0.54 (`uvicorn.protocols.http.httptools_impl`); only methods that an `asyncio.Protocol`
with httptools' callbacks must have, and the attributes its own constructor sets, are used.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sanmaru.serving.predict import INLINE_BODY_BYTES, BasePredict
from sanmaru.serving.rows import read_rows

_PATH = b"/predict"
_KEPT = b"HTTP/1.1 200 OK\r\n"


class PredictProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a short road for predictions."""

    _held: bytes | None = None
    """The body so far of a request that may take the short road; None on the usual one."""
    _began = 0.0

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
        super().data_received(data)
        if self._held is not None and not self.transport.is_closing():
            self._release()

    def _answered(self, body: bytes) -> bool:
        """Write the answer of a request; False leaves everything to the usual road."""
        service: Any = self.app
        model = service.slot.current
        if model is None or self.transport.is_closing():
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
        self.on_response_complete()
        service.held(perf_counter() - self._began, len(rows))
        return True

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
