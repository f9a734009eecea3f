"""Keys of services: read from the environment, and kept out of everything that is written."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import unquote

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
        values = sorted({value for value in secrets.values() if value}, key=len, reverse=True)
        pattern = "|".join(_any_form(value) for value in values)
        self._text = re.compile(pattern) if pattern else None
        self._data = re.compile(pattern.encode()) if pattern else None

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        return self._text.sub(HIDDEN, text) if self._text else text

    def data(self, data: bytes) -> bytes:
        """Return bytes without the secrets."""
        return self._data.sub(HIDDEN.encode(), data) if self._data else data

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


def _any_form(value: str) -> str:
    """Return a pattern of a text each of whose characters may be percent-encoded or not."""
    found = []
    for character in value:
        encoded = "".join(f"%(?i:{byte:02x})" for byte in character.encode())
        blank = r"|\+" if character == " " else ""
        found.append(f"(?:{encoded}|{re.escape(character)}{blank})")  # a % that is its own code's beginning comes last
    return "".join(found)
