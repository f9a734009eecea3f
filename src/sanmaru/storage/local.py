"""Objects as files of a local folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sanmaru.storage.objects import Objects, StorageError, StoredObject, TakenError

PIECE = 1 << 20
"""Bytes read at a time."""
PART = ".part"
"""Ends the names of files that are being written; a listing passes them over."""


class LocalObjects:
    """Keys are paths below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = str(folder)

    @cached_property
    def _links(self) -> bool:
        # Linking a written file to its name fails where the name exists, and is the one such operation that leaves
        # whole files only. Some network file systems have no links.
        probe = self.folder / f".{secrets.token_hex(8)}{PART}"
        other = probe.with_name(f".{secrets.token_hex(8)}{PART}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            os.link(probe, other)
        except OSError:
            return False
        finally:
            probe.unlink(missing_ok=True)
            other.unlink(missing_ok=True)
        return True

    def conditional(self) -> bool:
        """Whether the file system can link."""
        return self._links

    def put(self, key: str, content: bytes | Path, *, create: bool = False) -> None:
        """Write beside, flush, and link or rename into place; the folder is flushed too, so that order survives."""
        path = self._path(key)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as handle:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, handle, PIECE)
                else:
                    handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            if create:
                os.link(beside, path)
            else:
                os.replace(beside, path)
            _flush_folder(path.parent)
        except FileExistsError:
            raise TakenError(key) from None
        except OSError as error:
            raise _error(self.place, key, error) from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def get(self, key: str) -> Iterator[bytes]:
        """Open the file and return its pieces."""
        try:
            handle = self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise KeyError(key) from None
        except OSError as error:
            raise _error(self.place, key, error) from error
        return _pieces(handle)

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """Walk the folder of a prefix."""
        top = self._path(prefix) if prefix else self.folder
        for folder, _, names in os.walk(top):
            for name in names:
                if name.startswith(".") and name.endswith(PART):
                    continue
                path = Path(folder, name)
                key = path.relative_to(self.folder).as_posix()
                if key <= after:
                    continue
                with contextlib.suppress(FileNotFoundError):  # pruned meanwhile
                    status = path.stat()
                    yield StoredObject(
                        key=key, size=status.st_size, modified=datetime.fromtimestamp(status.st_mtime, UTC)
                    )

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, and folders that they leave empty."""
        for key in keys:
            path = self._path(key)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _error(self.place, key, error) from error
            with contextlib.suppress(OSError):  # not empty, or a writer just made it
                path.parent.rmdir()

    def leftovers(self) -> Iterator[tuple[Path, datetime]]:
        """Yield files that a killed writer left half written, with the time of their last change."""
        for path in self.folder.rglob(f".*{PART}"):
            with contextlib.suppress(FileNotFoundError):
                yield path, datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def _path(self, key: str) -> Path:
        return self.folder / key


def _pieces(handle: object) -> Iterator[bytes]:
    from typing import BinaryIO, cast

    with cast("BinaryIO", handle) as opened:
        while piece := opened.read(PIECE):
            yield piece


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _error(place: str, key: str, error: OSError) -> StorageError:
    advice = {
        errno.ENOSPC: "The disk is full: make room, then repeat; what was committed before is untouched.",
        errno.EACCES: "Give this user the right to write there.",
        errno.EROFS: "The file system is read-only; choose another folder.",
    }.get(error.errno or 0, "What was committed before is untouched.")
    return StorageError(f"{key!r} cannot be stored in or read from {place}: {error.strerror or error}. {advice}")


_: type[Objects] = LocalObjects
