"""Several targets from the folders of a few people to a compared, explained and accepted submission."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.people import write_people

from sanmaru.cli.compare import _print
from sanmaru.experiments.compare import compare
from sanmaru.experiments.ensemble import ensemble
from sanmaru.experiments.events import FILE_NAME, learning_curve
from sanmaru.experiments.runs import Run
from sanmaru.experiments.train import train
from sanmaru.packages.batch import predict_file
from sanmaru.packages.package import Package
from sanmaru.project import Project
from sanmaru.tables.propose import propose

QUICK = ("split.folds=2", "train.epochs=2", "model.image_size=8", "train.selection=none", "report.explain=2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, no_mirror: type) -> tuple[Project, dict[str, Run]]:
    """A run of each formulation, not mirrored to MLflow."""
    folder = write_people(tmp_path_factory.mktemp("people"))
    patch = pytest.MonkeyPatch()
    patch.setattr("sanmaru.experiments.train.Mirror", no_mirror)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    project = Project.from_dict(folder, propose(folder, name="mask", folder=folder).content).with_overrides(*QUICK)
    made = {kind: train(project.with_overrides(f"model.heads={kind}")) for kind in ("joint", "shared", "separate")}
    torch.set_num_threads(threads)
    patch.undo()
    return project, made


def test_all_formulations_are_scored_on_the_same_rows_folds_and_classes(runs: tuple[Project, dict[str, Run]]) -> None:
    project, made = runs
    rows = [run.rows() for run in made.values()]
    assert rows[0].equals(rows[1])
    assert rows[0].equals(rows[2])
    assert {"ans", "mask", "gender", "age", "person"} <= set(rows[0].columns)
    outputs = [run.task().outputs[0] for run in made.values()]
    assert all(output == outputs[0] for output in outputs)
    assert (outputs[0].name, len(outputs[0].classes), outputs[0].dtype) == ("ans", 18, "integer")
    predictions = made["separate"].predictions()
    assert {"ans", "ans.probs", "mask", "gender", "age"} <= set(predictions.columns)
    # Of separate networks, a joint class is as likely as its parts together.
    cube = predictions["ans.probs"].to_numpy().reshape(-1, 3, 2, 3).astype(np.float64)
    parts = cube.sum(axis=(2, 3)), cube.sum(axis=(1, 3)), cube.sum(axis=(1, 2))
    np.testing.assert_allclose(cube, np.einsum("ni,nj,nk->nijk", *parts), atol=1e-5)
    assert len(compare(project).entries) == 3


def test_separate_networks_have_a_curve_each(runs: tuple[Project, dict[str, Run]]) -> None:
    points = learning_curve(runs[1]["separate"].fold_folder(0) / FILE_NAME)
    assert [point["step"] for point in points] == [1, 2]
    for point in points:
        assert {f"train_loss of {name}" for name in ("mask", "gender", "age")} <= set(point)


def test_two_formulations_get_a_verdict_and_each_target_a_line(
    runs: tuple[Project, dict[str, Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    project, made = runs
    found = compare(project, made["joint"].id, made["separate"].id)
    assert found.verdict is not None
    assert found.verdict.paired is not None
    assert [target.name for target in found.targets] == ["mask", "gender", "age"]
    rows, predictions = made["joint"].rows(), made["joint"].predictions()
    for target in found.targets:
        if target.name != "age":
            assert target.a == pytest.approx((rows[target.name] == predictions[target.name]).mean())
        assert target.low <= target.a - target.b <= target.high
    assert json.loads(json.dumps(found.to_json(), default=str))["targets"][0]["name"] == "mask"
    _print(found, [run.id for run in made.values()])
    shown = capsys.readouterr().out
    assert "accuracy of each target" in shown
    assert "the verdict above is on the joint class" in " ".join(shown.split())


def test_the_report_says_where_the_points_are_lost(runs: tuple[Project, dict[str, Run]]) -> None:
    _, made = runs
    for run in made.values():
        assert run.facts.get("report_problem") is None
        text = (run.folder / "report.html").read_text(encoding="utf-8")
        assert "Where the points are lost" in text
        assert "Each target by itself" in text
        assert "0 Wear/male/&lt;30" in text


@pytest.mark.parametrize("kind", ["joint", "separate"])
def test_the_evaluation_table_is_its_own_sample(
    kind: str, runs: tuple[Project, dict[str, Run]], tmp_path: Path
) -> None:
    project, made = runs
    info, package = project.folder / "eval" / "info.csv", Package.load(made[kind].package_folder)
    report = predict_file(package, info, tmp_path / "submission.csv", sample=info)
    assert (report.rows, report.quarantined) == (6, 0)
    submission = pl.read_csv(tmp_path / "submission.csv")
    assert submission.columns == ["ImageID", "ans"]
    assert submission["ImageID"].equals(pl.read_csv(info)["ImageID"])
    assert submission["ans"].dtype == pl.Int64
    assert submission["ans"].is_between(0, 17).all()
    predict_file(package, info, tmp_path / "all.csv")
    told = pl.read_csv(tmp_path / "all.csv")
    assert told.columns == ["photo", "ans", "mask", "gender", "age"]
    (answer,) = package.answers(package.outputs(_pictures(info).head(1)))
    assert [answer[name] for name in ("ans", "mask", "gender", "age")] == list(told.row(0)[1:])


def _pictures(info: Path) -> pl.DataFrame:
    names = pl.read_csv(info)["ImageID"]
    return pl.DataFrame({"photo": names, "image": [str(info.parent / "images" / name) for name in names]})


def test_formulations_are_combined_like_any_runs(runs: tuple[Project, dict[str, Run]]) -> None:
    project, made = runs
    run = ensemble(project, [made["joint"].id, made["shared"].id], method="soft", tracked=False)
    assert run.task().roles.joint == made["joint"].task().roles.joint
    assert {"ans", "mask"} <= set(run.predictions().columns)
