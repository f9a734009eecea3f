"""Files that appear whole or not at all, and fingerprints of what is in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on leaving, flush it to disk and rename it into place.

    A reader sees the old file or the new one, never a part; on an exception the part is removed and the old
    file stays. `path` may also become a folder: then make one at the yielded path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield beside
        if beside.is_dir():
            replace_folder(beside, path)
        else:
            with beside.open("rb") as handle:
                os.fsync(handle.fileno())
            os.replace(beside, path)
    except BaseException:
        if beside.is_dir():
            import shutil

            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)
        raise


def replace_folder(source: Path, target: Path) -> None:
    """Move folder `source` to `target`, removing an earlier folder there. Both lie on one file system."""
    import shutil

    if target.exists():
        old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
        os.rename(target, old)
        os.rename(source, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(source, target)


def share_folder(source: Path, target: Path) -> None:
    """Make `target` a copy of folder `source` whose files share their bytes on disk where the file system can.

    For files that are never changed in place, as those of estimators and packages; a network's weights would
    otherwise lie on the disk once per run, package and ensemble.
    """
    import shutil

    def link(file: str, copy: str) -> None:
        try:
            os.link(file, copy)
        except OSError:  # another file system, or one without links
            shutil.copy2(file, copy)

    shutil.copytree(source, target, copy_function=link)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; the file appears whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; the file appears whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
