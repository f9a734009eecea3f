"""Odd tables are read rightly, and what was odd is told with counts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError, ProjectFileError
from sanmaru.project import Project
from sanmaru.tables import types
from sanmaru.tables.config import DataConfig
from sanmaru.tables.odd import twin_note, twins
from sanmaru.tables.project_text import project_text
from sanmaru.tables.propose import propose
from sanmaru.tables.read import read_data
from sanmaru.tables.roles import Roles


def write(folder: Path, n: int = 60) -> None:
    """Write a table of flats as offices do."""
    rows = [
        f'{i % 7}동,"{30 + i % 50}.5㎡","{1000 + i:,}",{"Y" if i % 2 else "N"},'
        f"{'없음' if i % 3 else '있음'},2022{1 + i % 12:02d},{'-' if i % 4 else i},{5 * i}"
        for i in range(n)
    ]
    (folder / "t.csv").write_text(
        "동,전용면적,보증금,승강기,주차,계약년월,층,가격\n" + "\n".join([*rows, rows[3]]) + "\n"
    )


def read(folder: Path, **data: object):
    return read_data(DataConfig(train="t.csv", target="가격", **data), folder, task="tabular")


def test_an_office_table_is_typed_and_its_oddities_are_counted(tmp_path):
    write(tmp_path)
    data = read(tmp_path)
    kinds = {column.name: (column.kind, column.form) for column in data.columns}
    assert kinds == {
        "동": ("category", None),
        "전용면적": ("number", "㎡"),
        "보증금": ("integer", None),
        "승강기": ("boolean", None),
        "주차": ("category", None),
        "계약년월": ("date", "%Y%m"),
        "층": ("integer", None),
    }
    assert data.table["전용면적"][0] == 30.5
    assert data.table["계약년월"][1] == datetime(2022, 2, 1)
    assert set(data.notes) == {
        "numbers with the unit ㎡ were read without it (전용면적)",
        "61 numbers have thousands set off by commas (보증금)",
        "N, Y were read as yes and no (승강기)",
        "40 cells '없음' were taken as no value (주차)",
        "dates are written as %Y%m (계약년월)",
        "46 cells '-' were taken as no value (층)",
    }
    assert not data.quarantine


def test_the_project_file_says_what_a_column_holds(tmp_path):
    write(tmp_path)
    told = {"전용면적": "category", "계약년월": "integer", "동": "text"}
    data = read(tmp_path, types=told, missing=["-"])
    kinds = {column.name: column.kind for column in data.columns}
    assert kinds | told == kinds
    assert data.table["계약년월"].dtype == pl.Int64
    assert set(data.table["주차"]) == {"있음", "없음"}
    with pytest.raises(DataError, match=r"no column '면적' \(data.types\). Did you mean '전용면적'\?"):
        read(tmp_path, types={"면적": "number"})
    content = {"name": "x", "task": "tabular", "data": {"train": "t.csv", "types": {"zip": "categry"}}}
    with pytest.raises(ProjectFileError, match=r"column 'zip' cannot be 'categry'. Did you mean 'category'\?"):
        Project.from_dict(tmp_path, content)


def test_cells_that_a_told_type_does_not_fit_are_counted_and_named(tmp_path):
    write(tmp_path)
    data = read(tmp_path, types={"동": "number"})
    assert data.columns[0].unit == "동"  # a unit where the project file says that it is a number
    with pytest.raises(DataError, match=r"none of the 61 rows can be used \(not-a-number 61"):
        read(tmp_path, types={"승강기": "number"})


def test_a_target_may_have_a_class_called_none(tmp_path):
    (tmp_path / "t.csv").write_text(
        "a,가격\n" + "".join(f"{i % 5},{['none', '없음', 'some'][i % 3]}\n" for i in range(30))
    )
    data = read(tmp_path)
    assert sorted(data.table["가격"].unique()) == ["none", "some", "없음"]
    assert "3 classes" in propose(tmp_path / "t.csv", target="가격").why["data.target"]


def test_a_target_with_a_unit_is_a_number(tmp_path):
    (tmp_path / "t.csv").write_text("a,가격\n" + "".join(f"{i},{i + 1}억 {i}천만원\n" for i in range(1, 9)))
    assert read(tmp_path).table["가격"][0] == 2.1e8


def test_rows_that_stand_twice_are_kept_or_set_aside(tmp_path):
    write(tmp_path)
    assert read(tmp_path).table.height == 61
    dropped = read(tmp_path, duplicates="drop")
    assert dropped.table.height == 60
    assert dropped.quarantine.counts() == {"duplicate-row": 1}
    assert dropped.quarantine.violations[0].row == 60


def test_equal_rows_in_several_folds_are_counted():
    table = pl.DataFrame({"id": [1, 2, 3, 4, 5], "a": ["x", "x", None, None, "y"], "b": [1, 1, 2, 2, 3]})
    roles = Roles(id="id", targets=("b",))
    found = twins(table, roles)
    assert found.is_not_null().to_list() == [True, True, True, True, False]
    assert found[0] == found[1] != found[2] == found[3]
    note = twin_note(table, roles, np.array([0, 1, 0, 0, 1]))
    assert note == (
        "2 rows equal an earlier one in every column but the id; 1 sets of equal rows lie in several folds, where one "
        "tells the other (data.duplicates: drop)"
    )
    assert twin_note(table[:1], roles, np.zeros(1)) is None


@pytest.mark.parametrize(
    ("written", "name", "form", "first"),
    [
        (["202203", "202112"], "계약년월", "%Y%m", datetime(2022, 3, 1)),
        (["20220301", "20211231"], "계약일자", "%Y%m%d", datetime(2022, 3, 1)),
        ([20220301, 20211231], "date", "%Y%m%d", datetime(2022, 3, 1)),
        (["2022년 3월", "2021년 12월"], "x", "%Y년 %m월", datetime(2022, 3, 1)),
        (["2022년 3월 5일", "2021년 12월 31일"], "x", "%Y년 %m월 %d일", datetime(2022, 3, 5)),
        (["22.03.01", "21.12.31"], "x", "%y.%m.%d", datetime(2022, 3, 1)),
        (["2022.03", "2021.12"], "기준년월", "%Y.%m", datetime(2022, 3, 1)),
        (["2022-03-01 오후 3:05", "2022-03-01 오전 12:00"], "x", "%Y-%m-%d %p %I:%M", datetime(2022, 3, 1, 15, 5)),
        (["2022. 3. 1.", "2022. 12. 31."], "x", "%Y. %m. %d.", datetime(2022, 3, 1)),
        (["202203011205", "202112312359"], "측정일시", "%Y%m%d%H%M", datetime(2022, 3, 1, 12, 5)),
    ],
)
def test_dates_as_korean_tables_write_them(written, name, form, first):
    from sanmaru.tasks.tabular import cells

    series = pl.Series(name, written)
    column = types.detect(series)
    assert (column.kind, column.date_format) == ("date", form)
    assert types.convert(series, "date", form).series[0] == first
    read = cells.moment(frozenset(), form)  # as a request gives it
    assert [read(cell) for cell in written] == types.convert(series, "date", form).series.to_list()


@pytest.mark.parametrize(
    ("written", "name"), [(["202203", "202112"], "상품번호"), (["2022.03", "2021.12"], "x"), (["22.03", "21.12"], "월")]
)
def test_numbers_that_could_be_months_stay_numbers(written, name):
    assert types.detect(pl.Series(name, written)).kind in ("integer", "number")


@pytest.mark.parametrize("words", [("Y", "N"), ("예", "아니오"), ("O", "X"), ("yes", "No"), ("true", "False")])
def test_yes_and_no_are_booleans(words):
    from sanmaru.tasks.tabular import cells

    series = pl.Series("x", list(words) * 3)
    assert types.detect(series).kind == "boolean"
    assert types.convert(series, "boolean").series.to_list()[:2] == [True, False]
    read = cells.boolean(frozenset())
    assert [read(word) for word in words] == [1.0, 0.0]


def test_new_says_what_is_odd_and_proposes_steps(tmp_path):
    generator = np.random.default_rng(0)
    rows = "".join(
        f"{37 + generator.random():.4f},{126 + generator.random():.4f},c{i % 90},{i}㎡,{generator.normal():.3f}\n"
        for i in range(400)
    )
    (tmp_path / "t.csv").write_text("latitude,longitude,complex,area,price\n" + rows)
    text = project_text(propose(tmp_path / "t.csv", target="price", folder=tmp_path))
    assert "# types: numbers with the unit ㎡ were read without it (area)." in text
    assert "- {target_encoding: {columns: [complex]}}" in text
    assert "- {neighbours: {columns: [latitude, longitude], k: 10}}" in text
    (tmp_path / "sanmaru.yaml").write_text(text)
    assert [step.step for step in Project.load(tmp_path).file.features] == ["target_encoding", "neighbours"]
