"""Feature steps as the project file writes them."""

from __future__ import annotations

import pytest

from sanmaru.project import Project, json_schema
from sanmaru.tasks.tabular.features.config import (
    CyclicConfig,
    DatesConfig,
    GroupStatisticsConfig,
    NeighboursConfig,
    RatiosConfig,
    TargetEncodingConfig,
    parse_steps,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("dates", DatesConfig()),
        ({"cyclic": {"columns": ["hour"]}}, CyclicConfig(columns=("hour",))),
        ({"cyclic": {"wind": 360}}, CyclicConfig(columns={"wind": 360})),
        ({"target_encoding": ["dong", ["dong", "floor"]]}, TargetEncodingConfig(columns=("dong", ("dong", "floor")))),
        ({"ratios": [["rooms", "households"]]}, RatiosConfig(pairs=(("rooms", "households"),))),
        ({"ratios": "auto"}, RatiosConfig()),
        ({"neighbours": {"columns": ["x", "y"], "k": 3}}, NeighboursConfig(columns=("x", "y"), k=(3,))),
        (
            {"group_statistics": {"by": ["dong"], "of": ["area"], "statistics": ["mean", "rank"]}},
            GroupStatisticsConfig(by=("dong",), of=("area",), statistics=("mean", "rank")),
        ),
    ],
)
def test_a_step_is_a_name_or_a_mapping(written, expected):
    assert parse_steps([written]) == (expected,)


def test_steps_are_taken_back_from_what_is_dumped():
    steps = parse_steps(["dates", {"target_encoding": ["a", ["a", "b"]]}, {"cyclic": {"w": 360}}, {"ratios": "auto"}])
    assert parse_steps([step.model_dump(mode="json") for step in steps]) == steps


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["target_encode"], r"unknown feature step 'target_encode'. Did you mean 'target_encoding'\?"),
        ([{"target_encoding": {"smothing": 3}}], r"unknown key 'target_encoding.smothing'. Did you mean 'smoothing'\?"),
        ([{"target_encoding": {"columns": ["a"], "smoothing": -1}}], r"target_encoding.smoothing: .*got -1"),
        ([{"group_statistics": {"by": ["a"]}}], "the key 'group_statistics.of' is missing"),
        ([{"neighbours": ["x"]}], r"two or more columns of coordinates, got \['x'\]"),
        ([{"dates": [], "cyclic": []}], "a feature step is a name or"),
        ([3], "a feature step is a name or"),
    ],
)
def test_a_wrong_step_is_told_with_the_nearest_name(written, message):
    with pytest.raises(ValueError, match=message):
        parse_steps(written)


def test_the_project_file_reads_steps_and_keeps_them_when_the_model_changes(tmp_path):
    content = {"name": "x", "task": "tabular", "data": {"train": "t.csv", "target": "y"}, "features": ["dates"]}
    project = Project.from_dict(tmp_path, content).with_overrides("model.kind=linear")
    assert project.file.features == (DatesConfig(),)
    assert Project.from_dict(tmp_path, project.to_dict()).file == project.file
    assert "features" in json_schema()["$defs"]["TabularFile"]["properties"]
