"""The report of trained, written and combined runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanmaru.errors import RunError
from sanmaru.experiments.ensemble import ensemble
from sanmaru.experiments.report import report, sections
from sanmaru.experiments.report_curves import draw_curves, honest_line, time_bars
from sanmaru.experiments.report_facts import changed, commands
from sanmaru.experiments.runs import Run
from sanmaru.experiments.train import train
from sanmaru.html.blocks import Bars, Grid
from sanmaru.project import Project


def titles(page: str) -> list[str]:
    return re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page)


@pytest.fixture
def trained(make_project, without_mirror) -> Run:
    project = make_project(problem="What does a house <cost>?", goal="within 10 %", baseline="an agent's guess")
    return train(project.with_overrides("model.kind=lightgbm", "model.trees=40"))


def test_a_trained_table_is_told_whole(trained: Run) -> None:
    path = report(trained)
    assert path == trained.folder / "report.html"
    page = path.read_text(encoding="utf-8")
    score = trained.score()
    assert f"{score.value:.4g}" in page
    assert "What does a house &lt;cost&gt;?" in page
    assert "within 10 %" in page
    found = titles(page)
    for title in (
        "Result",
        "Scores per fold",
        "Feature importance",
        "Training",
        "Data",
        "Split",
        "Parameters",
        "To repeat",
    ):
        assert title in found
    assert trained.facts["fingerprint"][:12] in page
    assert "model.trees=40" in page  # in the command that repeats the run
    assert trained.facts["environment"]["polars"] in page


def test_every_fold_is_shown_with_its_rows_and_interval(trained: Run) -> None:
    made = {section.title: section for section in sections(trained, trained.task())}
    chart = next(block for block in made["Scores per fold"].blocks if isinstance(block, Bars))
    assert list(chart.labels) == ["fold 0", "fold 1", "fold 2", "all rows"]
    assert chart.intervals is not None
    for value, (low, high) in zip(chart.series[0][1], chart.intervals, strict=True):
        assert low <= value <= high
    split = next(block for block in made["Split"].blocks if isinstance(block, Grid))
    counts = {row[0]: row[1] for row in split.rows}
    assert sum(counts.values()) == trained.rows().height
    groups = split.columns.index("groups")
    assert sum(row[groups] for row in split.rows) == trained.rows()["house"].n_unique()  # no group in two folds


def test_selection_on_the_fold_is_owned_up_to(make_project, without_mirror) -> None:
    project = make_project().with_overrides("model.kind=lightgbm", "model.trees=20", "train.selection=fold")
    page = report(train(project)).read_text()
    assert "The score is flattered by its own selection" in page
    linear = train(project.with_overrides("model.kind=linear"))  # chooses nothing on the fold, so nothing is flattered
    assert "flattered by its own selection" not in report(linear).read_text()


def test_rows_set_aside_are_told_with_their_reasons(make_project, without_mirror) -> None:
    project = make_project()
    with (project.folder / "train.csv").open("a") as handle:
        handle.write("broken,1,30.5,north,\n")
    page = report(train(project)).read_text()
    assert "1 row could not be used" in page
    assert "missing-target" in page


def test_a_report_without_the_data_says_so_and_tells_the_rest(trained: Run) -> None:
    assert "The data today" not in titles(report(trained).read_text())
    file = trained.project.folder / "train.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, "new,99,50.0,north,200"]) + "\n")
    assert "The data has changed since this run" in report(trained).read_text()
    file.write_text("\n".join(lines[:50]) + "\n")
    assert "of the 120 rows of the run the data holds 49 now" in report(trained).read_text()
    file.unlink()
    page = report(trained).read_text()
    assert "The data cannot be read any more" in page
    assert {"Result", "Predicted against true", "Residuals"} <= set(titles(page))


def test_a_table_at_hand_is_not_read_again(trained: Run) -> None:
    from sanmaru.tables.read import read_data

    project = trained.project
    table = read_data(project.file.data, project.folder, task="tabular").table
    (project.folder / "train.csv").unlink()
    page = report(trained, table=table).read_text()
    assert "The data today" not in titles(page)


def test_an_unfinished_run_says_how_to_finish_it(make_project) -> None:
    run = Run.create(make_project())
    (run.folder / "task.json").write_text("{}")
    with pytest.raises(RunError, match="has no score yet"):
        sections(run, None)  # type: ignore[arg-type]


@pytest.fixture
def pictures(tmp_path: Path, migrated: Path, without_mirror) -> Run:
    rng = np.random.default_rng(0)
    for place, label in enumerate(("dark", "light")):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(0, 150, (8, 8, 3), dtype=np.uint8) + np.uint8(60 * place)
            Image.fromarray(pixels).save(tmp_path / "train" / label / f"{i}.png")
    content = {
        "name": "shades",
        "task": "image-classification",
        "data": {"train": "train"},
        "split": {"kind": "stratified", "folds": 2},
        "model": {"image_size": 8},
        "train": {"epochs": 2, "batch_size": 8, "device": "cpu"},
    }
    import torch

    torch.set_num_threads(1)
    return train(Project.from_dict(tmp_path, content))


def test_mistakes_are_shown_with_pictures_while_the_data_is_there(pictures: Run) -> None:
    page = report(pictures).read_text()
    found = titles(page)
    for title in ("Confusion", "Calibration", "Training"):
        assert title in found
    wrong = (pictures.predictions()["label"] != pictures.rows()["label"]).sum()
    mistakes = page.split(">Worst mistakes</h2>")[1].split("</section>")[0]
    assert mistakes.count('class="picture') == min(int(wrong), 24)
    assert "What the network sees" in found
    assert "Honest fraction" in page
    (pictures.project.folder / "train").rename(pictures.project.folder / "gone")
    without = report(pictures).read_text()
    assert "The data cannot be read any more" in without
    assert "Confusion" in titles(without)


def test_an_ensemble_tells_its_members_and_its_gain(written_runs) -> None:
    made = written_runs("classes", 240)
    members = [made.run(0.7, seed) for seed in (1, 2)]
    run = ensemble(made.project, [one.id for one in members], method="greedy", tracked=False)
    assert "report_problem" not in run.facts
    page = report(run).read_text()
    assert "how well the ensemble works" in page
    assert "Members" in titles(page)
    for member in members:
        assert member.id in page
    assert run.facts["gain"]["text"].split(" is ")[-1][:12].replace("<", "&lt;") in page
    assert f"sanmaru ensemble {members[0].id} {members[1].id} --method greedy" in commands(run)
    assert "Training" not in titles(page)


def test_only_changed_fields_are_listed(make_project) -> None:
    project = make_project().with_overrides("train.epochs=3", "split.seed=1")
    fields = {key: (value, default) for key, value, default in changed(project)}
    assert fields == {
        "split.kind": ("grouped", "random"),
        "split.folds": (3, 5),
        "split.seed": (1, 7),
        "model.kind": ("linear", "lightgbm"),
        "model.penalty": (0.001, "auto"),
        "train.epochs": (3, 10),
    }


def curve(*losses: float) -> list[dict[str, float]]:
    return [{"step": step, "train_loss": loss, "learning_rate": 0.1} for step, loss in enumerate(losses, start=1)]


def test_curves_share_a_chart_per_quantity_and_the_mean_goes_as_far_as_all_folds() -> None:
    folds = [curve(3, 2, 1), curve(5, 4)]
    folds[0][0]["valid_loss"] = 9.0
    folds[0][1]["valid_loss"] = 8.0
    charts = {chart.title: chart for chart in draw_curves(folds, "epoch")}
    assert list(charts) == ["Loss", "Learning rate"]
    series = {name: (list(x), list(y)) for name, x, y in charts["Loss"].series}
    assert series["training rows"] == ([1, 2], [4, 3])  # step 3 has one fold only
    assert series["selection rows"] == ([1, 2], [9, 8])
    assert [list(y) for name, _, y in charts["Loss"].background if name == "training rows"] == [[3, 2, 1], [5, 4]]


def test_one_point_is_no_curve() -> None:
    assert draw_curves([curve(1), curve(2)], "step") == []
    assert draw_curves([[], []], "step") == []


def test_the_honest_line_is_silent_where_nobody_measured() -> None:
    assert honest_line([{"honest_fraction": None}, {}]) == ""
    assert "90 %" in honest_line([{"honest_fraction": 0.9, "shares": {}}, {"honest_fraction": 0.9}])


def test_commands_quote_what_a_shell_would_split(make_project) -> None:
    project = make_project()
    run = Run.create(project, overrides={"data.drop": ["a b"], "train.epochs": 3})
    facts = json.loads((run.folder / "run.json").read_text())
    text = commands(run)
    assert f"cd {facts['folder']}" in text
    assert """sanmaru train 'data.drop=["a b"]' train.epochs=3""" in text


def test_the_time_of_the_fits_is_drawn_and_a_held_up_network_named() -> None:
    from sanmaru.experiments.report_curves import _held_up

    one = {
        "honest_fraction": 0.8,
        "shares": {"step": 0.7, "augment": 0.2, "gather": 0.1},
        "bottleneck": "bottleneck: x",
    }
    bars = time_bars([{**one, "time_shares": {"step": 0.5, "evaluation": 0.4, "logging": 0.001}}, {}])
    assert bars is not None
    assert list(bars.labels) == ["the step itself", "evaluation"]
    assert list(bars.series[0][1]) == [50.0, 40.0]
    assert time_bars([{}]) is None
    (finding,) = _held_up([one, one])
    assert "80 %" in finding.evidence
    assert "augmenting (20 %)" in finding.evidence
    assert finding.advice.startswith("Augmentation holds")
    assert _held_up([{"honest_fraction": 0.97}]) == []
    assert _held_up([{"honest_fraction": 0.8, "shares": {"step": 0.98, "augment": 0.02}}]) == []  # a busy machine
