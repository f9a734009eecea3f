from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables import text

Write = Callable[..., Path]


def read(path: Path, encoding: str = "utf-8", block_bytes: int = text.BLOCK_BYTES) -> tuple[pl.DataFrame, list]:
    layout = text.survey(path, encoding)
    blocks = list(text.blocks(path, layout, encoding, block_bytes))
    return pl.concat([block.table for block in blocks]), [v for block in blocks for v in block.violations]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n", r"holds a header \(a, b\) and no row"),
        (b"a,b,a\n1,2,3\n", "'a' at columns 1, 3"),
        (b"1,2,3\n4,5,6\n", "first line holds only numbers"),
        (b"a,b\n1\n2\n3,4\n", "2 of 3 rows do not fit the header's 2 columns, e.g. line 2 has 1 fields"),
        ("a,b\n1,한글\n".encode("utf-16"), "is UTF-16. Set data.encoding: utf-16"),
    ],
)
def test_files_that_are_no_table(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(write(content))


def test_another_encoding_is_named_with_byte_and_line(write: Write) -> None:
    path = write("이름,값\n가나,1\n".encode("cp949"))
    with pytest.raises(DataError, match=r"not UTF-8: byte 0 \(line 1\) is 0xc0.*data\.encoding: cp949"):
        read(path)
    assert read(path, "cp949")[0].to_dicts() == [{"이름": "가나", "값": "1"}]
    later = write(b"a,b\nx,1\n" + "가,2\n".encode("cp949"), "later.csv")
    with pytest.raises(DataError, match=r"byte 8 \(line 3\)"):
        read(later)
    with pytest.raises(DataError, match="'cp-949x' is unknown"):
        read(path, "cp-949x")


def test_a_cut_character_at_the_end_is_found(write: Write) -> None:
    with pytest.raises(DataError, match=r"byte 6 \(line 2\)"):
        read(write(b"a,b\n1," + "가".encode()[:2]))


def test_utf16_reads_when_asked_for(write: Write) -> None:
    assert read(write("a,b\n1,한글\n".encode("utf-16")), "utf-16")[0].to_dicts() == [{"a": "1", "b": "한글"}]


def test_byte_order_mark_blank_lines_and_windows_line_ends(write: Write) -> None:
    table, _ = read(write(b"\xef\xbb\xbfa, b\r\n1,2\r\n\r\n3,4"))
    assert table.to_dicts() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_quotes_hold_separators_and_line_ends(write: Write) -> None:
    table, broken = read(write('a,b\n"x,\n""y""",1\n2,"3"\n'))
    assert table.to_dicts() == [{"a": 'x,\n"y"', "b": "1"}, {"a": "2", "b": "3"}]
    assert broken == []


def test_a_lone_quote_in_a_tsv_is_a_letter(write: Write) -> None:
    path = write('a\tb\n"x\t1\ny"z\t2\n"w"\t3\n', "t.tsv")
    assert read(path)[0]["a"].to_list() == ['"x', 'y"z', '"w"']


def test_a_lone_quote_in_a_csv_is_a_letter_where_that_tears_fewer_rows(write: Write) -> None:
    assert read(write('a,b\n5" pipe,1\nx,2\ny,3\n'))[0]["b"].to_list() == ["1", "2", "3"]


def test_other_separators_are_found(write: Write) -> None:
    assert read(write("a;b\n1,5;2\n"))[0].to_dicts() == [{"a": "1,5", "b": "2"}]


def test_ragged_rows_are_set_aside_with_their_line(write: Write) -> None:
    path = write('a,b\n1,2\n\n"x\ny",3\n4\n5,6,7\n8,9\n10,11\n')
    for block_bytes in (text.BLOCK_BYTES, 7):
        table, broken = read(path, block_bytes=block_bytes)
        assert table["b"].to_list() == ["2", "3", "9", "11"]
        assert [(v.row, v.rule, v.value) for v in broken] == [(2, "ragged-row", "4"), (3, "ragged-row", "5,6,7")]
        assert [v.reason for v in broken] == [
            "line 6 has 1 fields, the header has 2",
            "line 7 has 3 fields, the header has 2",
        ]


def test_unnamed_columns_get_a_name(write: Write) -> None:
    assert read(write(",x\n0,1\n"))[0].columns == ["column_1", "x"]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff", exclude_categories=("Cs",)), max_size=6)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8), block_bytes=st.integers(4, 64))
def test_what_csv_writes_is_read_back(tmp_path_factory, rows: list, block_bytes: int) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    path = tmp_path_factory.getbasetemp() / "back.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    table, broken = read(path, block_bytes=block_bytes)
    assert broken == []
    assert [tuple(cell or "" for cell in row) for row in table.iter_rows()] == rows
