"""The mask competition's layout: read, proposed, and its evaluation table predicted."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.people import write_people

from sanmaru.errors import DataError
from sanmaru.project import Project
from sanmaru.tables.config import DataConfig
from sanmaru.tables.contract import Column
from sanmaru.tables.propose import propose
from sanmaru.tables.read import Dataset, read_data
from sanmaru.tables.split import split
from sanmaru.tables.stream import stream_rows

TARGETS = [
    {"name": "mask", "classes": ["Wear", "Incorrect", "Normal"]},
    {"name": "gender", "classes": ["male", "female"]},
    {"name": "age", "bands": [30, 60]},
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people"))


def read(folder: Path, train: str = "train/train.csv", **fields: object) -> Dataset:
    joint = {"name": "ans", "labels": "codes"}
    content = {"train": train, "layout": "person-folders", "target": TARGETS, "joint": joint, **fields}
    return read_data(DataConfig.model_validate(content), folder, task="image-classification")


def test_people_become_photos_with_the_competitions_codes(written: Path) -> None:
    data = read(written)
    table = data.table
    assert len(table) == 84
    assert (data.roles.id, data.roles.image, data.roles.group) == ("photo", "image", "person")
    assert data.roles.targets == ("ans",)
    assert data.roles.parts == ("mask", "gender", "age")
    assert all(Path(path).is_file() for path in table["image"])
    counts = dict(table["mask"].value_counts().iter_rows())
    assert counts == {"Wear": 60, "Incorrect": 12, "Normal": 12}
    expected = [
        {"Wear": 0, "Incorrect": 6, "Normal": 12}[mask] + 3 * (gender == "female") + (age >= 30) + (age >= 60)
        for mask, gender, age in table.select("mask", "gender", "age").iter_rows()
    ]
    assert table["ans"].to_list() == expected
    assert "12 people have 84 photos" in data.notes
    assert not len(data.quarantine)


def test_the_folder_of_the_table_and_folder_names_alone_give_the_same_rows(written: Path, tmp_path: Path) -> None:
    table = read(written).table
    assert read(written, "train").table.equals(table)
    shutil.copytree(written / "train" / "images", tmp_path / "images")
    named = read(tmp_path, "images").table
    assert named.drop("image").equals(table.drop("image"))


def test_people_without_a_folder_are_set_aside_and_other_files_are_told(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    first, second = sorted((tmp_path / "train" / "images").iterdir())[:2]
    shutil.rmtree(first)
    (second / "notes.txt").write_text("?")
    (second / "mask_extra.jpg").write_text("?")
    data = read(tmp_path)
    assert data.quarantine.counts() == {"missing-folder": 1}
    (violation,) = data.quarantine.violations
    assert (violation.column, violation.value) == ("path", first.name)
    assert len(data.table) == 77
    assert any("2 files are no photos of the layout" in note for note in data.notes)
    shutil.rmtree(tmp_path / "train" / "images")
    with pytest.raises(DataError, match=r"none of the 12 people .* Set data.images to the folder"):
        read(tmp_path)


def test_a_table_without_folders_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "age": [30]}).write_csv(tmp_path / "people.csv")
    with pytest.raises(DataError, match=r"no column 'path', which names each person's folder"):
        read(tmp_path, "people.csv")


@pytest.mark.parametrize("given", ["train/train.csv", "train", "."])
def test_new_recognises_the_layout_and_proposes_a_project(written: Path, given: str) -> None:
    proposal = propose(written / given, name="mask-18", folder=written)
    data = proposal.content["data"]
    assert data == {
        "train": "train/train.csv",
        "test": "eval/info.csv",
        "layout": "person-folders",
        "target": TARGETS,
        "joint": {"name": "ans", "labels": "codes"},
        "group": "person",
    }
    assert proposal.content["split"] == {"kind": "stratified-grouped", "folds": 5}
    assert proposal.source == "12 people, 84 photos"
    assert proposal.why["data.target"].startswith("18 joint classes, from Wear/")
    project = Project.from_dict(written, proposal.content)
    read_again = read_data(project.file.data, written, task=project.file.task)
    folds = split(read_again.table, read_again.roles, project.file.split, classes=True)
    torn = read_again.table.with_columns(fold=folds.fold).group_by("person").agg(pl.col("fold").n_unique())
    assert torn["fold"].max() == 1
    test = read_data(project.file.data, written, task=project.file.task, part="test")
    assert test.table.columns == ["photo", "image"]
    assert test.roles.targets == ()
    assert len(test.table) == 6


def test_one_of_the_targets_may_be_proposed_alone(written: Path) -> None:
    data = propose(written / "train", target="age", name="age", folder=written).content["data"]
    assert data["target"] == {"name": "age", "bands": [30, 60]}
    assert "joint" not in data
    with pytest.raises(DataError, match=r"--target 'race' is none of the targets"):
        propose(written / "train", target="race", name="x", folder=written)


def test_a_table_of_pictures_is_streamed_by_its_column_of_file_names(written: Path) -> None:
    inputs = [Column(name="image", kind="image", required=True)]
    names = pl.read_csv(written / "eval" / "info.csv")["ImageID"].to_list()
    for id_ in ("ImageID", "photo"):  # with the sample's id column, and with one that the file lacks
        ((table, quarantine),) = stream_rows(written / "eval" / "info.csv", inputs, id=id_, missing=())
        assert table.columns == [id_, "image"]
        assert table[id_].to_list() == names
        assert table["image"].to_list() == [str(written / "eval" / "images" / name) for name in names]
        assert not len(quarantine)
    with pytest.raises(DataError, match="has no column 'image'"):
        list(stream_rows(written / "train" / "train.csv", inputs, id="id", missing=()))
