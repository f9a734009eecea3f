"""Ensembles of runs that are written, not trained, and of trained ones with their packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError, RunError
from sanmaru.experiments.compare import compare
from sanmaru.experiments.ensemble import ensemble
from sanmaru.experiments.runs import Run
from sanmaru.packages.combine import METHODS


def combined(made: Any, *runs: Run, **options: Any) -> Run:
    return ensemble(made.project, [run.id for run in runs], **{"tracked": False, **options})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["binary", "classes", "regression"])
def test_an_ensemble_is_a_run_like_any_other(written_runs, kind: str, method: str) -> None:
    made = written_runs(kind, 240)
    members = [made.run(0.7, seed) for seed in (1, 2, 3)]
    run = combined(made, *members, method=method)
    assert run.status == "done"
    facts, score, task = run.facts, run.score(), run.task()
    assert [member["name"] for member in facts["members"]] == [member.id for member in members]
    assert [member["score"] for member in facts["members"]] == [member.score().value for member in members]
    assert run.rows().equals(members[0].rows())
    predictions = run.predictions()
    assert predictions.columns[:3] == ["id", "fold", "y"]
    assert predictions["fold"].equals(run.rows()["fold"])
    assert task.score(run.rows(), predictions) == pytest.approx(dict(score.all))
    assert score.low < score.value < score.high
    assert len(score.folds) == 5
    assert facts["gain"]["a"] == run.id
    assert facts["best_member"] in {member.id for member in members}
    board = compare(made.project)
    assert {entry.run for entry in board.entries} == {run.id, *(member.id for member in members)}
    assert [entry.model for entry in board.entries if entry.kind == "ensemble"] == [f"{method} of 3"]
    assert not any(entry.incomparable for entry in board.entries)


def test_models_with_independent_errors_gain_and_the_verdict_says_so(written_runs) -> None:
    made = written_runs("regression", 600)
    run = combined(made, *(made.run(0.8, seed) for seed in range(1, 5)), method="soft")
    assert run.facts["gain"]["better"] == run.id
    assert run.facts["gain"]["text"].startswith(f"{run.id} is better by ")
    assert run.score().value < run.facts["best_member_score"]


def test_given_weights_are_used_as_they_are(written_runs) -> None:
    made = written_runs("regression", 60)
    a, b = made.run(0.2, 1), made.run(0.6, 2)
    run = combined(made, a, b, method="weights", weights=[3, 1])
    expected = 0.75 * a.predictions()["y"] + 0.25 * b.predictions()["y"]
    np.testing.assert_allclose(run.predictions()["y"].to_numpy(), expected.to_numpy(), rtol=1e-6)
    assert run.facts["combine"] == {"method": "weights", "weights": [0.75, 0.25]}


def test_members_are_matched_by_id(written_runs) -> None:
    made = written_runs("regression", 60)
    a, b = made.run(0.2, 1), made.run(0.2, 1)
    order = np.random.default_rng(0).permutation(60)
    for name in ("rows.parquet", "predictions.parquet"):
        pl.read_parquet(b.folder / name)[order].write_parquet(b.folder / name)
    run = combined(made, a, b, method="soft")
    assert run.predictions()["y"].equals(a.predictions()["y"])


def test_an_ensemble_of_ensembles(written_runs) -> None:
    made = written_runs("binary", 120)
    inner = combined(made, made.run(0.5, 1), made.run(0.6, 2), method="soft")
    outer = combined(made, inner, made.run(0.4, 3), method="greedy")
    assert outer.status == "done"


def test_a_colleagues_file_joins_and_leaves_no_package(written_runs, tmp_path: Path) -> None:
    made = written_runs("regression", 120)
    run = made.run(0.5, 1)
    guess = (100 + 10 * made.signal).round(3)
    made.table.select("id").with_columns(y=pl.Series(guess)).reverse().write_csv(tmp_path / "friend.csv")
    both = combined(made, run, method="weights", files=[tmp_path / "friend.csv"])
    assert [member["kind"] for member in both.facts["members"]] == ["run", "file"]
    assert both.facts["package"] is False
    assert "friend.csv holds predictions, not a model" in both.facts["package_reason"]
    assert both.facts["best_member"] == "friend.csv"
    assert both.facts["combine"]["weights"][1] > 0.5


def test_rows_that_were_never_validated_are_left_out(written_runs) -> None:
    made = written_runs("classes", 120)
    folds = np.where(np.arange(120) < 20, -1, made.folds)
    run = combined(made, made.run(0.5, 1, folds=folds), made.run(0.6, 2, folds=folds), method="stack")
    assert run.predictions().height == 100
    assert run.rows().height == 120


def test_runs_that_do_not_meet_are_refused_with_counts(written_runs) -> None:
    made = written_runs("classes", 90)
    a, other = made.run(0.3, 1), made.run(0.3, 2, folds=(made.folds + 1) % 5)
    with pytest.raises(RunError, match="90 rows of 90 in both lie in another fold"):
        combined(made, a, other, method="soft")
    fewer = made.run(0.3, 3, keep=np.arange(80))
    with pytest.raises(RunError, match=f"10 rows only in {a.id}"):
        combined(made, a, fewer, method="soft")
    assert len(Run.all(made.project)) == 3  # nothing was begun


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sof"}, r"unknown method 'sof'. Did you mean 'soft'\?"),
        ({"method": "soft", "weights": [1, 1]}, "method 'soft' takes none"),
        ({"method": "weights", "weights": [1]}, "1 weights were given for 2 members"),
        ({"method": "weights", "weights": [1, -1]}, "weights must be 0 or more and not all 0, got 1, -1"),
        ({"method": "weights", "weights": [0, 0]}, "weights must be 0 or more and not all 0, got 0, 0"),
        ({"method": "weights", "weights": [1, float("nan")]}, "weights must be 0 or more and not all 0, got 1, nan"),
    ],
)
def test_a_method_that_cannot_be_carried_out_is_refused(written_runs, options: dict[str, Any], message: str) -> None:
    made = written_runs("binary", 30)
    with pytest.raises(RunError, match=message):
        combined(made, made.run(0.3, 1), made.run(0.3, 2), **options)


def test_members_that_cannot_be_combined_are_refused(written_runs, tmp_path: Path) -> None:
    made = written_runs("binary", 30)
    a = made.run(0.3, 1)
    with pytest.raises(RunError, match="at least two members, got 1"):
        combined(made, a, method="soft")
    with pytest.raises(RunError, match="at least one run"):
        combined(made, method="soft", files=["a.csv", "b.csv"])
    with pytest.raises(RunError, match="was named more than once"):
        combined(made, a, a, method="soft")
    with pytest.raises(RunError, match=r"is not finished \(status failed\)"):
        combined(made, a, made.run(status="failed"), method="soft")
    with pytest.raises(DataError, match="there is no file"):
        combined(made, a, method="soft", files=[tmp_path / "nowhere.csv"])


@pytest.fixture
def trained(make_project, without_mirror) -> tuple[Any, list[Run]]:
    """Two trained runs with packages, of models that take other columns."""
    from sanmaru.experiments.train import train

    project = make_project(train={"early_stopping": None})
    few = {"kind": "lightgbm", "trees": 8, "leaves": 4}
    runs = [
        train(project),
        train(project.with_overrides("data.features=[area]", *(f"model.{key}={value}" for key, value in few.items()))),
    ]
    return project, runs


def test_the_package_gives_the_numbers_that_were_combined(trained) -> None:
    from sanmaru.experiments.combining import as_scored
    from sanmaru.files import read_json
    from sanmaru.metrics.base import find_metric
    from sanmaru.packages.combine import combine
    from sanmaru.packages.package import Package

    project, runs = trained
    rows = pl.read_csv(project.folder / "train.csv").drop("price")
    for method in METHODS:
        run = ensemble(project, [one.id for one in runs], method=method, tracked=False)
        assert run.facts["package"], run.facts.get("package_reason")
        package = Package.load(run.package_folder)
        spec = read_json(run.package_folder / "combine.json")
        # The stored parameters give on the out-of-fold outputs what was seen when they were learned.
        outputs = [one.task().outputs_of(one.predictions()) for one in runs]
        truth = run.task().truth(run.rows())
        seen = find_metric("rmse")(truth, as_scored(combine(spec, outputs, "regression"), "regression"))
        assert seen == pytest.approx(run.facts["score_not_nested"], rel=1e-9)
        # New rows: the members' packages, combined.
        expected = combine(spec, [Package.load(one.package_folder).outputs(rows) for one in runs], "regression")
        np.testing.assert_allclose(package.predict(rows)["price"].to_numpy(), expected[:, 0], rtol=1e-5)
        assert {"area", "town"} <= {column.name for column in package.signature.inputs}
        package.golden_test()
        assert set(package.evaluation().columns) >= {"id", "fold", "truth", "price", "group"}
        assert (run.folder / "report.html").is_file(), run.facts.get("report_problem")


def test_mlflow_mirrors_an_ensemble(trained) -> None:
    from sanmaru.experiments.tracking import client

    project, runs = trained
    run = ensemble(project, [one.id for one in runs], method="soft")
    assert "mirror_problem" not in run.facts
    store = client(project.tracking_uri)
    found = store.search_runs([store.get_experiment_by_name(project.name).experiment_id])
    assert [one.data.tags["sanmaru.run"] for one in found] == [run.id]
    assert found[0].data.metrics["rmse"] == pytest.approx(run.score().value)
