"""The small interface of a place that keeps bytes under keys; `local` and `s3` are the two there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sanmaru.errors import UserError


class StorageError(UserError):
    """Storage does not answer, refuses, or holds something else than its manifest says."""


class ChangedError(StorageError):
    """Another writer committed between reading and committing: read again, and commit what follows from that."""


class TakenError(Exception):
    """The key exists already, and was to be made anew."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One key of a listing."""

    key: str
    size: int
    """Bytes."""
    modified: datetime
    """By the clock of the place, UTC."""


class Objects(Protocol):
    """Bytes under keys. A key is a path of `/`-separated parts; what is put appears whole or not at all."""

    place: str
    """For messages, without secrets."""

    def conditional(self) -> bool:
        """Whether `create` is honoured: of two writers of one key exactly one succeeds."""
        ...

    def put(self, key: str, content: bytes | Path, *, create: bool = False) -> None:
        """Store bytes or a file under a key.

        Raises:
            TakenError: with `create`, when the key exists.
            StorageError: when the place does not take it.
        """
        ...

    def get(self, key: str) -> Iterator[bytes]:
        """Return the content of a key in pieces.

        Raises:
            KeyError: when there is none.
            StorageError: when the place does not answer.
        """
        ...

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Yield what lies below a prefix (whole parts of a path), in any order; with `after`, keys beyond it."""
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete keys; those that are gone already are passed over."""
        ...
