"""What every test shares: no telemetry, no second thread per worker, the shared data where it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A case that takes long says something of the machine's load, not of the code.
settings.register_profile("sanmaru", deadline=None)
settings.load_profile("sanmaru")

# Workers of pytest-xdist share few cores: libraries that start a thread per core would fight over them. Set before
# any test imports them.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: `SANMARU_DATA`, or `../shared/data` beside the checkout; else skip."""
    folder = Path(os.environ.get("SANMARU_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared data sets, and {folder} is absent")
    return folder


class NoMirror:
    """Stands for the MLflow mirror where a test is about something else; the mirror's own tests use the real one."""

    def __init__(self, run: object) -> None:
        pass

    def finish(self) -> None:
        return None

    def fail(self) -> None:
        return None


@pytest.fixture(scope="session")
def no_mirror() -> type[NoMirror]:
    """What to put in the place of `experiments.train.Mirror`."""
    return NoMirror


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; skips where either is absent.

    Of a module, for a process can hold one Playwright at a time.
    """
    api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs a Chromium; set CHROMIUM to its path")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


SERVERS = {
    "postgresql": (("psycopg", "pg8000"), "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": (("pymysql",), "mysql://root@127.0.0.1:3306"),
}
"""Drivers in order of preference, and where a server usually answers."""


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database of each kind; servers are those of SANMARU_POSTGRESQL and SANMARU_MYSQL, or on this machine."""
    kind = request.param
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.db'}"
        return
    import importlib.util
    import secrets

    import sqlalchemy as sa

    drivers, usual = SERVERS[kind]
    driver = next((name for name in drivers if importlib.util.find_spec(name) is not None), None)
    if driver is None:
        pytest.skip(f"needs one of {', '.join(drivers)} to reach {kind}")
    url = sa.make_url(os.environ.get(f"SANMARU_{kind.upper()}", usual)).set(drivername=f"{kind}+{driver}")
    name = f"sanmaru_test_{secrets.token_hex(6)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.DBAPIError as error:
        pytest.skip(f"no {kind} server at {url.host}:{url.port} ({type(error.orig).__name__})")
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}"))
    admin.dispose()
