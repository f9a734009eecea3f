"""Keys of services: read from the environment, and kept out of everything that is written."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from sanmaru.collect.base import CollectError

HIDDEN = "***"
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")


def service_key(variable: str) -> str:
    """Return the key that an environment variable holds, decoded.

    data.go.kr hands out each key twice, percent-encoded and not; an encoded one would be encoded once more on its
    way.

    Raises:
        CollectError: when the variable is not set.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CollectError(
            f"the environment variable {variable} holds no key (collect: key_env). Ask for one at www.data.go.kr, "
            f"then: export {variable}=..."
        )
    return unquote(key)


class Scrubber:
    """Replaces secrets by ``***``, however they are encoded.

    Args:
        secrets: Parameters whose values are secret.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        found = {form for value in secrets.values() if value for form in _forms(value)}
        self._texts = sorted(found, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._texts:
            text = text.replace(secret, HIDDEN)
        return text

    def data(self, data: bytes) -> bytes:
        """Return bytes without the secrets."""
        for secret in self._texts:
            data = data.replace(secret.encode(), HIDDEN.encode())
        return data

    @contextmanager
    def logs(self) -> Iterator[None]:
        """Keep the secrets out of what httpx and httpcore log, which would name whole addresses."""
        filters = [(logging.getLogger(name), _Filter(self)) for name in _LOGGERS]
        for logger, one in filters:
            logger.addFilter(one)
        try:
            yield
        finally:
            for logger, one in filters:
                logger.removeFilter(one)


class _Filter(logging.Filter):
    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrubber.text(record.getMessage()), ()
        return True


def _forms(value: str) -> set[Any]:
    lower = {one.lower() if "%" in one else one for one in (quote(value, safe=""), quote_plus(value))}
    return {value, quote(value), quote(value, safe=""), quote_plus(value), *lower}
