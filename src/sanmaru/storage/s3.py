"""Objects of S3-compatible storage, through obstore (the extra `s3`)."""

from __future__ import annotations

import mimetypes
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from sanmaru.errors import import_extra
from sanmaru.storage.objects import Objects, StorageError, StoredObject, TakenError

AT_ONCE = 1000
"""Keys deleted by one request."""


class S3Objects:
    """Keys below a prefix of a bucket.

    Args:
        bucket: Must exist.
        prefix: Path in the bucket, or "".
        endpoint: URL of a server that is not Amazon's, such as `http://127.0.0.1:9000`.
        region: Of the bucket; servers that have none take any.
        conditional: Whether the server honours conditional puts; None finds out with a probe.
        timeout_s: Until a request is given up; it is tried twice more.

    Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN), or the machine's role.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        conditional: bool | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        obstore = import_extra("obstore", "s3")
        stores = import_extra("obstore.store", "s3")
        self._api: Any = obstore
        self._given = conditional
        self.place = f"s3://{bucket}/{prefix}" + (f" at {endpoint}" if endpoint else "")
        self._store = stores.S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=endpoint,
            region=region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            client_options={
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "timeout": timedelta(seconds=timeout_s),
                "connect_timeout": timedelta(seconds=min(5.0, timeout_s)),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=timeout_s)},
        )

    def conditional(self) -> bool:
        """Whether the server honours `If-None-Match: *`; some ignore it and overwrite, so it is tried once."""
        return self._probed if self._given is None else self._given

    @cached_property
    def _probed(self) -> bool:
        key = f".probe-{secrets.token_hex(8)}"
        try:
            self.put(key, b"1", create=True)
            self.put(key, b"2", create=True)
        except TakenError:
            return True
        except StorageError as error:
            if "501" in str(error) or "NotImplemented" in str(error):
                return False
            raise
        finally:
            self.delete([key])
        return False

    def put(self, key: str, content: bytes | Path, *, create: bool = False) -> None:
        """Upload; files of more than a few MB go in parts, which appear together at the end."""
        try:
            mode = {"mode": "create", "use_multipart": False} if create else {}
            # So that a browser shows a page instead of saving it.
            kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
            kind += "; charset=utf-8" if kind.startswith("text/") else ""
            self._api.put(self._store, key, content, attributes={"Content-Type": kind}, **mode)
        except Exception as error:
            if type(error).__name__ in ("AlreadyExistsError", "PreconditionError"):
                raise TakenError(key) from None
            raise self._error(key, error) from error

    def get(self, key: str) -> Iterator[bytes]:
        """Begin a download and return its pieces."""
        try:
            answer = self._api.get(self._store, key)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._error(key, error) from error
            raise KeyError(key) from None
        except Exception as error:
            raise self._error(key, error) from error
        return self._pieces(key, answer)

    def _pieces(self, key: str, answer: Any) -> Iterator[bytes]:
        try:
            for piece in answer.stream():
                yield bytes(piece)
        except Exception as error:
            raise self._error(key, error) from error

    def list(self, prefix: str, after: str = "") -> Iterator[StoredObject]:
        """List a prefix, a page of a thousand keys at a time."""
        try:
            for page in self._api.list(self._store, prefix or None, offset=after or None):
                for one in page:
                    yield StoredObject(key=one["path"], size=one["size"], modified=one["last_modified"])
        except Exception as error:
            raise self._error(prefix, error) from error

    def delete(self, keys: Sequence[str]) -> None:
        """Delete up to a thousand keys by one request."""
        for start in range(0, len(keys), AT_ONCE):
            try:
                self._api.delete(self._store, list(keys[start : start + AT_ONCE]))
            except FileNotFoundError:
                continue
            except Exception as error:
                raise self._error(keys[start], error) from error

    def _error(self, key: str, error: Exception) -> StorageError:
        said = str(error).split("Debug source:")[0].strip().replace("\n", " ")
        name = type(error).__name__
        if "NoSuchBucket" in said:
            advice = "Make the bucket, or mend the URL."
        elif name in ("PermissionDeniedError", "UnauthenticatedError") or "credential" in said.lower():
            advice = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do."
        else:
            advice = "Is the server up, and the endpoint right? What was committed before is untouched."
        return StorageError(f"{self.place} does not take or give {key!r}: {said[:400]} {advice}")


_: type[Objects] = S3Objects
