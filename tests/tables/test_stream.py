from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.contract import Column, Quarantine
from sanmaru.tables.stream import stream_rows

Write = Callable[..., Path]
INPUTS = (
    Column(name="n", kind="number"),
    Column(name="i", kind="integer"),
    Column(name="c", kind="category"),
    Column(name="d", kind="date", date_format="%Y/%m/%d"),
)
CSV = "extra,d,c,i,n,id\n,2024/01/02,a,1,0.5,p\nx,2024-01-03, ? ,2,?,q\nx,,b,3,oops,r\nx,2024/01/05,b,4,4,s\n"


def collect(path: Path, inputs: tuple = INPUTS, **options: object) -> tuple[pl.DataFrame, Quarantine, int]:
    options = {"id": "id", "missing": ("", "?"), **options}
    parts = list(stream_rows(path, inputs, **options))  # type: ignore[arg-type]
    quarantine = sum((part[1] for part in parts), Quarantine())
    return pl.concat([part[0] for part in parts]), quarantine, len(parts)


def test_rows_are_held_to_the_signature(write: Write) -> None:
    table, quarantine, _ = collect(write(CSV))
    assert table.columns == ["id", "n", "i", "c", "d"]
    assert table["id"].to_list() == ["p", "q", "s"]
    assert table["n"].to_list() == [0.5, None, 4.0]
    assert table["c"].to_list() == ["a", None, "b"]
    assert table["d"].to_list() == [datetime(2024, 1, 2), datetime(2024, 1, 3), datetime(2024, 1, 5)]
    assert [(v.row, v.id, v.column, v.rule) for v in quarantine.violations] == [(2, "r", "n", "not-a-number")]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_batches_of_every_form_hold_the_same_rows(write: Write, tmp_path: Path, form: str) -> None:
    table = pl.DataFrame({"id": range(10), "n": [i / 2 for i in range(10)], "c": list("abcdefghij")})
    path = tmp_path / f"t.{form}"
    match form:
        case "csv":
            table.write_csv(path)
        case "tsv":
            table.write_csv(path, separator="\t")
        case "jsonl":
            write("\n".join(json.dumps(row) for row in table.to_dicts()), path.name)
        case "parquet":
            table.write_parquet(path)
    inputs = (Column(name="n", kind="number"), Column(name="c", kind="category"))
    out, quarantine, batches = collect(path, inputs, batch_rows=3)
    assert out.equals(table)
    assert len(quarantine) == 0
    assert batches == 4
    assert collect(path, inputs, id=None, batch_rows=3)[0]["row"].to_list() == list(range(10))


def test_missing_columns_name_the_nearest(write: Write) -> None:
    with pytest.raises(DataError, match=r"no column 'i' and 1 more \(dd\), which the model needs"):
        collect(write("n,j,c,d,id\n1,1,1,,1\n"), (*INPUTS[:3], Column(name="dd", kind="date")))
    with pytest.raises(DataError, match=r"Did you mean 'colour'\?"):
        collect(write("n,colour\n1,1\n"), (Column(name="color", kind="category"),), id=None)
    with pytest.raises(DataError, match="no column 'id'"):
        collect(write("n\n1\n"), (Column(name="n", kind="number"),))


def test_ids_have_one_type_throughout(write: Write) -> None:
    inputs = (Column(name="n", kind="number"),)
    path = write("id,n\n" + "".join(f"{i},1\n" for i in range(9)) + "x9,1\n")
    assert collect(path, inputs, batch_rows=2)[0]["id"].dtype == pl.String
    path = write("id,n\n007,1\n8,2\n")
    assert collect(path, inputs)[0]["id"].to_list() == ["007", "8"]


def test_whole_number_columns_take_fractions(write: Write) -> None:
    table, quarantine, _ = collect(write("i\n1\n2.5\n"), (Column(name="i", kind="integer"),), id=None)
    assert table["i"].to_list() == [1.0, 2.5]
    assert len(quarantine) == 0


def test_required_values_and_ragged_rows(write: Write) -> None:
    inputs = (Column(name="c", kind="category", required=True),)
    table, quarantine, _ = collect(write("c,x\na,1\n?,2\nb\nd,4\n"), inputs, id=None)
    assert table["row"].to_list() == [0, 3]
    assert quarantine.counts() == {"missing-value": 1, "ragged-row": 1}


def test_pictures_from_a_table_and_from_a_folder(write: Write, tmp_path: Path) -> None:
    inputs = (Column(name="file", kind="image", required=True),)
    for name in ("img/b.png", "img/sub/a.png"):
        write("x", name)
    write("", "img/notes.txt")
    table, quarantine, _ = collect(write("id,file\n1,b.png\n2,gone.png\n"), inputs, images=tmp_path / "img")
    assert table.to_dicts() == [{"id": 1, "file": str(tmp_path / "img/b.png")}]
    assert quarantine.counts() == {"missing-image": 1}
    table, _, _ = collect(tmp_path / "img", inputs, id="path")
    assert table["path"].to_list() == ["b.png", "sub/a.png"]
    assert table["file"].to_list() == [str(tmp_path / "img/b.png"), str(tmp_path / "img/sub/a.png")]
    with pytest.raises(DataError, match="is a folder of pictures, and the model takes n"):
        collect(tmp_path / "img", INPUTS[:1])


def test_another_encoding(write: Write) -> None:
    path = write("c\n가\n".encode("cp949"))
    inputs = (Column(name="c", kind="category"),)
    assert collect(path, inputs, id=None, encoding="cp949")[0]["c"].to_list() == ["가"]
    with pytest.raises(DataError, match=r"data\.encoding: cp949"):
        collect(path, inputs, id=None)


def test_keys_that_later_rows_leave_out_are_missing_values(write: Write) -> None:
    path = write('{"id": 1, "c": "a"}\n{"id": 2}\n', "t.jsonl")
    table, _, _ = collect(path, (Column(name="c", kind="category"),), batch_rows=1)
    assert table["c"].to_list() == ["a", None]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    program = """
import re, sys
from pathlib import Path
from sanmaru.tables.contract import Column
from sanmaru.tables.stream import stream_rows
columns = [Column(name=f"x{i}", kind="number") for i in range(8)]
list_of_rows = sum(len(t) for t, _ in stream_rows(Path(sys.argv[1]), columns, id=None, missing=("",)))
# Not getrusage: its peak is that of the process which started this one, where that was larger.
print(list_of_rows, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux' /proc to know a process' peak memory")
    peaks = []
    for rows in (50_000, 500_000):
        path = tmp_path / f"{rows}.{form}"
        table = pl.DataFrame({f"x{i}": pl.Series(range(rows)) / 7 for i in range(8)})
        {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[form](path)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
        )
        count, peak = map(int, done.stdout.split())
        assert count == rows
        peaks.append(peak / 1024)
    # 500,000 rows of 8 numbers are 31 MB as arrays and 80 MB as text; allocators keep a few blocks more or less.
    assert peaks[1] - peaks[0] < 40
