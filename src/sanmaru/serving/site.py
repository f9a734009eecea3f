"""The published forecast page, served beside the model: `/forecast` and `/forecast.json` from a folder.

The folder is replaced as a whole by whoever publishes, while this service reads it. So a file that cannot be read just
now (the old folder is gone, the new one not there yet) is answered with what was read last.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from sanmaru.errors import DataError

FILES = {
    "/forecast": ("index.html", "text/html; charset=utf-8"),
    "/forecast.json": ("forecast.json", "application/json"),
}
"""What may be asked for, and the file that answers: no part of a request ever becomes a path."""

POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One file as it was read."""

    stamp: tuple[int, int, int]
    """Inode, size and time of change: another one means that the file must be read again."""
    content: bytes
    etag: str
    modified_s: int
    """Seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class SiteAnswer:
    """What to answer: status, headers, body."""

    status: int
    headers: dict[str, str]
    content: bytes = b""


class Site:
    """A folder with `index.html` and `forecast.json`, as `sanmaru.publish` writes it.

    Args:
        folder: It may not be there yet; until then both paths answer 404.

    Raises:
        DataError: when the path is something else than a folder.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is no folder. Give --site the folder that holds index.html and forecast.json.")
        self.folder = folder
        self._known: dict[str, Published] = {}

    def answer(self, path: str, if_none_match: str | None = None) -> SiteAnswer:
        """Answer a request for one of `FILES`.

        Args:
            path: A key of `FILES`.
            if_none_match: The header's value; where it names what would be sent, 304 is answered without it.
        """
        name, kind = FILES[path]
        published = self._read(name)
        if published is None:
            return SiteAnswer(status=404, headers={"cache-control": "no-store"})
        headers = {
            "etag": published.etag,
            # A copy may be kept, and must be asked about before each use: a new forecast is seen at once.
            "cache-control": "no-cache",
            "last-modified": formatdate(published.modified_s, usegmt=True),
        }
        if if_none_match is not None and matches(if_none_match, published.etag):
            return SiteAnswer(status=304, headers=headers)
        headers |= {"content-type": kind, "x-content-type-options": "nosniff"}
        if kind.startswith("text/html"):
            headers["content-security-policy"] = POLICY
        return SiteAnswer(status=200, headers=headers, content=published.content)

    def _read(self, name: str) -> Published | None:
        known = self._known.get(name)
        try:
            with (self.folder / name).open("rb") as handle:
                status = os.fstat(handle.fileno())  # of the very file that is read, whatever takes its name meanwhile
                stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
                if known is not None and known.stamp == stamp:
                    return known
                content = handle.read()
        except OSError:
            return known
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        published = Published(stamp=stamp, content=content, etag=etag, modified_s=int(status.st_mtime))
        self._known[name] = published
        return published


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names the tag: any, or one of a list; weak tags count as equal (RFC 9110).

    >>> matches('W/"b", "a"', '"a"')
    True
    """
    if if_none_match.strip() == "*":
        return True
    return etag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))
