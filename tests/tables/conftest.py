from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sanmaru.tables.config import DataConfig
from sanmaru.tables.read import Dataset, read_data


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a text file under the test's folder; blank lines around and indents are taken off."""

    def _write(text: str | bytes, name: str = "train.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Dataset]:
    """Read `train.csv` of the test's folder with the given fields of the data config."""

    def _read(task: str = "tabular", part: str = "train", **config: object) -> Dataset:
        return read_data(DataConfig(**{"train": "train.csv", **config}), tmp_path, task=task, part=part)  # type: ignore[arg-type]

    return _read
