"""A server of the model in production, asked once and ended: the last step of a service's recipe."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanmaru.errors import UserError
from sanmaru.recipes.course import Table

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.project import Project


@contextmanager
def served(project: Project, site: Path, *, timeout_s: float = 120) -> Iterator[str]:
    """Run `sanmaru serve --site` on a free port, and give its address.

    Raises:
        UserError: when it is not ready in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", project.name, "--port", str(port), "--site", str(site), "--project", str(project.folder)]
    path, url = project.folder / "serve.log", f"http://127.0.0.1:{port}"
    with path.open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", "from sanmaru.cli.main import main; main()", *words],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            until = time.monotonic() + timeout_s
            while not _ready(url):
                if server.poll() is not None or time.monotonic() > until:
                    raise UserError(f"the server was not ready within {timeout_s:g} s; what it said: {path}")
                time.sleep(0.2)
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def asked(project: Project, rows: pl.DataFrame, site: Path) -> Table:
    """Have the served model forecast from rows, and open the published page on the same server.

    Args:
        project: With a version in production.
        rows: Long table, its last steps those that are forecast from.
        site: Folder of the published page.

    Raises:
        UserError: when the server does not start, or page and figures are not those of the version that answers.
    """
    target = project.file.data.target_names[0]
    with served(project, site) as url:
        answer, took_s = _answer(url, rows)
        with urllib.request.urlopen(f"{url}/forecast.json", timeout=60) as page:
            published = json.load(page)
        with urllib.request.urlopen(f"{url}/forecast", timeout=60) as page:
            shown = page.read().decode()
    if "<html" not in shown or str(answer["version"]) != str(published["model"]["version"]):
        raise UserError(
            f"version {answer['version']} answers, and the page at /forecast tells of version "
            f"{published['model']['version']}."
        )
    steps = answer["predictions"][0]["forecast"]
    first = steps[0]
    return Table(
        title="`sanmaru serve --site`, asked once",
        header=("answered by", "steps", f"{target} of the first", "took", "page at /forecast"),
        rows=(
            (
                f"{answer['model']}@{answer['version']}",
                f"{len(steps)}",
                f"{first[target]:.0f} ({first[f'{target}.q10']:.0f} to {first[f'{target}.q90']:.0f})",
                f"{took_s * 1000:.0f} ms",
                f"{len(shown) // 1000} kB",
            ),
        ),
    )


def _answer(url: str, rows: pl.DataFrame) -> tuple[Any, float]:
    began = time.perf_counter()
    request = urllib.request.Request(f"{url}/predict", rows.write_csv().encode(), {"Content-Type": "text/csv"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer), time.perf_counter() - began


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
