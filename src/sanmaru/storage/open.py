"""Storage by URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sanmaru.errors import ProjectFileError, nearest
from sanmaru.storage.local import LocalObjects
from sanmaru.storage.s3 import S3Objects
from sanmaru.storage.storage import Storage

_OPTIONS = ("endpoint", "region", "conditional", "timeout_s")


def open_storage(url: str, folder: Path, key: str = "storage") -> Storage:
    """Return the storage that a URL names; nothing is asked of it yet.

    Args:
        url: A folder (`file://` or plain; relative ones lie in `folder`), or
            `s3://bucket/prefix?endpoint=http://host:9000&region=...&conditional=yes|no&timeout_s=30`.
            Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, never from the URL.
        folder: The project's.
        key: Of the project file where the URL stands, for messages.

    Raises:
        ProjectFileError: for another URL.
        MissingExtraError: for `s3://` without the extra `s3`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     storage = open_storage("published", Path(place))
        ...     version = storage.commit("forecast", {"a.txt": b"42"}).version
        ...     (version, storage.read(storage.latest("forecast"), "a.txt"))
        (1, b'42')
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Storage(LocalObjects(Path(unquote(parts.path))))
    if parts.scheme == "" or (len(parts.scheme) == 1 and "://" not in url):  # a drive's letter is no scheme
        if not url.strip():
            raise ProjectFileError(f"{key} is empty. Write a folder, or s3://bucket/prefix.")
        return Storage(LocalObjects(folder / url))
    if parts.scheme != "s3":
        raise ProjectFileError(
            f"{key} {url!r}: storage is a folder or s3://bucket/prefix, not {parts.scheme}://. "
            "S3-compatible servers are named by ?endpoint=http://host:port."
        )
    if "@" in parts.netloc:
        raise ProjectFileError(
            f"{key}: keys do not belong in the URL of storage, where logs would show them. Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY instead."
        )
    if not parts.netloc:
        raise ProjectFileError(f"{key} {url!r} names no bucket. Write s3://bucket/prefix.")
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    for name in options:
        if name not in _OPTIONS:
            raise ProjectFileError(f"{key} {url!r}: unknown option {name!r}. {nearest(name, _OPTIONS)}")
    conditional = options.get("conditional")
    if conditional not in (None, "yes", "no"):
        raise ProjectFileError(f"{key} {url!r}: conditional is yes or no, got {conditional!r}.")
    try:
        timeout_s = float(options.get("timeout_s", 30))
    except ValueError:
        raise ProjectFileError(f"{key} {url!r}: timeout_s is a number of seconds.") from None
    return Storage(
        S3Objects(
            parts.netloc,
            unquote(parts.path).strip("/"),
            endpoint=options.get("endpoint"),
            region=options.get("region"),
            conditional=None if conditional is None else conditional == "yes",
            timeout_s=timeout_s,
        )
    )
