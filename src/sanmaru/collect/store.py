"""The raw store: every answer as it came, kept once by its content, before anything is read from it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sanmaru.collect.base import Answer, Problem, Request
from sanmaru.collect.catalogue import Catalogue, unstamp
from sanmaru.collect.keys import Scrubber
from sanmaru.errors import DataError
from sanmaru.files import whole

KEPT_HEADERS = ("content-type", "date", "etag", "last-modified", "retry-after", "content-encoding")
_COLUMNS = "id, url, params, page, fetched_at, status, headers, body"


class RawStore:
    """Answers in `answers/ab/abcd….gz`, named by the SHA-256 of their bytes, and a catalogue beside them.

    An answer's file is complete before the catalogue names it. A crash in between leaves a file that nothing names;
    the request is then made again, and an equal answer finds its file there.

    Args:
        folder: Of the store; made where absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalogue = Catalogue(folder / "catalogue.db")

    def __enter__(self) -> RawStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalogue.close()

    def put(self, body: bytes) -> str:
        """Keep bytes and return their name; equal bytes are kept once."""
        digest = hashlib.sha256(body).hexdigest()
        path = self._path(digest)
        if not path.exists():
            with whole(path) as beside:
                beside.write_bytes(gzip.compress(body, compresslevel=6, mtime=0))
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of a name.

        Raises:
            DataError: when the file is absent or is not what it was.
        """
        path = self._path(digest)
        try:
            body = gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            raise DataError(
                f"{path} is absent, though the catalogue names it. Bring it back, or collect again."
            ) from None
        except (OSError, EOFError) as error:
            raise DataError(f"{path} cannot be unpacked ({error}). Bring it back from a copy.") from None
        if hashlib.sha256(body).hexdigest() != digest:
            raise DataError(f"{path} was altered: its content is not what its name says. Bring it back from a copy.")
        return body

    def keep(self, source: str, sweep: int, answer: Answer, problem: Problem | None, scrubber: Scrubber) -> Answer:
        """Keep an answer, good or bad, and return it with its number and without secrets that it echoes."""
        body = scrubber.data(answer.body)
        headers = {k: scrubber.text(v) for k, v in answer.headers.items() if k.lower() in KEPT_HEADERS}
        number = self.catalogue.add_attempt(
            source=source,
            sweep=sweep,
            request=answer.request.key,
            url=answer.request.url,
            params=answer.request.params,
            page=answer.request.page,
            fetched_at=answer.fetched_at,
            status=answer.status,
            headers=headers,
            body=self.put(body),
            size=len(body),
            problem=None if problem is None else f"{problem.kind}: {scrubber.text(problem.text)}"[:500],
        )
        return Answer(
            request=answer.request,
            status=answer.status,
            headers=headers,
            body=body,
            fetched_at=answer.fetched_at,
            id=number,
        )

    def keep_failure(self, source: str, sweep: int, request: Request, now: datetime, problem: Problem) -> None:
        """Record an attempt that brought no answer; `problem` carries no secret."""
        self.catalogue.add_attempt(
            source=source,
            sweep=sweep,
            request=request.key,
            url=request.url,
            params=request.params,
            page=request.page,
            fetched_at=now,
            status=None,
            headers={},
            body=None,
            size=0,
            problem=f"{problem.kind}: {problem.text}"[:500],
        )

    def good(self, source: str, request: Request, sweep: int | None = None) -> Answer | None:
        """Return the newest answer to a request that had no problem, of one collection or of any."""
        found = self.catalogue.rows(
            f"SELECT {_COLUMNS} FROM attempts WHERE source = ? AND request = ? AND problem IS NULL "
            "AND body IS NOT NULL AND (? IS NULL OR sweep = ?) ORDER BY id DESC LIMIT 1",
            (source, request.key, sweep, sweep),
        )
        return self._answer(found[0]) if found else None

    def answers(self, source: str, since: datetime | None = None, until: datetime | None = None) -> Iterator[Answer]:
        """Yield the good answers of a source in the order in which they came.

        Args:
            source: Its name.
            since: Only those fetched at or after this moment.
            until: Only those fetched before this moment.
        """
        from sanmaru.collect.catalogue import stamp

        found = self.catalogue.rows(
            f"SELECT {_COLUMNS} FROM attempts WHERE source = ? AND problem IS NULL AND body IS NOT NULL "
            "AND fetched_at >= ? AND fetched_at < ? ORDER BY fetched_at, id",
            (source, stamp(since) if since else "", stamp(until) if until else "~"),
        )
        for row in found:
            yield self._answer(row)

    def _answer(self, row: Any) -> Answer:
        return Answer(
            request=Request(url=row["url"], params=json.loads(row["params"]), page=row["page"]),
            status=row["status"],
            headers=json.loads(row["headers"]),
            body=self.get(row["body"]),
            fetched_at=unstamp(row["fetched_at"]),
            id=row["id"],
        )

    def _path(self, digest: str) -> Path:
        return self.folder / "answers" / digest[:2] / f"{digest}.gz"
