"""What tests of collectors share: a server on this machine, and a key in the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.collect.answering import KEY, Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that runs during the test."""
    one = Server()
    yield one
    one.close()


@pytest.fixture
def service_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment, percent-encoded as data.go.kr hands it out."""
    monkeypatch.setenv("DATA_GO_KR_KEY", "a%2Bsecret%2Fkey%3D%3D")
    return KEY
