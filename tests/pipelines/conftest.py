"""Databases of each kind, and small pipelines in a folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sanmaru.pipelines.config import PipelineConfig
from sanmaru.pipelines.database import open_engine
from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.plan import Plan

SERVERS = {
    "postgresql": ("postgresql+pg8000", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": ("mysql+pymysql", "mysql://root@127.0.0.1:3306"),
}


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh database; servers are those of SANMARU_POSTGRESQL and SANMARU_MYSQL, or on this machine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    driver, usual = SERVERS[request.param]
    url = sa.make_url(os.environ.get(f"SANMARU_{request.param.upper()}", usual)).set(drivername=driver)
    name = f"sanmaru_test_{secrets.token_hex(6)}"
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.DBAPIError as error:
        pytest.skip(f"no {request.param} server at {url.host}:{url.port} ({type(error.orig).__name__})")
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name}{' WITH (FORCE)' if request.param == 'postgresql' else ''}"))
    admin.dispose()


@pytest.fixture
def ledger(database: str, tmp_path: Path) -> Iterator[Ledger]:
    engine = open_engine(database, tmp_path)
    yield Ledger(engine, "air")
    engine.dispose()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., tuple[Plan, Ledger]]]:
    """Makes a plan and its ledger from the steps of a project file and the text of steps.py."""
    engines: list[sa.Engine] = []

    def build(steps: dict[str, Any], code: str = "", **options: Any) -> tuple[Plan, Ledger]:
        if code:
            (tmp_path / "steps.py").write_text("from pathlib import Path\n" + code)
        config = PipelineConfig.model_validate(
            {"every": "1h", "start": "2026-11-20T00:00", "steps": steps, "lease_s": 1, **options}
        )
        engines.append(open_engine(config.ledger, tmp_path))
        return Plan("air", config, tmp_path), Ledger(engines[-1], "air")

    yield build
    for engine in engines:
        engine.dispose()
