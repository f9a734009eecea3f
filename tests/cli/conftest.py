"""A trained project that tests of commands copy, and the command line called in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.cli.main import main

PROJECT = """\
name: houses
task: tabular
data: {train: train.csv, id: id, target: price}
split: {kind: random, folds: 2}
model: {kind: linear, penalty: 0.01}
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sanmaru.experiments.train import train
    from sanmaru.project import Project

    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    size, age = rng.normal(100, 20, 120).round(1), rng.integers(0, 50, 120)
    table = pl.DataFrame(
        {"id": np.arange(120), "size": size, "age": age, "price": size * 3 - age + rng.normal(0, 5, 120)}
    )
    table[:90].write_csv(folder / "train.csv")
    table[90:].drop("price").write_csv(folder / "test.csv")
    table[90:].select("id", price=pl.lit(0.5)).write_csv(folder / "sample.csv")
    (folder / "sanmaru.yaml").write_text(PROJECT)
    train(Project.load(folder))
    return folder


@pytest.fixture
def trained_project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained project, which is also the working folder."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    for facts in folder.glob("runs/*/run.json"):
        facts.write_text(facts.read_text().replace(str(trained), str(folder)))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call `sanmaru` with these words: (status, stdout, stderr)."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sanmaru", *words])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call
