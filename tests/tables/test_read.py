from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.config import DataConfig
from sanmaru.tables.read import Dataset, read_data

Write = Callable[..., Path]
Read = Callable[..., Dataset]


def kinds(data: Dataset) -> dict[str, str]:
    return {column.name: column.kind for column in data.columns}


def test_columns_are_typed_by_what_they_hold(write: Write, read: Read) -> None:
    write(
        "price,size,won,zip,red,when,colour,y\n"
        '1.5,3,"76,500",00123,true,2024-01-31,blue,1\n'
        '2.25,4,"172,000",04321,FALSE,2024-02-01, green ,0\n'
        "?,5,900,11111,True,2024-02-02,-,1\n"
    )
    data = read(target="y")
    assert kinds(data) == {
        "price": "number",
        "size": "integer",
        "won": "integer",
        "zip": "category",  # leading zeros are part of a code
        "red": "boolean",
        "when": "date",
        "colour": "category",
    }
    assert data.table["price"].to_list() == [1.5, 2.25, None]
    assert data.table["won"].to_list() == [76500, 172000, 900]
    assert data.table["zip"].to_list() == ["00123", "04321", "11111"]
    assert data.table["red"].to_list() == [True, False, True]
    assert data.table["when"][0] == datetime(2024, 1, 31)
    assert data.table["colour"].to_list() == ["blue", "green", None]
    assert data.table["row"].to_list() == [0, 1, 2]
    assert len(data.quarantine) == 0


def test_records_hold_what_forms_and_drift_need(write: Write, read: Read) -> None:
    write("n,c,y\n" + "".join(f"{i},{'ab'[i % 3 == 0]},{i % 2}\n" for i in range(9)))
    number, category = read(target="y").columns
    assert (number.low, number.high, number.example) == (0.0, 8.0, 4)
    assert category.categories == ("a", "b")


def test_target_labels_keep_their_spelling(write: Write, read: Read) -> None:
    write("x,y\n1,True\n2,False\n3,True\n")
    assert read(target="y").table["y"].to_list() == ["True", "False", "True"]


def test_a_few_cells_that_are_no_numbers_set_their_rows_aside(write: Write, read: Read) -> None:
    write("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(98)) + "oops,1\nagain,0\n")
    data = read(target="y")
    assert data.table["x"].dtype == pl.Int64
    assert data.quarantine.counts() == {"not-a-number": 2}
    first = data.quarantine.violations[0]
    assert (first.row, first.id, first.column, first.value) == (98, "98", "x", "oops")
    assert "'oops' is not a number" in first.reason
    assert data.table["row"].to_list() == list(range(98))


def test_repeated_texts_among_few_numbers_are_codes(write: Write, read: Read) -> None:
    write("x,y\n" + "".join(f"{i % 4},{i % 2}\n" for i in range(96)) + "other,1\nother,0\n")
    data = read(target="y")
    assert kinds(data) == {"x": "category"}
    assert len(data.table) == 98


def test_infinite_numbers_are_not_numbers(tmp_path: Path, read: Read) -> None:
    pl.DataFrame({"x": [1.0, float("inf"), float("nan")], "y": [1, 0, 1]}).write_parquet(tmp_path / "t.parquet")
    data = read(train="t.parquet", target="y")
    assert data.table["x"].to_list() == [1.0, None]
    assert data.quarantine.counts() == {"not-a-number": 1}


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2024-03-01 13:05", "2024-03-02 00:00"], datetime(2024, 3, 1, 13, 5)),
        (["2024-03-01T13:05:06Z", "2024-03-02T00:00:00+09:00"], datetime(2024, 3, 1, 13, 5, 6)),
        (["2024/03/01", "2024/03/15"], datetime(2024, 3, 1)),
        (["01/03/2024", "15/03/2024"], datetime(2024, 3, 1)),
        (["03/01/2024", "03/15/2024"], datetime(2024, 3, 1)),
        (["2024년 3월 1일", "2024년 12월 31일"], datetime(2024, 3, 1)),
        (["20240301", "20241231"], datetime(2024, 3, 1)),
        (["1 Mar 2024", "15 Mar 2024"], datetime(2024, 3, 1)),
        (["2024-03", "2024-04"], datetime(2024, 3, 1)),
    ],
)
def test_dates_in_common_formats(write: Write, read: Read, cells: list[str], first: datetime) -> None:
    write("date,y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    data = read(target="y")
    assert kinds(data) == {"date": "date"}
    assert data.table["date"][0] == first


def test_ambiguous_days_and_months_take_the_reading_that_keeps_order(write: Write, read: Read) -> None:
    write("d,y\n01/02/2024,1\n02/02/2024,0\n03/02/2024,1\n01/03/2024,0\n")
    assert read(target="y").table["d"][1] == datetime(2024, 2, 2)
    assert read(target="y").table["d"][3] == datetime(2024, 3, 1)


def test_missing_targets_groups_and_times_are_counted(write: Write, read: Read) -> None:
    write("g,t,x,y\na,2024-01-01,1,1\n,2024-01-02,2,0\nb,,3,1\nb,2024-01-04,4,NA\nc,2024-01-05,5,0\n")
    data = read(target="y", group="g", time="t")
    assert data.quarantine.counts() == {"missing-target": 1, "missing-group": 1, "missing-time": 1}
    assert data.table["x"].to_list() == [1, 5]
    assert data.roles.features == ("x",)


def test_a_test_table_needs_no_target(write: Write, read: Read) -> None:
    write("id,x,y\n1,1,1\n2,2,0\n")
    write("id,x\n3,1\n4,\n", "test.csv")
    data = read(target="y", id="id", test="test.csv", part="test")
    assert data.roles.targets == ()
    assert data.table.to_dict(as_series=False) == {"id": [3, 4], "x": [1, None]}


def test_a_table_can_be_held_to_known_types(write: Write, tmp_path: Path, read: Read) -> None:
    write("x,y\n1.5,1\n2.5,0\n")
    columns = read(target="y").columns
    write("x,y\n1,1\n2,0\n")
    again = read_data(DataConfig(train="train.csv", target="y"), tmp_path, task="tabular", columns=columns)
    assert again.table["x"].dtype == pl.Float64


def test_ids_keep_their_own_type(write: Write, read: Read) -> None:
    write("id,x,y\n007,1,1\n008,2,0\n")
    assert read(target="y", id="id").table["id"].to_list() == ["007", "008"]
    write("id,x,y\n7,1,1\n8,2,0\n")
    assert read(target="y", id="id").table["id"].to_list() == [7, 8]


def test_later_rows_of_a_repeated_id_are_set_aside(write: Write, read: Read) -> None:
    write("id,x,y\na,1,1\na,1,1\nb,2,0\nb,3,0\nc,4,1\n")
    data = read(target="y", id="id")
    assert data.quarantine.counts() == {"duplicate-id": 1, "conflicting-id": 1}
    assert data.table["x"].to_list() == [1, 2, 4]


def test_an_id_that_mostly_repeats_is_none(write: Write, read: Read) -> None:
    write("id,x,y\n" + "".join(f"a,{i},{i % 2}\n" for i in range(6)))
    with pytest.raises(DataError, match=r"5 of 6 values of the id column 'id' stood before.*data\.group"):
        read(target="y", id="id")


def test_columns_with_another_use_are_read_along(write: Write, tmp_path: Path) -> None:
    write("x,fold,y\n1,0,1\n2,1,0\n")
    config = DataConfig(train="train.csv", target="y")
    data = read_data(config, tmp_path, task="tabular", aside=["fold"])
    assert data.roles.features == ("x",)
    assert data.table["fold"].to_list() == [0, 1]


def test_dropped_columns_set_no_row_aside(write: Write, read: Read) -> None:
    write("x,bad,y\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(30)) + "1,oops,1\n")
    data = read(target="y", drop="bad")
    assert len(data.quarantine) == 0
    assert "bad" not in data.table.columns


def test_the_time_may_be_learned_from_too(write: Write, read: Read) -> None:
    write("day,size,price\n2024-01-02,1,3\n2024-01-01,2,4\n")
    assert read(target="price", time="day").roles.features == ("size",)
    data = read(target="price", time="day", learn_time=True)
    assert data.roles.features == ("day", "size")
    assert data.roles.time == "day"


def test_rows_can_be_their_own_time(write: Write, read: Read) -> None:
    write("x,y\n5,1\n6,0\n")
    data = read(target="y", time="row")
    assert data.roles.time == data.roles.id == "row"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"target": "prize"}, r"no column 'prize' \(data\.target\)\. Did you mean 'price'\?"),
        ({"target": "price", "id": "idd"}, r"no column 'idd' \(data\.id\)\. Did you mean 'id'\?"),
        ({"target": "price", "drop": "sizes"}, r"no column 'sizes' \(data\.drop\)\. Did you mean 'size'\?"),
        ({"target": "price", "features": ["sise"]}, r"\(data\.features\)\. Did you mean 'size'\?"),
        ({}, r"data\.target is not set"),
        ({"target": "price", "group": "price"}, r"both data\.target and data\.group"),
        ({"target": "price", "features": ["size"], "drop": "size"}, r"both in data\.drop and in data\.features"),
        ({"target": "price", "time": "name"}, r"\(data\.time\) holds neither dates nor numbers, e\.g\. \['ann'\]"),
        ({"train": "trian.csv", "target": "price"}, r"no file or folder .*trian\.csv\. Did you mean 'train\.csv'\?"),
        ({"train": "no/train.csv", "target": "price"}, "is absent too"),
    ],
)
def test_wrong_roles_name_the_nearest_column(write: Write, read: Read, config: dict, message: str) -> None:
    write("id,size,name,price\n1,2,ann,3\n2,3,bob,4\n")
    with pytest.raises(DataError, match=message):
        read(**config)


def test_images_need_a_column(write: Write, read: Read) -> None:
    write("file,label\na.png,x\n")
    with pytest.raises(DataError, match=r"data\.image is not set.*file"):
        read("image-classification", target="label")


def test_an_unusable_table_says_why(write: Write, read: Read) -> None:
    write("x,y\n1,\n2,?\n")
    with pytest.raises(DataError, match="every cell of the target 'y' is empty"):
        read(target="y")


def test_jsonl_and_parquet_read_as_csv_does(write: Write, tmp_path: Path, read: Read) -> None:
    rows = [{"id": i, "x": i / 2, "c": "ab"[i % 2], "y": i % 2} for i in range(6)]
    write("\n".join(json.dumps(row) for row in rows), "t.jsonl")
    pl.DataFrame(rows).write_parquet(tmp_path / "t.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    tables = [read(train=f"t.{form}", target="y", id="id").table for form in ("csv", "jsonl", "parquet")]
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])


def test_broken_json_lines_are_set_aside(write: Write, read: Read) -> None:
    write('{"x": 1, "y": 0}\n{"x": 2, "y": \n[1]\n{"x": 3, "y": 1}\n{"x": 4, "y": 1}\n', "t.jsonl")
    data = read(train="t.jsonl", target="y")
    assert data.quarantine.counts() == {"not-json": 2}
    assert data.table["row"].to_list() == [0, 3, 4]


def test_lists_are_left_out_with_a_note(write: Write, read: Read) -> None:
    write('{"x": 1, "l": [1, 2], "y": 0}\n{"x": 2, "l": [3], "y": 1}\n', "t.jsonl")
    data = read(train="t.jsonl", target="y")
    assert data.roles.features == ("x",)
    assert "column 'l' holds List(Int64)" in data.notes[0]
    with pytest.raises(DataError, match=r"'l' .*not single values"):
        read(train="t.jsonl", target="y", features=["x", "l"])


def test_excel_and_gzip_files_are_told_by_their_content(write: Write, read: Read) -> None:
    write(b"PK\x03\x04rest")
    with pytest.raises(DataError, match="zip or Excel"):
        read(target="y")
    write(b"\x1f\x8brest")
    with pytest.raises(DataError, match="gzip"):
        read(target="y")
    write("x", "t.docx")
    with pytest.raises(DataError, match=r"'\.docx' is not a form of table"):
        read(train="t.docx", target="y")


def test_the_fingerprint_follows_the_content(write: Write, read: Read) -> None:
    write("x,y\n1,0\n2,1\n")
    first = read(target="y").fingerprint
    assert read(target="y").fingerprint == first
    write("x,y\n1,0\n3,1\n")
    assert read(target="y").fingerprint != first


def test_a_folder_per_class(write: Write, read: Read, tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.JPG", "dog/3.png", "dog/notes.txt", "dog/.hidden.png", "loose.png"):
        write(name.encode(), f"pets/{name}")
    data = read("image-classification", train="pets")
    assert data.table["path"].to_list() == ["cat/1.png", "cat/2.JPG", "dog/3.png"]
    assert data.table["label"].to_list() == ["cat", "cat", "dog"]
    assert data.table["image"][0] == str(tmp_path / "pets/cat/1.png")
    assert (data.roles.id, data.roles.image, data.roles.targets) == ("path", "image", ("label",))
    assert data.notes == ("2 files are no pictures and were left out, e.g. dog/notes.txt, loose.png",)
    before = data.fingerprint
    write(b"changed", "pets/dog/3.png")
    assert read("image-classification", train="pets").fingerprint != before
    with pytest.raises(DataError, match="task `tabular` learns from a table"):
        read(train="pets")


def test_folders_without_pictures_or_classes(write: Write, read: Read) -> None:
    write("x", "a/b.txt")
    with pytest.raises(DataError, match=r"holds no picture .* but 1 other files"):
        read("image-classification", train="a")
    write("x", "c/b.png")
    with pytest.raises(DataError, match="1 pictures but no folder per class"):
        read("image-classification", train="c")


def test_missing_pictures_are_counted(write: Write, read: Read, tmp_path: Path) -> None:
    write(b"1", "img/p1/a.png")
    write(b"2", "img/p2/b.png")
    write("file,label\np1/a.png,x\np2\\b.png,y\np2/none.png,y\n,x\n")
    data = read("image-classification", target="label", image="file", images="img", group="folder")
    assert data.quarantine.counts()["missing-image"] == 2
    assert data.table["file"].to_list() == [str(tmp_path / "img/p1/a.png"), str(tmp_path / "img/p2/b.png")]
    assert data.table["folder"].to_list() == ["p1", "p2"]
    with pytest.raises(DataError, match=r"none of the 4 pictures of column 'file' was found.*data\.images"):
        read("image-classification", target="label", image="file")


def test_pictures_can_be_bytes(tmp_path: Path, read: Read) -> None:
    pl.DataFrame({"image": [b"a", None], "y": ["p", "q"]}).write_parquet(tmp_path / "t.parquet")
    data = read("image-classification", train="t.parquet", target="y", image="image")
    assert data.table["image"].to_list() == [b"a"]
    assert data.quarantine.counts() == {"missing-image": 1}


@pytest.mark.parametrize(
    ("config", "task", "rows", "rules"),
    [
        ({"train": "adult/train.csv", "target": "income"}, "tabular", 32561, {}),
        ({"train": "air-beijing/train.csv", "target": "pm2.5"}, "tabular", 33091, {"missing-target": 1968}),
        ({"train": "apt-seoul/trades_2022.csv", "target": "거래금액(만원)"}, "tabular", 12800, {}),
        ({"train": "sentiment-ko/train.tsv", "target": "label", "id": "id"}, "tabular", 120000, {}),
        ({"train": "masks/index.csv", "target": "class", "image": "file"}, "image-classification", 834, {}),
        ({"train": "recycle"}, "image-classification", 2013, {}),
    ],
)
def test_real_data(shared_data: Path, config: dict, task: str, rows: int, rules: dict) -> None:
    data = read_data(DataConfig(**config), shared_data, task=task)
    assert (len(data.table), data.quarantine.counts()) == (rows, rules)
