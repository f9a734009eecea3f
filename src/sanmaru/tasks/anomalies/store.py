"""A folder of files with their hashes: read only as it was written."""

from __future__ import annotations

from pathlib import Path

from sanmaru.errors import PackageError
from sanmaru.files import read_json, sha256, write_json

NAME = "manifest.json"
FORMAT = 1


def seal(folder: Path) -> None:
    """Write the manifest, last of all files."""
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / NAME, {"format": FORMAT, "kind": "anomaly-detector", "files": files})


def check(folder: Path) -> str:
    """Check every file against the manifest, and return the manifest's SHA-256, which covers them all.

    Raises:
        PackageError: when there is no manifest, it is of a newer format, or a file is missing or altered.
    """
    path = folder / NAME
    if not path.is_file():
        raise PackageError(f"{folder} holds no detector: it has no {NAME}. Make one with: sanmaru anomalies fit")
    try:
        manifest = read_json(path)
        format_, kind, files = manifest["format"], manifest["kind"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise PackageError(f"{path} is damaged ({error}). Fit the detector again.") from error
    if kind != "anomaly-detector":
        raise PackageError(f"{folder} holds a {kind}, not an anomaly-detector.")
    if not isinstance(format_, int) or format_ > FORMAT:
        raise PackageError(
            f"{folder} has format {format_}; this version reads up to {FORMAT}. Upgrade with: pip install -U sanmaru"
        )
    for name, digest in files.items():
        inside = (folder / name).resolve()
        if not inside.is_relative_to(folder.resolve()):
            raise PackageError(f"the manifest of {folder} names {name!r}, which lies outside of it.")
        if not inside.is_file():
            raise PackageError(f"the detector {folder} is not intact: {name} is missing. Copy or fit it again.")
        if sha256(inside) != digest:
            raise PackageError(f"the detector {folder} is not intact: {name} was altered. Copy or fit it again.")
    return sha256(path)
