from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sanmaru import Project, Run, train
from sanmaru.experiments import tracking
from sanmaru.experiments.events import learning_curve
from sanmaru.experiments.progress import Event
from sanmaru.experiments.tracking import RUN_TAG, client, mirror


def runs_in_mlflow(project: Project) -> list[Any]:
    store = client(project.tracking_uri)
    experiment = store.get_experiment_by_name(project.name)
    return list(store.search_runs([experiment.experiment_id]))


@pytest.fixture
def run(make_project: Any, without_mirror: None) -> Run:
    return train(make_project(model={"kind": "lightgbm", "trees": 8}))


def test_training_leaves_a_mirror_in_mlflow_and_nothing_where_one_stands(
    make_project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    events: list[Event] = []
    project = make_project()
    run = train(project, watch=events.append)
    assert not [event.facts for event in events if event.kind == "warning"]
    [found] = runs_in_mlflow(project)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == run.id
    assert found.data.metrics["rmse"] == pytest.approx(run.score().value)
    assert found.data.params["split.kind"] == "grouped"
    assert found.data.tags["sanmaru.fingerprint"] == run.facts["fingerprint"]
    assert list(elsewhere.iterdir()) == []
    assert not (project.folder / "mlruns").exists()


def test_scores_and_learning_curves_are_there_per_fold(run: Run) -> None:
    mirror(run)
    [found] = runs_in_mlflow(run.project)
    store = client(run.project.tracking_uri)
    per_fold = store.get_metric_history(found.info.run_id, "fold/rmse")
    assert [point.value for point in per_fold] == [pytest.approx(values["rmse"]) for values in run.score().folds]
    curve = store.get_metric_history(found.info.run_id, "fold_0/valid_rmse")
    told = learning_curve(run.fold_folder(0) / "events.jsonl")
    assert len(told) > 1
    assert [(point.step, point.value) for point in curve] == [(point["step"], point["valid_rmse"]) for point in told]


def test_a_second_mirror_takes_the_place_of_the_first(run: Run) -> None:
    mirror(run)
    mirror(run)
    [found] = runs_in_mlflow(run.project)
    assert found.data.tags[RUN_TAG] == run.id


def test_a_failed_run_is_marked_and_continued(run: Run) -> None:
    failed = tracking.Mirror(run)
    failed.fail()
    assert failed._server.answer() is None
    [before] = runs_in_mlflow(run.project)
    assert before.info.status == "FAILED"
    assert tracking.Mirror(run).finish() is None
    [after] = runs_in_mlflow(run.project)
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")


def test_a_store_that_cannot_be_opened_costs_a_line_and_not_the_run(make_project: Any) -> None:
    events: list[Event] = []
    # A folder of the path is a file.
    run = train(make_project(storage={"tracking": "sqlite:///train.csv/mlflow.db"}), watch=events.append)
    assert run.status == "done"
    [warning] = [event.facts["text"] for event in events if event.kind == "warning"]
    assert warning.startswith("the run is kept, but MLflow does not mirror it: ")
    assert "train.csv" in warning
    assert "\n" not in warning
    assert run.facts["mirror_problem"] in warning


def test_a_process_that_dies_costs_a_line_and_is_started_again(run: Run) -> None:
    dying = tracking.Mirror(run)
    dying._server._process.kill()
    assert dying.finish() == "its process ended with status -9"
    assert tracking.Mirror(run).finish() is None


def test_it_makes_no_noise(run: Run, tmp_path: Path) -> None:
    """The first use of a store, migrations included, prints nothing."""
    import yaml

    content = yaml.safe_load((run.folder / "project.yaml").read_text())
    content["storage"]["tracking"] = f"sqlite:///{tmp_path}/fresh.db"
    (run.folder / "project.yaml").write_text(yaml.safe_dump(content))
    lines = "".join(json.dumps({"do": do, "folder": str(run.folder)}) + "\n" for do in ("begin", "finish"))
    command = [sys.executable, "-m", "sanmaru.experiments.tracking"]
    result = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ('{"problem": null}\n' * 2, "")
    assert {path.name for path in tmp_path.iterdir()} == {"project", "fresh.db"}


def test_long_values_are_cut_and_missing_numbers_left_out(run: Run) -> None:
    scores = run.folder / "scores.json"
    scores.write_text(scores.read_text().replace(f'"low": {run.score().low!r}', '"low": NaN'))
    names = {name for name, *_ in tracking.metrics(run)}
    assert "rmse_high" in names
    assert "rmse_low" not in names
    run.update(reason="x" * 5000)
    mirror(run)
    [found] = runs_in_mlflow(run.project)
    assert len(found.data.tags["sanmaru.reason"]) == tracking.LONGEST
