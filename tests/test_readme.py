"""The README's own commands and code, run as a reader would run them."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from sanmaru.cli.demo_data import write_diabetes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """The `sanmaru` commands of the README, comments cut off, `&&` taken apart."""
    lines = [line.split("#")[0] for block in blocks("console") for line in block.splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    return [shlex.split(part) for part in parts if part.strip().startswith("sanmaru")]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", *args],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"sanmaru {shlex.join(args)}\n{done.stdout}\n{done.stderr}"
    return done


@contextlib.contextmanager
def serving(folder: Path, *args: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "from sanmaru.cli.main import main; main()"
    server = subprocess.Popen([sys.executable, "-c", program, *args, "--port", str(port)], cwd=folder)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def get(url: str, body: bytes | None = None) -> str:
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"} if body else {})
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            get(f"{url}/ready")
            return
        except OSError:
            assert time.monotonic() < deadline, "the server was not ready within 60 s"
            time.sleep(0.2)


@pytest.mark.slow
def test_the_five_calls_and_the_python_code_do_what_they_say(tmp_path: Path) -> None:
    write_diabetes(tmp_path)
    found = commands()
    assert [command[1] for command in found] == ["new", "train", "train", "compare", "register", "promote", "serve"]
    for command in found[:-1]:
        run(tmp_path, *command[1:])
    with serving(tmp_path, *found[-1][1:]) as url:
        wait_until_ready(url)
        row = pl.read_csv(tmp_path / "test.csv").drop("id").row(0, named=True)
        answer = json.loads(get(f"{url}/predict", json.dumps({"rows": [row]}).encode()))
        assert answer["version"] == 1
        assert 25 <= answer["predictions"][0]["progression"] <= 346  # the range of the target in the data

    (code,) = blocks("python")
    program = f"import polars as pl\nframe = pl.read_csv('test.csv')\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "progression" in done.stdout


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^make (\w+)", "\n".join(blocks("console")), flags=re.MULTILINE)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert len(links) >= 6
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []
