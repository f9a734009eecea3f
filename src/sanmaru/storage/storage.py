"""Versions of files in a place that knows only single objects: unique keys first, the manifest last.

    NAME/data/20261121T091500Z-1f0c9a2b44d1/forecast.parquet     written once, never again
    NAME/manifests/0000000042.json                               names the files of version 42, with hashes
    NAME/latest.json                                             a hint where to look first; may lag behind

A writer that dies before its manifest has changed nothing that a reader sees. A version's number is taken by putting
its manifest on condition that it is new, so that of two writers one gets it and the other the next. Servers that ignore
the condition are found out; there the manifest's key ends in a token of its own, both versions stay, and the greater
key counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sanmaru.errors import nearest
from sanmaru.files import sha256, whole
from sanmaru.storage.local import LocalObjects
from sanmaru.storage.manifest import Manifest, StoredFile, read_manifest, write_manifest
from sanmaru.storage.objects import ChangedError, Objects, StorageError, StoredObject, TakenError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*(/[A-Za-z0-9][A-Za-z0-9_.=-]*)*")
_FILE = re.compile(r"[^/\\\0.][^/\\\0]*(/[^/\\\0.][^/\\\0]*)*")
TRIES = 100
"""Versions tried for one commit while other writers take them."""


class Storage:
    """Named, versioned sets of files in a local folder or a bucket."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def commit(
        self,
        name: str,
        files: Mapping[str, bytes | Path],
        *,
        meta: Mapping[str, Any] | None = None,
        expected: int | None = None,
    ) -> Manifest:
        """Store files as the next version of `name`; readers see all of them or none.

        The same files with the same meta as the newest version are that version: a repeated step changes nothing.

        Args:
            name: Path of letters, digits, `_.=-` and `/`.
            files: Names to bytes or local files.
            meta: Kept in the manifest; plain JSON.
            expected: The version that the files were made from (0: there was none). If it is no longer the newest,
                nothing is committed. Certain only where the place honours conditional puts; elsewhere two writers of
                one moment may both succeed.

        Raises:
            ChangedError: when another version than `expected` is the newest.
            ValueError: for a name that cannot be a key.
            StorageError: when the place does not take them; the newest version is then what it was.
        """
        _check(name, files)
        meta = dict(meta or {})
        facts = {file: _facts(content) for file, content in files.items()}
        newest = self.latest(name)
        if newest is not None and newest.same_content(facts, meta):
            return newest
        version = newest.version if newest else 0
        if expected is not None and expected != version:
            raise self._changed(name, expected)
        now = datetime.now(UTC)
        folder = f"{name}/data/{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(6)}"
        stored = {}
        for file, content in files.items():
            key = f"{folder}/{file}"
            self.objects.put(key, content)
            stored[file] = StoredFile(key=key, size=facts[file][0], sha256=facts[file][1])
        for _ in range(TRIES):
            version += 1
            manifest = Manifest(name=name, version=version, created=now, files=stored, meta=meta)
            try:
                return self._put_manifest(manifest)
            except TakenError:
                if expected is not None:
                    raise self._changed(name, expected) from None
        raise StorageError(
            f"{TRIES} versions of {name!r} in {self.objects.place} were taken by other writers meanwhile. "
            "Let fewer of them write one name at once."
        )

    def _changed(self, name: str, expected: int) -> ChangedError:
        return ChangedError(
            f"{name!r} in {self.objects.place} is no longer at version {expected}: another writer was first. "
            "Read it again."
        )

    def _put_manifest(self, manifest: Manifest) -> Manifest:
        conditional = self.objects.conditional()
        token = "" if conditional else f"-{secrets.token_hex(6)}"
        key = f"{manifest.name}/manifests/{manifest.version:010d}{token}.json"
        self.objects.put(key, write_manifest(manifest), create=conditional)
        hint = json.dumps({"version": manifest.version, "manifest": key}).encode()
        self.objects.put(f"{manifest.name}/latest.json", hint)
        return Manifest(**{**manifest.__dict__, "key": key})

    def latest(self, name: str) -> Manifest | None:
        """Return the newest version of a name, or None."""
        # The hint is written after the manifest and may be older than the newest one, or overwritten by a slower
        # writer with an older one; what it names exists, so the newest is it or comes after it.
        folder = f"{name}/manifests"
        try:
            hinted = str(json.loads(self._get(f"{name}/latest.json"))["manifest"])
        except (KeyError, ValueError, TypeError):
            hinted = ""
        if not hinted.startswith(f"{folder}/"):
            hinted = ""
        keys = [one.key for one in self.objects.list(folder, after=hinted)]
        for key in (*sorted(keys, reverse=True), hinted):
            if key:
                try:
                    return read_manifest(self._get(key), key, self.objects.place)
                except KeyError:  # pruned between the listing and here
                    continue
        if hinted:  # the hint names something that is gone
            keys = sorted((one.key for one in self.objects.list(folder)), reverse=True)
            return read_manifest(self._get(keys[0]), keys[0], self.objects.place) if keys else None
        return None

    def versions(self, name: str) -> list[Manifest]:
        """Return every version of a name that is kept, oldest first."""
        keys = sorted(one.key for one in self.objects.list(f"{name}/manifests"))
        return [read_manifest(self._get(key), key, self.objects.place) for key in keys]

    def names(self) -> list[str]:
        """Return the names that have a version."""
        return sorted({key.rpartition("/manifests/")[0] for key in self._keys() if "/manifests/" in key})

    def _keys(self) -> Iterator[str]:
        return (one.key for one in self.objects.list(""))

    def read(self, manifest: Manifest, file: str) -> bytes:
        """Return a file of a version.

        Raises:
            KeyError: when the version has no such file.
            StorageError: when what lies there is not what was committed.
        """
        wanted = _file(manifest, file)
        try:
            content = self._get(wanted.key)
        except KeyError:
            raise self._altered(manifest, file, "it is gone") from None
        if len(content) != wanted.size or hashlib.sha256(content).hexdigest() != wanted.sha256:
            raise self._altered(manifest, file, f"{len(content)} bytes that are not the {wanted.size} written")
        return content

    def fetch(self, manifest: Manifest, folder: Path) -> Path:
        """Write every file of a version to `folder`, which appears whole or not at all; returns it.

        Raises:
            StorageError: when what lies there is not what was committed.
        """
        with whole(folder) as beside:
            beside.mkdir()
            for name, file in manifest.files.items():
                target = beside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                try:
                    with target.open("wb") as handle:
                        for piece in self.objects.get(file.key):
                            digest.update(piece)
                            handle.write(piece)
                except KeyError:
                    raise self._altered(manifest, name, "it is gone") from None
                if digest.hexdigest() != file.sha256:
                    raise self._altered(manifest, name, f"{target.stat().st_size} bytes, hash {digest.hexdigest()}")
        return folder

    def prune(self, *, older_than: timedelta = timedelta(days=1), keep: int | None = None) -> list[str]:
        """Delete what no manifest names, once it is old enough that no writer can still be at work on it.

        Args:
            older_than: Age by the clock of the place; must exceed the longest commit.
            keep: Newest versions kept of each name (at least 1); older manifests go first. None keeps all.

        Returns:
            The keys deleted.

        Raises:
            ValueError: for keep < 1.
        """
        if keep is not None and keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}: the newest version of a name is never pruned.")
        listed = list(self.objects.list(""))
        before = datetime.now(UTC) - older_than
        manifests: dict[str, list[StoredObject]] = {}
        for one in listed:
            name, found, _ = one.key.rpartition("/manifests/")
            if found:
                manifests.setdefault(name, []).append(one)
        gone, named = [], set()
        for kept in manifests.values():
            kept.sort(key=lambda one: one.key)
            old = [one for one in kept[: -keep if keep else 0] if one.modified < before]
            gone += [one.key for one in old]
            for one in kept:
                if one not in old:
                    manifest = read_manifest(self._get(one.key), one.key, self.objects.place)
                    named |= {file.key for file in manifest.files.values()}
        # Manifests first: a version is never seen without its files.
        self.objects.delete(gone)
        data = [
            one.key
            for one in listed
            if ("/data/" in one.key and one.key not in named and one.modified < before)
            or (one.key.startswith(".probe-") and one.modified < before)
        ]
        self.objects.delete(data)
        if isinstance(self.objects, LocalObjects):
            for path, modified in self.objects.leftovers():
                if modified < before:
                    path.unlink(missing_ok=True)
        return gone + data

    def _get(self, key: str) -> bytes:
        return b"".join(self.objects.get(key))

    def _altered(self, manifest: Manifest, file: str, how: str) -> StorageError:
        return StorageError(
            f"{file!r} of {manifest.name} version {manifest.version} in {self.objects.place} is not what was "
            f"committed: {how}. Restore it from a copy, or commit again."
        )


def _check(name: str, files: Mapping[str, bytes | Path]) -> None:
    if not _NAME.fullmatch(name) or {"data", "manifests"} & set(name.split("/")):
        raise ValueError(
            f"name must be letters, digits and _.=- between slashes, without the parts 'data' and 'manifests'; "
            f"got {name!r}"
        )
    if not files:
        raise ValueError(f"nothing to commit as {name!r}: files is empty")
    for file in files:
        if not _FILE.fullmatch(file):
            raise ValueError(f"a file's name must be a relative path without parts that begin with a dot; got {file!r}")


def _facts(content: bytes | Path) -> tuple[int, str]:
    if isinstance(content, Path):
        return content.stat().st_size, sha256(content)
    return len(content), hashlib.sha256(content).hexdigest()


def _file(manifest: Manifest, file: str) -> StoredFile:
    try:
        return manifest.files[file]
    except KeyError:
        raise KeyError(
            f"{manifest.name} version {manifest.version} has no file {file!r}. {nearest(file, manifest.files)}"
        ) from None
