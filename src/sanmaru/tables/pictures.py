"""Pictures as rows: a folder per class, and paths in a column. Only presence is checked here; decoding comes later."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sanmaru.errors import DataError

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"),
        *(".jp2", ".j2k", ".avif", ".ico", ".mpo", ".heic", ".heif"),
    }
)
"""HEIC is not read, but belongs to the pictures that are set aside with a reason, not to those passed over."""
IMAGE, LABEL, PATH, FOLDER = "image", "label", "path", "folder"
"""Columns of a table made from a folder: absolute path, class, relative path (the id), and, where pictures lie deeper
than their class, the folder between class and picture (often the person or the thing photographed)."""


@dataclass(frozen=True)
class Listing:
    """The pictures of a folder."""

    table: pl.DataFrame
    """Columns `path`, `image`, with classes also `label`, and `folder` where pictures lie deeper; sorted by path."""
    ignored: tuple[str, ...]
    """Relative paths of files that are no pictures. Hidden files and folders are neither taken nor counted."""


def list_folder(folder: Path, *, labelled: bool) -> Listing:
    """List the pictures under a folder.

    Args:
        folder: With one sub-folder per class when `labelled`.
        labelled: Whether the first sub-folder of a picture is its class; pictures outside of one are then ignored.

    Raises:
        DataError: when there is no picture, or no folder per class.
    """
    relative, ignored, loose = [], [], []
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in files:
            if name.startswith(".") or name == "Thumbs.db":
                continue
            path = Path(base, name).relative_to(folder).as_posix()
            if Path(name).suffix.lower() not in SUFFIXES:
                ignored.append(path)
            elif labelled and "/" not in path:
                loose.append(path)
            else:
                relative.append(path)
    relative.sort()
    if not relative:
        if loose:
            raise DataError(
                f"{folder} holds {len(loose):,} pictures but no folder per class. Put each class into a folder of its "
                "own, or give a csv with paths and labels."
            )
        found = f"{len(ignored):,} other files" if ignored else "nothing"
        raise DataError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))}), but {found}.")
    parts = [path.split("/") for path in relative]
    table = pl.DataFrame({PATH: relative, IMAGE: [str(folder / path) for path in relative]})
    depth = 1 if labelled else 0
    if labelled:
        table = table.with_columns(pl.Series(LABEL, [part[0] for part in parts]))
    if any(len(part) > depth + 1 for part in parts):
        table = table.with_columns(pl.Series(FOLDER, ["/".join(part[depth:-1]) or None for part in parts], pl.String))
    return Listing(table, tuple(sorted(ignored + loose)))


def resolve(paths: pl.Series, folder: Path) -> tuple[pl.Series, pl.Series]:
    """Return absolute paths, and a Boolean series that is true where no file lies there (or no path is given)."""
    listed: dict[str, set[str]] = {}
    out: list[str | None] = []
    missing: list[bool] = []
    for text in paths.to_list():
        if text is None:
            out.append(None)
            missing.append(True)
            continue
        path = os.path.normpath(folder / text)
        if not _is_file(path, listed) and "\\" in text:  # written on Windows
            path = os.path.normpath(folder / text.replace("\\", "/"))
        out.append(path)
        missing.append(not _is_file(path, listed))
    return pl.Series(paths.name, out, dtype=pl.String), pl.Series(missing, dtype=pl.Boolean)


def parents(paths: pl.Series) -> pl.Series:
    """Return the folder part of each path, as text; null for a path without one."""
    return paths.str.strip_chars().str.replace_all(r"\\", "/").str.extract(r"^(?:\./)?(.+)/[^/]+$")


def _is_file(path: str, listed: dict[str, set[str]]) -> bool:
    """Look a file up in its folder's listing: one system call per folder instead of one per picture."""
    parent, name = os.path.split(path)
    if parent not in listed:
        try:
            with os.scandir(parent) as entries:
                listed[parent] = {entry.name for entry in entries if entry.is_file()}
        except OSError:
            listed[parent] = set()
    return name in listed[parent]
