from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.packages.sample import Places, Sample, plain_ids, read_sample
from sanmaru.tasks.base import Output

LABELS = Output(name="y", kind="classification", classes=("a", "b"), dtype="string")
NUMBER = Output(name="y", kind="regression", dtype="float")


def of_ids(ids: list[str]) -> Sample:
    return Sample(path=Path("s.csv"), columns=("id", "y"), id="id", ids=pl.Series(ids, dtype=pl.String), form="label")


@given(
    ids=st.lists(st.integers(0, 30), max_size=12, unique=True),
    came=st.lists(st.integers(0, 30), max_size=30),
    cut=st.integers(1, 7),
)
def test_places_agree_with_a_dictionary(ids, came, cut):
    sample = of_ids([str(i) for i in ids])
    places = Places(sample)
    known = {str(i): place for place, i in enumerate(ids)}
    seen: set[str] = set()
    for start in range(0, len(came), cut):
        batch = came[start : start + cut]
        expected = []
        for one in map(str, batch):
            expected.append(known[one] if one in known and one not in seen else -1)
            seen.add(one)
        assert places.of(pl.Series("id", batch, dtype=pl.Int64)).tolist() == expected
    counts = Counter(map(str, came))
    missing = len(known.keys() - counts.keys())
    unexpected = sum(n for one, n in counts.items() if one not in known)
    duplicate = sum(n - 1 for one, n in counts.items() if one in known)
    if not (missing or unexpected or duplicate):
        places.check(0, "")
        return
    with pytest.raises(DataError, match="do not match the sample") as told:
        places.check(0, "")
    text = str(told.value)
    assert (f"{missing} of the sample's" in text) == bool(missing)
    assert (f"{unexpected} ids are not in the sample" in text) == bool(unexpected)
    assert (f"{duplicate} ids came more than once" in text) == bool(duplicate)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [(["1", "20"], [1, 20]), (["01", "2"], ["01", "2"]), (["-3", "0"], [-3, 0]), (["1.0"], ["1.0"]), (["a"], ["a"])],
)
def test_only_ids_that_would_be_written_alike_become_numbers(ids, expected):
    assert plain_ids(pl.Series(ids)).to_list() == expected


@pytest.mark.parametrize(
    ("text", "output", "form"),
    [
        ("id,y\n1,a\n", LABELS, "label"),
        ("id,y\n1,0.5\n", NUMBER, "number"),
        ("id,y\n1,1e-3\n2,-.5\n", NUMBER, "number"),
        ("id,b,a\n1,0.5,0.5\n", LABELS, "probabilities"),
        ("id,b,a\n1,1,0\n2,0,1\n", LABELS, "probabilities"),
        ("id,y_a,y_b\n1,0.5,0.5\n", LABELS, "probabilities"),
    ],
)
def test_the_form_follows_from_the_columns(tmp_path, text, output, form):
    (tmp_path / "s.csv").write_text(text)
    assert read_sample(tmp_path / "s.csv", output, id_column="id").form == form


def test_the_first_column_names_rows_where_the_id_column_is_absent(tmp_path):
    (tmp_path / "s.csv").write_text("ImageId,y\nx.png,a\n")
    assert read_sample(tmp_path / "s.csv", LABELS, id_column="row").id == "ImageId"


def test_a_sample_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no sample"):
        read_sample(tmp_path / "none.csv", LABELS, id_column="id")
    (tmp_path / "s.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"should be csv, tsv, jsonl or parquet, got '\.xlsx'"):
        read_sample(tmp_path / "s.xlsx", LABELS, id_column="id")
    (tmp_path / "s.parquet").write_bytes(b"PAR0")
    with pytest.raises(DataError, match="cannot be read"):
        read_sample(tmp_path / "s.parquet", LABELS, id_column="id")
    (tmp_path / "e.csv").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read_sample(tmp_path / "e.csv", LABELS, id_column="id")


def test_a_sample_without_rows_is_refused(tmp_path):
    (tmp_path / "s.csv").write_text("id,y\n")
    with pytest.raises(DataError, match="a header and no row"):
        read_sample(tmp_path / "s.csv", NUMBER, id_column="id")
