"""`sanmaru ensemble` and `sanmaru compare` on two trained runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sanmaru.cli.compare import short
from sanmaru.cli.main import app
from sanmaru.errors import RunError
from sanmaru.experiments import train as train_module
from sanmaru.experiments.runs import Run
from sanmaru.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, no_mirror: type) -> Project:
    """A project with two trained runs."""
    folder = tmp_path_factory.mktemp("project")
    generator = np.random.default_rng(0)
    area = generator.uniform(30, 120, 90)
    noise = generator.normal(0, 5, 90)
    table = pl.DataFrame({"id": range(90), "area": area, "town": ["a", "b", "c"] * 30, "price": 3 * area + noise})
    table.write_csv(folder / "train.csv")
    (folder / "sanmaru.yaml").write_text(
        "name: small\ntask: tabular\ndata: {train: train.csv, id: id, target: price}\n"
        "split: {folds: 3}\nmodel: {kind: linear, penalty: 0.001}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "Mirror", no_mirror)
        train_module.train(Project.load(folder))
        train_module.train(Project.load(folder, "model.penalty=1"))
    return Project.load(folder)


@pytest.fixture(autouse=True)
def without_mirror(monkeypatch: pytest.MonkeyPatch, no_mirror: type) -> None:
    from sanmaru.experiments import tracking

    monkeypatch.setattr(tracking, "Mirror", no_mirror)


def call(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_ensemble_tells_scores_verdict_and_where_it_lies(project: Project) -> None:
    runs = [run.id for run in Run.all(project) if run.facts["kind"] == "train"]
    text = call("ensemble", *runs, "--method", "weights", "--weights", "0.7,0.3", "--project", project.folder)
    made = next(run for run in Run.all(project) if run.facts["kind"] == "ensemble")
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[:3]] == [short(run) for run in (*runs, made.id)]
    assert f"RMSE {made.score().value:.4f}, 95 % interval" in lines[2]
    assert lines[0].endswith(", weight 0.7")
    gain = made.facts["gain"]
    assert gain["b"] in gain["text"]  # kept in full, and shortened on the terminal
    assert short(gain["b"]) in lines[3]
    assert gain["b"] not in lines[3]
    assert str(made.folder) in text
    assert f"sanmaru predict {made.id}" in text


def test_a_file_without_a_model_is_told(project: Project, tmp_path: Path) -> None:
    run = Run.all(project)[0]
    run.predictions().select("id", "price").write_csv(tmp_path / "friend.csv")
    text = call("ensemble", run.id, "--file", tmp_path / "friend.csv", "-p", project.folder)
    assert "no model package: friend.csv holds predictions, not a model" in text


def test_weights_that_are_no_numbers_are_refused(project: Project) -> None:
    runs = [run.id for run in Run.all(project)][:2]
    with pytest.raises(RunError, match=r"--weights takes numbers separated by commas, such as 0.7,0.3, got 'a,b'"):
        call("ensemble", *runs, "--method", "weights", "--weights", "a,b", "--project", project.folder)


def test_compare_gives_two_runs_a_verdict(project: Project) -> None:
    good, bad = [run.id for run in Run.all(project) if run.facts["kind"] == "train"]
    if Run.load(project, good).score().value > Run.load(project, bad).score().value:
        good, bad = bad, good
    text = " ".join(call("compare", good, bad, "--project", project.folder).split())
    assert f"{short(good)} is better by" in text
    assert f"{good} is better by" not in text
    content = json.loads(call("compare", bad, good, "--format", "json", "--metric", "mae", "-p", project.folder))
    assert [entry["run"] for entry in content["runs"]] == [good, bad]
    assert content["verdict"]["better"] == good
    assert content["runs"][0]["parameters"] == {"model.penalty": 0.001}
