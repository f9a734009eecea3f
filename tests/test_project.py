"""The project file: read strictly, and every mistake named with its line and the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.errors import ProjectFileError
from sanmaru.project import Project, json_schema

BASE = "name: flats\ntask: tabular\ndata:\n  train: a.csv\n  target: price\n"


def load(folder: Path, text: str, *overrides: str) -> Project:
    (folder / "sanmaru.yaml").write_text(text, encoding="utf-8")
    return Project.load(folder, *overrides)


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    project = load(tmp_path, BASE)
    assert project.file.model.kind == "lightgbm"
    assert project.file.data.target == ("price",)
    assert project.file.split.folds == 5
    assert project.tracking_uri == f"sqlite:///{tmp_path.resolve()}/mlflow.db"


def test_a_folder_below_the_project_finds_it(tmp_path: Path) -> None:
    load(tmp_path, BASE)
    below = tmp_path / "notebooks" / "old"
    below.mkdir(parents=True)
    assert Project.load(below).folder == tmp_path.resolve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "  tarqet: y\n", r"line 6: unknown key 'data\.tarqet'\. Did you mean 'target'"),
        (BASE + "model: {kind: lightgbm, treees: 3}\n", r"line 6: unknown key 'model\.treees'\. Did you mean 'trees'"),
        (BASE + "model: {kind: lightgb}\n", r"line 6: unknown model\.kind 'lightgb'\. Did you mean 'lightgbm'"),
        (BASE + "metric: rmsee\n", r"line 6: metric: unknown metric 'rmsee'\. Did you mean 'rmse'"),
        (
            BASE + "train:\n  epochs: 0\n",
            r"line 7: train\.epochs: Input should be greater than or equal to 1 \(got 0\)",
        ),
        (BASE + "train: {augment: [hflp]}\n", r"unknown augmentation 'hflp'\. Did you mean 'hflip'"),
        (BASE + "train: {augment: [{rotate: -5}]}\n", r"rotate.*-5"),
        (BASE + "split: {kind: column}\n", r"needs split\.column"),
        (
            BASE.replace("tabular", "image-classification") + "model: {backbone: resnet18}\n",
            r"line 6: model\.backbone: unknown backbone 'resnet18'\. Did you mean 'resnet-18'",
        ),
        (BASE + "name: again\n", r"line 6: the key 'name' stands twice"),
        (BASE.replace("tabular", "tabula"), r"unknown task 'tabula'\. Did you mean 'tabular'"),
        (BASE.replace("task: tabular\n", ""), r"the key 'task' is missing.*image-classification"),
        (BASE.replace("  train: a.csv\n", ""), r"the key 'data\.train' is missing"),
        ("- a\n", r"should hold `key: value` lines"),
        ("a: [b\n", r"line \d: not valid YAML"),
        ("", r"should hold `key: value` lines"),
    ],
)
def test_a_mistake_gets_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectFileError, match=message):
        load(tmp_path, text)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"(?s)train\.epochs.*metric"):
        load(tmp_path, BASE + "train: {epochs: 0}\nmetric: nope\n")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"no sanmaru\.yaml in .* sanmaru new"):
        Project.load(tmp_path)


def test_a_file_that_is_not_utf8_says_where(tmp_path: Path) -> None:
    (tmp_path / "sanmaru.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(ProjectFileError, match=r"not UTF-8 \(byte 6\)"):
        Project.load(tmp_path)


def test_overrides_are_read_as_yaml(tmp_path: Path) -> None:
    project = load(tmp_path, BASE, "train.learning_rate=1e-3", "split.folds=3", "train.augment=[hflip, {rotate: 5}]")
    assert project.file.train.learning_rate == 1e-3
    assert project.file.split.folds == 3
    assert project.file.train.augment == ({"hflip": 0.5}, {"rotate": 5.0})


def test_a_model_without_a_kind_is_the_usual_one(tmp_path: Path) -> None:
    project = load(tmp_path, BASE, "model.trees=50")
    assert (project.file.model.kind, project.file.model.trees) == ("lightgbm", 50)


def test_another_kind_drops_the_fields_of_the_old_one(tmp_path: Path) -> None:
    project = load(tmp_path, BASE + "model: {kind: lightgbm, leaves: 7}\n", "model.kind=linear")
    assert project.file.model.kind == "linear"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "an override is key=value"),
        ("=3", "an override is key=value"),
        ("train.epoch=3", r"unknown key 'train\.epoch'\. Did you mean 'epochs'"),
        ("name.first=3", "holds a single value"),
        ("train.augment=[a", "is not valid YAML"),
        ("data.learn_time=true", "needs a column that data.time names"),
    ],
)
def test_a_wrong_override_is_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ProjectFileError, match=message):
        load(tmp_path, BASE, override)


@given(
    folds=st.integers(2, 100),
    rate=st.floats(1e-8, 10, allow_nan=False),
    kind=st.sampled_from(["random", "stratified", "grouped", "time"]),
    metric=st.sampled_from([None, "rmse", "accuracy"]),
)
def test_writing_and_reading_gives_the_same_project(folds: int, rate: float, kind: str, metric: str | None) -> None:
    content = {
        **yaml.safe_load(BASE),
        "split": {"kind": kind, "folds": folds},
        "train": {"learning_rate": rate},
        "metric": metric,
    }
    project = Project.from_dict(".", content)
    again = Project.from_dict(".", yaml.safe_load(yaml.safe_dump(project.to_dict())))
    assert again.file == project.file


def test_the_schema_knows_every_key_of_a_written_file(tmp_path: Path) -> None:
    schema = json_schema()
    file = load(tmp_path, BASE).to_dict()
    known = schema["$defs"]["TabularFile"]["properties"]
    assert set(file) == set(known)
