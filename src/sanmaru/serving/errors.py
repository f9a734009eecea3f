"""What a request is refused with: a status and one clear JSON text."""

from __future__ import annotations

import orjson

Header = tuple[bytes, bytes]


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        error: What was wrong and what to do.
        where: The row, column, position or header concerned.
        retry_after_s: Seconds after which the same request may succeed (`Retry-After`).
        close: Whether the connection ends with the answer, as when the rest of a body is not read.
    """

    def __init__(
        self,
        status: int,
        error: str,
        where: str | None = None,
        *,
        retry_after_s: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.where = where
        self.retry_after_s = retry_after_s
        self.close = close

    def body(self) -> bytes:
        """Return the JSON text of the answer."""
        return error_body(self.error, self.where)

    def headers(self) -> list[Header]:
        """Return the headers of the answer, without its length."""
        headers = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(self.retry_after_s).encode()))
        if self.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.close:
            headers.append((b"connection", b"close"))
        return headers


def error_body(error: str, where: str | None = None) -> bytes:
    """Return ``{"error": ..., "where": ...}``; the same shape for every error of the service."""
    # A lone surrogate can reach a message from a JSON text such as "\ud800"; it has no UTF-8 form.
    clean = [None if text is None else text.encode("utf-8", "backslashreplace").decode() for text in (error, where)]
    return orjson.dumps({"error": clean[0], "where": clean[1]})
