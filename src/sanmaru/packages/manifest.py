"""The manifest of a package: which files belong to it and what their bytes hash to."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from sanmaru.errors import PackageError
from sanmaru.files import sha256, write_json

FORMAT = 1
"""Raised when an older Sanmaru could no longer read what a newer one writes."""

NAME = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Hash every file below `folder` and write the manifest, last of all files."""
    from importlib.metadata import version

    files = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / NAME
    }
    write_json(folder / NAME, {"format": FORMAT, "sanmaru": version("sanmaru"), "files": files})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a manifest and check its form, not yet the files.

    Raises:
        PackageError: when there is none, or it is unreadable or of a newer format.
    """
    path = folder / NAME
    if not path.is_file():
        raise PackageError(f"{folder} is no model package: it has no {NAME}. A run's package lies in RUN/package.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, files = manifest["format"], manifest["files"]
    except (ValueError, KeyError, TypeError) as error:
        message = f"{path} is damaged ({error}). Make the package again, or register the run again."
        raise PackageError(message) from error
    if not isinstance(found, int) or found > FORMAT:
        raise PackageError(
            f"{folder} has package format {found}, written by Sanmaru {manifest.get('sanmaru', 'unknown')}; "
            f"this version reads formats up to {FORMAT}. Upgrade with: pip install --upgrade sanmaru"
        )
    if not isinstance(files, dict) or not files:
        raise PackageError(f"{path} names no files. Make the package again, or register the run again.")
    return dict(manifest)


def verify(folder: Path) -> str:
    """Check every file that the manifest names, and return the package's fingerprint.

    The fingerprint is the SHA-256 of the manifest, and so covers every file.

    Raises:
        PackageError: naming the files that are missing or altered.
    """
    files = read_manifest(folder)["files"]
    missing, altered = [], []
    for name, digest in files.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or "\\" in name:
            raise PackageError(f"the manifest of {folder} names {name!r}, which lies outside the package.")
        path = folder / relative
        if not path.is_file():
            missing.append(name)
        elif sha256(path) != digest:
            altered.append(name)
    if missing or altered:
        told = [
            f"{len(names)} {what} ({', '.join(names[:3])})"
            for what, names in (("missing", missing), ("altered since it was written", altered))
            if names
        ]
        raise PackageError(
            f"the package {folder} is not intact: {' and '.join(told)}, of {len(files)} files. "
            "Register the run again, or copy the package again from where it was made."
        )
    return sha256(folder / NAME)
