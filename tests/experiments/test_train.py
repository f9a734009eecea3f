from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru import DataError, ProjectFileError, Run, UserError, train
from sanmaru.cluster import ClusterError
from sanmaru.experiments import report as report_module
from sanmaru.experiments.progress import Event
from sanmaru.packages.package import Package
from sanmaru.tasks.tabular.linear import Linear

pytestmark = pytest.mark.usefixtures("without_mirror")


def test_a_run_keeps_all_that_its_folder_promises(make_project: Any) -> None:
    run = train(make_project(problem="What is a house worth?"))
    assert run.status == "done"
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "run.json", "project.yaml", "task.json", "rows.parquet", "quarantine.csv", "folds.json", "folds",
        "predictions.parquet", "scores.json", "package", "report.html",
    }  # fmt: skip
    facts = run.facts
    assert (facts["rows"], facts["quarantined"], facts["folds"], facts["seed"]) == (120, 0, 3, 7)
    assert set(facts["seconds"]) == {"read", "folds", "score", "package", "report", "tracking"}
    assert facts["environment"]["cores"] >= 1
    assert len(facts["fingerprint"]) == 64


def test_the_score_is_that_of_all_out_of_fold_predictions(make_project: Any) -> None:
    run = train(make_project())
    rows, predictions, score = run.rows(), run.predictions(), run.score()
    assert predictions["id"].equals(rows["id"])
    assert predictions["fold"].equals(rows["fold"])
    error = predictions["price"].to_numpy() - rows["price"].to_numpy()
    assert score.metric == "rmse"
    assert score.value == pytest.approx(math.sqrt(np.mean(error**2)))
    assert score.low < score.value < score.high
    for fold, values in enumerate(score.folds):
        mine = error[rows["fold"].to_numpy() == fold]
        assert values["rmse"] == pytest.approx(math.sqrt(np.mean(mine**2)))


def test_groups_are_in_one_fold_and_named_in_rows(make_project: Any) -> None:
    rows = train(make_project()).rows()
    assert rows.columns == ["id", "price", "house", "fold"]
    assert rows.group_by("house").agg(pl.col("fold").n_unique())["fold"].max() == 1


def test_the_package_predicts_and_knows_where_it_comes_from(make_project: Any) -> None:
    run = train(make_project(problem="What is a house worth?"))
    package = Package.load(run.package_folder)
    package.golden_test()
    frame = pl.DataFrame({"id": ["new"], "area": [100.0], "town": ["south"]})
    assert package.predict(frame)["price"][0] == pytest.approx(340, abs=10)
    card = package.card
    assert card["problem"] == "What is a house worth?"
    assert card["run"] == run.id
    assert card["data"]["fingerprint"] == run.facts["fingerprint"]
    assert card["score"]["value"] == run.score().value
    evaluation = package.evaluation()
    assert {"id", "truth", "fold", "price", "group"} <= set(evaluation.columns)
    assert evaluation["truth"].to_list() == run.rows()["price"].to_list()


@pytest.mark.parametrize(("final", "estimators"), [("auto", 1), ("refit", 1), ("folds", 3)])
def test_in_time_the_package_has_learned_from_the_latest_rows(make_project: Any, final: str, estimators: int) -> None:
    project = make_project(
        data={"train": "train.csv", "id": "id", "target": "price", "time": "day"},
        split={"kind": "time", "folds": 3, "final": final},
        model={"kind": "linear", "penalty": 0.001},
    )
    table = pl.read_csv(project.folder / "train.csv").drop("house").with_row_index("day")
    days = pl.date(2024, 1, 1) + pl.duration(days="day")
    # From the last block on, which no fold learns from, every house costs a thousand more in the new town.
    new = pl.when(pl.col("day") >= 90).then(pl.lit("new")).otherwise("town")
    risen = pl.when(pl.col("day") >= 90).then(pl.col("price") + 1000).otherwise("price")
    table.with_columns(days.alias("day"), town=new, price=risen).write_csv(project.folder / "train.csv")
    run = train(project)
    package = Package.load(run.package_folder)
    package.golden_test()
    assert len(list((run.package_folder / "estimators").iterdir())) == estimators
    asked = pl.DataFrame({"id": ["x"], "area": [100.0], "town": ["new"], "day": ["2024-04-29"]})
    assert (package.predict(asked)["price"][0] > 1100) == (estimators == 1)


def test_what_predicts_can_be_fitted_on_all_rows_without_time(make_project: Any) -> None:
    run = train(make_project(split={"kind": "grouped", "folds": 3, "final": "refit"}))
    package = Package.load(run.package_folder)
    rows = pl.read_csv(run.project.folder / "train.csv")
    assert (run.folder / "final" / "estimator").is_dir()
    area = np.column_stack([rows["area"], *(rows["town"] == town for town in ("north", "south", "east"))])
    weights, *_ = np.linalg.lstsq(area.astype(np.float64), rows["price"].to_numpy(), rcond=None)
    assert package.predict(rows.drop("price"))["price"].to_numpy() == pytest.approx(area @ weights, abs=1.0)


def test_rows_that_cannot_be_used_are_counted_and_named(make_project: Any) -> None:
    project = make_project()
    table = pl.read_csv(project.folder / "train.csv", infer_schema=False)
    table.with_columns(price=pl.when(pl.col("id") == "h003").then(pl.lit("NA")).otherwise("price")).write_csv(
        project.folder / "train.csv"
    )
    run = train(project)
    assert run.facts["quarantined"] == 1
    [violation] = pl.read_csv(run.folder / "quarantine.csv").to_dicts()
    assert (violation["row"], violation["id"], violation["rule"]) == (3, "h003", "missing-target")
    assert "h003" not in run.rows()["id"].to_list()


def test_worker_processes_give_the_same_run(make_project: Any) -> None:
    here = train(make_project())
    there = train(make_project(folder="other"), cluster="processes", workers=2)
    assert there.predictions().equals(here.predictions())
    assert there.score() == here.score()
    assert there.project.file.cluster.kind == "processes"
    assert not list((there.project.cache_folder / "tables").iterdir())


def test_in_time_rows_before_the_first_fold_have_no_prediction(make_project: Any) -> None:
    data = {"train": "train.csv", "id": "id", "target": "price", "time": "house"}
    run = train(make_project(data=data, split={"kind": "time", "folds": 3}))
    rows, predictions = run.rows(), run.predictions()
    never = rows.filter(pl.col("fold") == -1)
    assert 0 < never.height < rows.height
    assert predictions["id"].to_list() == rows.filter(pl.col("fold") >= 0)["id"].to_list()
    assert Package.load(run.package_folder).evaluation().height == predictions.height


def test_folds_of_an_earlier_run_are_taken_by_id(make_project: Any) -> None:
    first = train(make_project())
    second = train(make_project().with_overrides(f"split.reuse={first.id}", "split.folds=2", "seed=8"))
    assert second.rows()["fold"].equals(first.rows()["fold"])


def test_a_metric_of_another_kind_of_task_is_refused_before_a_run_is_made(make_project: Any) -> None:
    project = make_project(metric="accuracy")
    with pytest.raises(ProjectFileError, match=r"metric 'accuracy' does not fit this regression task\..*rmse"):
        train(project)
    assert Run.all(project) == []


def test_a_column_with_a_role_may_not_be_called_fold(make_project: Any) -> None:
    project = make_project(data={"train": "train.csv", "id": "id", "target": "fold"}, split={"folds": 3})
    table = pl.read_csv(project.folder / "train.csv").rename({"price": "fold"})
    table.write_csv(project.folder / "train.csv")
    with pytest.raises(DataError, match="may not be called 'fold'"):
        train(project)
    assert Run.all(project) == []


def test_what_was_overridden_is_written_down(make_project: Any) -> None:
    run = train(make_project().with_overrides("model.penalty=2", "split.folds=2"))
    assert run.facts["overrides"] == {"model.penalty": 2, "split.folds": 2}


def test_a_failing_fold_ends_the_run_and_says_why(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ArithmeticError("no such thing")

    monkeypatch.setattr(Linear, "fit", fail)
    project = make_project()
    with pytest.raises(ClusterError, match="ArithmeticError: no such thing") as caught:
        train(project)
    assert caught.value.item.fold == 0
    [run] = Run.all(project)
    assert run.status == "failed"
    assert "no such thing" in run.facts["reason"]


def test_a_users_mistake_inside_a_fold_stays_one_message(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError("this column is of no use")

    monkeypatch.setattr(Linear, "fit", refuse)
    with pytest.raises(UserError, match=r"^this column is of no use$"):
        train(make_project())


def test_a_report_that_fails_loses_no_run(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("cannot draw")

    monkeypatch.setattr(report_module, "report", fail)
    events: list[Event] = []
    run = train(make_project(), watch=events.append)
    assert run.status == "done"
    [warning] = [event.facts["text"] for event in events if event.kind == "warning"]
    assert "cannot draw" in warning
    assert f"sanmaru report {run.id}" in warning


def test_a_watcher_is_told_of_every_stage_and_fold(make_project: Any) -> None:
    events: list[Event] = []
    run = train(make_project(), watch=events.append)
    kinds = [event.kind for event in events]
    assert kinds[0] == "run"
    assert kinds[-1] == "done"
    folds = [event for event in events if event.kind == "fold"]
    assert [event.fold for event in folds] == [0, 1, 2]
    assert all(event.facts["metric"] == "rmse" for event in folds)
    [score] = [event.facts for event in events if event.kind == "score"]
    assert score["value"] == run.score().value


def test_the_housing_table_as_it_comes(shared_data: Path, tmp_path: Path) -> None:
    from sanmaru import Project

    table = pl.read_csv(shared_data / "housing-ca" / "train.csv").head(1500)
    table.write_csv(tmp_path / "train.csv")
    content = {
        "name": "housing",
        "task": "tabular",
        "data": {"train": "train.csv", "target": "median_house_value"},
        "split": {"folds": 2},
        "model": {"kind": "lightgbm", "trees": 30, "learning_rate": 0.2},
    }
    run = train(Project.from_dict(tmp_path, content))
    spread = float(table["median_house_value"].std())  # type: ignore[arg-type]
    assert run.score().value < 0.6 * spread
    assert json.loads((run.folder / "folds" / "0" / "done.json").read_text())["selection_rows"] == 75
