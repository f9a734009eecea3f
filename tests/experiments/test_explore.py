"""The data report of small projects: tables, pictures, and data that cannot be trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanmaru.errors import DataError
from sanmaru.experiments.explore import explore
from sanmaru.project import Project


def table_project(folder: Path, **fields: object) -> Project:
    rng = np.random.default_rng(0)
    lines = ["id,size,town,same,price"]
    lines += [f"a{i},{rng.normal(100, 10):.3f},{'xyz'[i % 3]},k,{rng.normal(5, 1):.3f}" for i in range(300)]
    lines.append("a300,not a number,x,k,4")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    twin = lines[5].split(",")
    shifted = [f"b{i},{rng.normal(130, 10):.3f},{'xyz'[i % 3]},k" for i in range(100)]
    (folder / "test.csv").write_text("\n".join(["id,size,town,same", f"b100,{','.join(twin[1:4])}", *shifted]) + "\n")
    data = {"train": "train.csv", "test": "test.csv", "id": "id", "target": "price"}
    return Project.from_dict(folder, {"name": "homes", "task": "tabular", "data": data, **fields})


def test_a_table_is_reported_on_with_its_findings(tmp_path: Path) -> None:
    path = explore(table_project(tmp_path, problem="What does a home cost?"))
    assert path == tmp_path / "reports" / "explore.html"
    page = path.read_text(encoding="utf-8")
    assert "homes: the data" in page
    assert "What does a home cost?" in page
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    found = {finding["kind"]: finding for finding in record["findings"]}
    assert {"duplicates-across", "shift", "constant-column"} <= set(found)
    assert found["shift"]["title"].startswith("size")
    assert found["duplicates-across"]["ids"] == ["b100"]
    for finding in record["findings"]:
        assert finding["title"].replace("<", "&lt;") in page
        assert finding["evidence"]
        assert finding["advice"]
    severities = [finding["severity"] for finding in record["findings"]]
    assert severities == sorted(severities, key=["problem", "warning", "info"].index)
    assert record["rows"]["test"] == 101


def test_the_tasks_own_sections_stand_in_the_report(tmp_path: Path) -> None:
    page = explore(table_project(tmp_path)).read_text(encoding="utf-8")
    titles = re.findall(r'<h2 id="[^"]*">([^<]*)</h2>', page)
    assert titles[0] == "Overview"
    assert "Target: price" in titles
    assert {"Train against test", "Numbers", "Categories", "Correlation"} <= set(titles) | {"Correlation"}


def test_the_output_can_be_named(tmp_path: Path) -> None:
    project = table_project(tmp_path)
    assert explore(project, tmp_path / "here.html").is_file()
    assert (tmp_path / "here.json").is_file()
    with pytest.raises(DataError, match=r"would be both\. Name a \.html"):
        explore(project, tmp_path / "here.json")


def test_a_target_that_cannot_be_learned_is_a_problem_and_the_rest_is_shown(tmp_path: Path) -> None:
    project = table_project(tmp_path)
    text = (tmp_path / "train.csv").read_text().splitlines()
    one_class = [text[0], *(line.rsplit(",", 1)[0] + ",yes" for line in text[1:])]
    (tmp_path / "train.csv").write_text("\n".join(one_class) + "\n")
    path = explore(project)
    first = json.loads(path.with_suffix(".json").read_text())["findings"][0]
    assert first["kind"] == "cannot-train"
    assert first["severity"] == "problem"
    assert "Numbers" in path.read_text()


def test_pictures_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / label / f"{i}.png")
    (tmp_path / "train" / "cat" / "broken.png").write_bytes(b"\x89PNG no picture")
    content = {"name": "pets", "task": "image-classification", "data": {"train": "train"}}
    path = explore(Project.from_dict(tmp_path, content))
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["rows"]["train"] == 24
    assert record["set_aside"]["train"] == 1
    assert "quarantine" in {finding["kind"] for finding in record["findings"]}
    page = path.read_text()
    assert "broken.png" in page
    assert "data:image/" in page


def test_shared_tables_show_what_is_known_of_them(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "adult"
    data = {"train": str(folder / "train.csv"), "test": str(folder / "test.csv"), "target": "income"}
    path = explore(Project.from_dict(tmp_path, {"name": "adult", "task": "tabular", "data": data}))
    found = {f["kind"]: f for f in json.loads(path.with_suffix(".json").read_text())["findings"]}
    # The README of the data: 24 duplicate rows in train; the test file is a random part of the same census.
    assert found["duplicate-rows"]["title"] == "24 rows repeat an earlier one"
    assert "shift" not in found
