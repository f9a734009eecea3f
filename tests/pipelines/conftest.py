"""Ledgers in databases of each kind, and small pipelines in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.pipelines.config import PipelineConfig
from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.plan import Plan


@pytest.fixture
def ledger(database_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger in a fresh database of each kind."""
    engine = open_engine(database_url, tmp_path)
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
