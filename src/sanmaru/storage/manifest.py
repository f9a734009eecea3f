"""A manifest: what one version of a name consists of. It is written last, and readers take only what it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sanmaru.storage.objects import StorageError

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file of a version."""

    key: str
    """Where its bytes lie; never written twice."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One committed version of a name."""

    name: str
    version: int
    """Counts up from 1. Without conditional puts two writers may reach the same one; `key` then orders them."""
    created: datetime
    """By the writer's clock, UTC."""
    files: Mapping[str, StoredFile]
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What the writer wanted said with it: plain JSON."""
    key: str = ""
    """Of the manifest itself."""

    def same_content(self, files: Mapping[str, tuple[int, str]], meta: Mapping[str, Any]) -> bool:
        """Whether files of these (size, sha256) with this meta would be this version over again."""
        own = {name: (file.size, file.sha256) for name, file in self.files.items()}
        return own == dict(files) and json.dumps(self.meta, sort_keys=True) == json.dumps(meta, sort_keys=True)


def write_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON with a digest of itself, by which a damaged one is known."""
    body = {
        "format": FORMAT,
        "name": manifest.name,
        "version": manifest.version,
        "created": manifest.created.isoformat(),
        "meta": dict(manifest.meta),
        "files": {
            name: {"key": file.key, "size": file.size, "sha256": file.sha256}
            for name, file in sorted(manifest.files.items())
        },
    }
    return (json.dumps({**body, "digest": _digest(body)}, indent=1, ensure_ascii=False) + "\n").encode()


def read_manifest(content: bytes, key: str, place: str) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        StorageError: when it is damaged, or newer than this version of Sanmaru.
    """
    try:
        body = json.loads(content)
        digest = body.pop("digest")
        if body["format"] > FORMAT:
            raise StorageError(
                f"the manifest {key!r} in {place} has format {body['format']}; this version of Sanmaru reads {FORMAT}. "
                "Update Sanmaru."
            )
        if digest != _digest(body):
            raise ValueError("its digest is another")
        return Manifest(
            name=body["name"],
            version=body["version"],
            created=datetime.fromisoformat(body["created"]),
            files={name: StoredFile(**file) for name, file in body["files"].items()},
            meta=body["meta"],
            key=key,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(
            f"the manifest {key!r} in {place} is damaged ({error}). Delete it: the version before it then counts."
        ) from error


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
