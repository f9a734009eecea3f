"""API keys, kept as hashes. `python -m sanmaru.serving.keys NAME >> keys.txt` makes one.

A keys file has one key a line: a name, a space, and `sha256:` with the key's digest. Lines that start with # are
comments. The key itself is shown once, when it is made, and stands nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from sanmaru.errors import UserError

ENVIRONMENT = "SANMARU_API_KEYS"
"""Keys in plain text, separated by commas; for platforms that hand secrets over as variables."""
_LINE = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-f]{64})")


class Keys:
    """The keys that open `/predict`. Without any, it is open to everybody.

    Args:
        file: A keys file; read again when it changes, so that a key can be withdrawn without a restart.
        plain: Keys in plain text.

    Raises:
        UserError: when the file is absent, holds no key, or has a line that is none.
    """

    def __init__(self, file: Path | None = None, plain: tuple[str, ...] = ()) -> None:
        self.file = file
        self._plain = {hashlib.sha256(key.encode()).digest(): f"key {n}" for n, key in enumerate(plain)}
        self._stamp: tuple[int, int] | None = None
        self._names: dict[bytes, str] = dict(self._plain)
        if file is not None:
            self._read(file)
        self.active = bool(self._names)

    @classmethod
    def from_environment(cls, file: Path | None = None) -> Keys:
        """Take keys from a file, and from `SANMARU_API_KEYS`."""
        texts = os.environ.get(ENVIRONMENT, "").split(",")
        return cls(file, tuple(text.strip() for text in texts if text.strip()))

    def name(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the name of the key that a request carries; None where it carries none that is known."""
        given = headers.get(b"x-api-key")
        if given is None:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer":
                return None
        digest = hashlib.sha256(given.strip()).digest()
        # Every known digest is compared, each in constant time: what was nearly right cannot be measured.
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def refresh(self) -> bool:
        """Read the file again if it changed, and say whether it did. A file that is gone or broken changes nothing.

        Raises:
            UserError: when the changed file cannot be used; the keys known before stay.
        """
        if self.file is None:
            return False
        try:
            status = self.file.stat()
        except OSError:
            return False
        if (status.st_mtime_ns, status.st_size) == self._stamp:
            return False
        self._read(self.file)
        return True

    def _read(self, file: Path) -> None:
        try:
            status = file.stat()
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the keys file {file} cannot be read: {error}") from error
        self._stamp = (status.st_mtime_ns, status.st_size)
        names: dict[bytes, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise UserError(
                    f"{file}, line {number}: expected `NAME sha256:<64 hexadecimal digits>`. "
                    f"Make a key with: python -m sanmaru.serving.keys NAME >> {file}"
                )
            names[bytes.fromhex(match["digest"])] = match["name"]
        if not names:
            raise UserError(f"{file} holds no key. Make one with: python -m sanmaru.serving.keys NAME >> {file}")
        self._names = {**self._plain, **names}


def new_key(name: str) -> tuple[str, str]:
    """Return a new random key and its line for a keys file."""
    key = "sk-" + secrets.token_urlsafe(32)
    return key, f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}"


if __name__ == "__main__":
    given_key, given_line = new_key(sys.argv[1] if len(sys.argv) > 1 else "default")
    sys.stderr.write(f"key (shown only now): {given_key}\n")
    sys.stdout.write(given_line + "\n")
