"""Data sets from a URL with a checksum or, where `SANMARU_DATA` names a folder, from there.

A file's checksum is the SHA-256 of its bytes. An archive's is the SHA-256 of a listing of the files taken from it, so
that it holds however the host packs them anew.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sanmaru.errors import DataError
from sanmaru.files import sha256

VARIABLE = "SANMARU_DATA"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file, or some files of a zip archive."""

    url: str
    sha256: str
    """Of the file; of `listing` of the files taken, where `members` says that this is an archive."""
    to: str
    """Where the file, or the folder of files taken, is put, relative to the data set's raw folder."""
    members: tuple[str, ...] = ()
    """Patterns (as of `fnmatch`) of paths inside the archive's one top folder. What matches is put into `to` under its
    own path; directories named in front of the first pattern sign are kept."""


def obtain(
    name: str,
    downloads: Sequence[Download],
    convert: Callable[[Path, Path], None],
    *,
    cache: Path | None = None,
    timeout_s: float = 60,
) -> Path:
    """Return the folder of a data set, laid out as its recipe reads it.

    Args:
        name: The data set; a folder of that name is looked for in the folder that `SANMARU_DATA` names.
        downloads: What is fetched where the variable is not set.
        convert: Called with the raw folder and an empty one to fill with the layout.
        cache: Where downloaded sets are kept; `sanmaru/recipes` in the user's cache folder where absent.
        timeout_s: Of one wait for the network.

    Raises:
        DataError: when `SANMARU_DATA` lacks the set, a URL cannot be read, or a checksum differs.
    """
    local = os.environ.get(VARIABLE)
    if local:
        folder = Path(local).expanduser() / name
        if not folder.is_dir():
            raise DataError(
                f"{VARIABLE} is {local}, and there is no folder {name} in it. Put the data set there as the recipe's "
                f"README says, or unset {VARIABLE} to have it downloaded."
            )
        return folder.resolve()
    folder = (cache or user_cache()) / name
    ready = folder / "ready"
    if ready.is_dir():
        return ready
    raw, part = folder / "raw", folder / "part"
    raw.mkdir(parents=True, exist_ok=True)
    for download in downloads:
        _fetch(download, raw, name, timeout_s)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    convert(raw, part)
    part.rename(ready)  # only a whole conversion is ever called ready
    return ready


def user_cache() -> Path:
    """Return the folder where downloaded data sets are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sanmaru" / "recipes"


def listing(folder: Path, files: Iterable[Path]) -> str:
    """Return a line `<sha256>  <path below folder>` per file, sorted by path: what an archive's checksum is over."""
    paths = sorted((path.relative_to(folder).as_posix(), path) for path in files)
    return "".join(f"{sha256(path)}  {relative}\n" for relative, path in paths)


def _fetch(download: Download, raw: Path, name: str, timeout_s: float) -> None:
    target = raw / download.to
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with urllib.request.urlopen(download.url, timeout=timeout_s) as response, part.open("wb") as handle:
            shutil.copyfileobj(response, handle, _CHUNK)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{download.url} cannot be fetched ({error}). Get the data set another way, put it into a folder as the "
            f"recipe's README says, and name the folder above it: export {VARIABLE}=DIR (with DIR/{name})."
        ) from error
    if not download.members:
        _check(sha256(part), download, part, name)
        part.replace(target)
        return
    unpacked = target.with_name(target.name + ".unpacked")
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    _unpack(part, unpacked, download)
    text = listing(unpacked, (path for path in unpacked.rglob("*") if path.is_file()))
    _check(hashlib.sha256(text.encode()).hexdigest(), download, unpacked, name)
    unpacked.replace(target)
    part.unlink()


def _check(found: str, download: Download, kept: Path, name: str) -> None:
    if found != download.sha256:
        raise DataError(
            f"what {download.url} gave is not what the recipe was written for: SHA-256 {found} in place of "
            f"{download.sha256} (kept for a look at {kept}). Remove it and try again; or, if you trust other data, put "
            f"it into a folder and name the one above it: export {VARIABLE}=DIR (with DIR/{name})."
        )


def _unpack(archive: Path, folder: Path, download: Download) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                inside = PurePosixPath(*PurePosixPath(entry.filename).parts[1:])  # GitHub puts all into one folder
                taken = any(fnmatch.fnmatchcase(str(inside), pattern) for pattern in download.members)
                if entry.is_dir() or not taken or ".." in inside.parts:
                    continue
                target = folder / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as handle:
                    shutil.copyfileobj(source, handle, _CHUNK)
    except zipfile.BadZipFile as error:
        raise DataError(f"{download.url} gave no zip archive ({error}); {archive} holds what came.") from error
