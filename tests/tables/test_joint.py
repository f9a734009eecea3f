"""Several targets as one joint label, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sanmaru.errors import DataError
from sanmaru.tables.config import DataConfig
from sanmaru.tables.joint import JointTarget, Target, band_labels, fine_edges, learn_joint
from sanmaru.tables.read import Dataset, read_data
from sanmaru.tables.target_config import JointConfig, TargetConfig
from sanmaru.tasks.tabular.task import Tabular

MASK = TargetConfig(name="mask", classes=("Wear", "Incorrect", "Normal"))
GENDER = TargetConfig(name="gender", classes=("male", "female"))
AGE = TargetConfig(name="age", bands=(30, 60))

PEOPLE = pl.DataFrame(
    {
        "mask": ["Wear", "Normal", "Incorrect", "Wear"],
        "gender": ["male", "female", "female", "female"],
        "age": [29, 30, 60, 59],
    }
)


def competition(labels: str = "codes") -> JointTarget:
    joint = JointConfig(name="ans", labels=labels)  # type: ignore[arg-type]
    found = learn_joint((MASK, GENDER, AGE), joint, PEOPLE)
    assert found is not None
    return found


def test_codes_are_those_of_the_mask_competition() -> None:
    # mask (Wear 0, Incorrect 1, Normal 2) x gender (male 0, female 1) x age (<30, 30-59, >=60)
    joint = competition()
    assert joint.column(PEOPLE).to_list() == [0, 12 + 3 + 1, 6 + 3 + 2, 3 + 1]
    assert joint.column(PEOPLE).dtype == pl.Int64
    assert joint.classes == tuple(str(code) for code in range(18))


def test_labels_as_text_name_every_part() -> None:
    joint = competition("text")
    assert joint.classes[:3] == ("Wear/male/<30", "Wear/male/30-59", "Wear/male/>=60")
    assert joint.column(PEOPLE).to_list()[1] == "Normal/female/30-59"


def test_a_joint_target_survives_json() -> None:
    joint = learn_joint((GENDER, TargetConfig(name="age", bands=(30,), finer=5)), JointConfig(), PEOPLE)
    assert joint is not None
    assert JointTarget.from_json(json.loads(json.dumps(joint.to_json()))) == joint
    assert joint.name == "gender_age"


@given(st.lists(st.integers(2, 5), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_parts_come_back_from_joint_codes_and_marginals_from_joint_probabilities(sizes: list[int], seed: int) -> None:
    targets = tuple(
        Target(name=f"t{place}", classes=tuple(f"{place}.{k}" for k in range(size)), values=tuple("abcde"[:size]))
        for place, size in enumerate(sizes)
    )
    joint = JointTarget(name="all", targets=targets, labels="codes")
    rng = np.random.default_rng(seed)
    parts = np.stack([rng.integers(0, size, 20) for size in sizes], axis=1)
    table = pl.DataFrame({f"t{place}": [list("abcde")[k] for k in parts[:, place]] for place in range(len(sizes))})
    codes = joint.codes(table)
    # Horner's scheme, independent of ravel_multi_index.
    expected = np.zeros(20, dtype=int)
    for place, size in enumerate(sizes):
        expected = expected * size + parts[:, place]
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(joint.split(codes), parts)
    probs = rng.dirichlet(np.ones(len(joint.classes)), 20)
    for place, own in enumerate(joint.marginals(probs)):
        for k in range(sizes[place]):
            members = joint.split(np.arange(len(joint.classes)))[:, place] == k
            np.testing.assert_allclose(own[:, k], probs[:, members].sum(axis=1))


@pytest.mark.parametrize(
    ("cuts", "whole", "labels"),
    [
        ((30, 60), True, ("<30", "30-59", ">=60")),
        ((1, 2), True, ("<1", "1", ">=2")),
        ((0.5,), False, ("<0.5", ">=0.5")),
        ((30, 60), False, ("<30", "30 to 60", ">=60")),
    ],
)
def test_bands_have_readable_labels(cuts: tuple[float, ...], whole: bool, labels: tuple[str, ...]) -> None:
    assert band_labels(cuts, whole=whole) == labels


@given(st.lists(st.integers(0, 100), min_size=5, unique=True))
def test_a_number_on_a_cut_point_belongs_to_the_band_above(ages: list[int]) -> None:
    target = Target(name="age", classes=band_labels((30, 60), whole=True), cuts=(30, 60))
    expected = [0 if age < 30 else 1 if age < 60 else 2 for age in ages]
    assert target.codes(pl.Series("age", ages)).tolist() == expected


@given(st.lists(st.integers(18, 79), min_size=3), st.sampled_from([3, 5, 7.5, (25, 40, 55)]))
def test_every_finer_bin_lies_in_one_band(ages: list[int], finer: float | tuple[float, ...]) -> None:
    column = pl.Series("age", ages)
    edges = fine_edges(finer, (30, 60), column)
    assert list(edges) == sorted(set(edges))
    assert {30.0, 60.0} <= set(edges)
    assert edges[0] <= min(ages)
    assert edges[-1] >= max(ages) + 1
    target = Target(name="age", classes=band_labels((30, 60), whole=True), cuts=(30, 60), fine=edges)
    bins, bands = target.learnt_codes(column), target.codes(column)
    assert bins.max() < target.n_learnt
    for code in np.unique(bins):
        assert len(set(bands[bins == code])) == 1
        inside = np.asarray(ages)[bins == code]
        assert edges[code] <= inside.min()
        assert inside.max() < edges[code + 1]


def test_labels_rename_classes_and_bands() -> None:
    gender = TargetConfig(name="gender", classes=(0, 1), labels=("male", "female"))  # type: ignore[arg-type]
    age = TargetConfig(name="age", bands=(30,), labels=("young", "old"))
    table = pl.DataFrame({"gender": [0, 1, 1], "age": [20, 20, 40]})
    joint = learn_joint((gender, age), JointConfig(), table)
    assert joint is not None
    assert joint.column(table).to_list() == ["male/young", "female/young", "female/old"]
    assert joint.targets[0].labels_of(np.array([1, 0])).to_list() == ["female", "male"]


def test_one_plain_target_stays_as_it_is() -> None:
    assert learn_joint((TargetConfig(name="gender"),), JointConfig(), PEOPLE) is None


def test_one_target_may_be_ordered_or_cut() -> None:
    ordered = learn_joint((MASK,), JointConfig(), PEOPLE)
    cut = learn_joint((AGE,), JointConfig(), PEOPLE)
    assert ordered is not None
    assert cut is not None
    assert (ordered.name, ordered.classes) == ("mask", ("Wear", "Incorrect", "Normal"))
    assert (cut.name, cut.column(PEOPLE).to_list()) == ("age_band", ["<30", "30-59", ">=60", "30-59"])


@pytest.mark.parametrize(
    ("configs", "joint", "message"),
    [
        ((TargetConfig(name="mask", classes=("Wear", "Normal")), GENDER), JointConfig(), r"1 of 4 labels in column"),
        ((GENDER, TargetConfig(name="age", bands=(90,))), JointConfig(), "lie in one band"),
        ((TargetConfig(name="mask", bands=(3,)), GENDER), JointConfig(), "holds no numbers"),
        ((MASK, GENDER), JointConfig(name="age"), "table has a column of that name. Set data.joint.name"),
        ((GENDER, TargetConfig(name="age", bands=(30,), finer=0.01)), JointConfig(), "bins, more than 200"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(
    configs: tuple[TargetConfig, ...], joint: JointConfig, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        learn_joint(configs, joint, PEOPLE)


def test_too_many_joint_classes_and_equal_texts_are_refused() -> None:
    table = pl.DataFrame({"a": [f"v{k}" for k in range(40)], "b": [f"w{k}" for k in range(40)]})
    with pytest.raises(DataError, match="1,600 joint classes, more than 1,000"):
        learn_joint((TargetConfig(name="a"), TargetConfig(name="b")), JointConfig(), table)
    table = pl.DataFrame({"a": ["x/y", "x"], "b": ["z", "y/z"]})
    with pytest.raises(DataError, match=r"two joint classes of a, b would have the same text"):
        learn_joint((TargetConfig(name="a"), TargetConfig(name="b")), JointConfig(), table)
    one = pl.DataFrame({"a": ["x", "y"], "b": ["z", "z"]})
    with pytest.raises(DataError, match=r"'b' has one class only"):
        learn_joint((TargetConfig(name="a"), TargetConfig(name="b")), JointConfig(), one)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ["a", "b"], "bands": [3]}, "both `classes` and `bands`"),
        ({"bands": [60, 30]}, "`bands` of target 'x' must rise"),
        ({"classes": ["a", "a"]}, "names one twice"),
        ({"classes": ["a"]}, "needs at least two"),
        ({"finer": 5}, "needs `bands`"),
        ({"bands": [3], "labels": ["low"]}, "holds 1 and there are 2"),
        ({"labels": ["low", "high"]}, "give `classes` too"),
        ({"band": [3]}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_the_project_file(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate({"train": "t.csv", "target": ["y", {"name": "x", **fields}]})


def test_a_target_may_be_a_name_a_list_or_a_mapping() -> None:
    assert DataConfig.model_validate({"train": "t", "target": "y"}).target_names == ("y",)
    assert DataConfig.model_validate({"train": "t", "target": {"name": "y", "bands": 3}}).targets[0].bands == (3,)
    both = DataConfig.model_validate({"train": "t", "target": ["y", {"name": "z", "classes": [False, True]}]})
    assert both.target_names == ("y", "z")
    assert both.targets[1].classes == ("false", "true")
    with pytest.raises(ValidationError, match="names 'y' more than once"):
        DataConfig.model_validate({"train": "t", "target": ["y", "y"]})


def test_a_target_is_kept_as_it_was_written() -> None:
    content = {"train": "t", "target": ["y", {"name": "z", "bands": [30, 60], "finer": 5}]}
    kept = DataConfig.model_validate(content).model_dump(mode="json")
    assert kept["target"] == content["target"]
    assert DataConfig.model_validate(kept) == DataConfig.model_validate(content)


def test_a_table_learns_one_target_which_may_be_cut_into_bands(tmp_path: Path) -> None:
    table = pl.DataFrame({"size": list(range(60)), "age": [20 + k % 50 for k in range(60)], "sex": ["m", "f"] * 30})
    table.write_csv(tmp_path / "t.csv")

    def read(target: object) -> Dataset:
        config = DataConfig.model_validate({"train": "t.csv", "target": target})
        return read_data(config, tmp_path, task="tabular")

    data = read({"name": "age", "bands": [30, 60]})
    assert data.roles.targets == ("age_band",)
    assert data.roles.features == ("size", "sex")
    task = Tabular.open(data.table, data.roles, columns=data.columns)
    assert task.output.classes == ("<30", "30-59", ">=60")
    with pytest.raises(DataError, match="a tabular task learns one target column, got 'age', 'sex'"):
        read(["age", "sex"])
    with pytest.raises(DataError, match="`finer` bins are learnt by networks"):
        read({"name": "age", "bands": [30], "finer": 5})


def test_rows_without_one_of_the_targets_are_set_aside(tmp_path: Path) -> None:
    rows = [(f"{k}.png", "" if k == 3 else str(k % 2), "old" if k == 5 else str(20 + k)) for k in range(40)]
    pl.DataFrame(rows, schema=["file", "gender", "age"], orient="row").write_csv(tmp_path / "t.csv")
    for k in range(40):
        (tmp_path / f"{k}.png").write_bytes(b"x")
    target = ["gender", {"name": "age", "bands": [30, 50]}]
    config = DataConfig.model_validate({"train": "t.csv", "image": "file", "target": target})
    data = read_data(config, tmp_path, task="image-classification")
    assert data.quarantine.counts() == {"missing-target": 1, "not-a-number": 1}
    assert len(data.table) == 38
    wrong = {"train": "t.csv", "image": "file", "target": [{"name": "gender", "classes": [0, 2]}, target[1]]}
    with pytest.raises(DataError, match=r"t.csv: 18 of 38 labels in column 'gender' .*: '1'\. Add them to `classes`"):
        read_data(DataConfig.model_validate(wrong), tmp_path, task="image-classification")
