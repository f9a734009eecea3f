from __future__ import annotations

import math
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables.contract import Column
from sanmaru.tasks.tabular.encode import Encoder
from sanmaru.tasks.tabular.schema import column_kind, learn_schema

MISSING = ("", "?", "NA")
TRAIN = pl.DataFrame(
    {
        "number": [1.0, 2.5, None, 4.0],
        "whole": [1, 2, 3, 4],
        "flag": [True, False, None, True],
        "city": ["서울", "부산", "서울", None],
        "code": ["1", "2", "2", "True"],
        "when": [datetime(2024, 1, 1, 5), datetime(2025, 6, 30), None, datetime(2026, 2, 3, 23, 59, 59, 123)],
        "many": ["a", "a", "b", "c"],
        "note": ["one word", "two words here", "", None],
    }
)
KINDS = {"many": "text", "note": "text"}


def encoder() -> Encoder:
    columns = [Column(name=n, kind=KINDS.get(n, column_kind(TRAIN[n]))) for n in TRAIN.columns]
    return Encoder(learn_schema(TRAIN, columns, missing=MISSING))


ENCODER = encoder()

numbers = st.floats(width=64) | st.none()
texts = st.sampled_from(["1", " 2", "12.5", "?", "", "서울", "busan", "True", "true", "a", "b", "-1e3", "nan"])
datetimes = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
COLUMNS = {
    "number": [(numbers, pl.Float64), (st.integers(-(2**60), 2**60), pl.Int64), (st.booleans(), pl.Boolean)],
    "whole": [(st.sampled_from(["7", " 8.5 ", "?", "1,234", "inf", "2e3"]), pl.String), (numbers, pl.Float64)],
    "flag": [(st.booleans(), pl.Boolean), (st.sampled_from(["yes", "No", "?", "1"]), pl.String)],
    "city": [(texts, pl.String), (st.integers(0, 3), pl.Int64), (numbers, pl.Float64)],
    "code": [(texts, pl.String), (st.integers(0, 3), pl.UInt8), (numbers, pl.Float64), (st.booleans(), pl.Boolean)],
    "when": [
        (datetimes, pl.Datetime("us")),
        (st.dates(date(1700, 1, 1), date(2200, 1, 1)), pl.Date),
        (st.sampled_from(["2025-03-04", "2025/03/04", "2025-03-04T05:06:07+09:00", "?"]), pl.String),
    ],
    "many": [(texts, pl.String), (numbers, pl.Float64)],
    "note": [(texts, pl.String), (st.text(max_size=20).filter(lambda text: "\x00" not in text), pl.String)],
}


@st.composite
def frames(draw):
    height = draw(st.integers(1, 6))
    series = []
    for name, choices in COLUMNS.items():
        if draw(st.integers(0, 9)) == 0 and series:
            continue  # the column is absent
        values, dtype = draw(st.sampled_from(choices))
        series.append(
            pl.Series(name, draw(st.lists(values | st.none(), min_size=height, max_size=height)), dtype=dtype)
        )
    return pl.DataFrame(series)


@settings(max_examples=200, deadline=None)
@given(frames())
def test_both_encoders_agree_exactly(table):
    np.testing.assert_array_equal(ENCODER.encode(table), ENCODER.encode_rows(table.to_dicts()))


def test_the_matrix_holds_what_the_schema_says():
    matrix = ENCODER.encode(TRAIN)
    named = dict(zip([column.name for column in ENCODER.schema.encoded], matrix.T, strict=True))
    np.testing.assert_array_equal(named["number"], [1.0, 2.5, math.nan, 4.0])
    np.testing.assert_array_equal(named["flag"], [1, 0, math.nan, 1])
    np.testing.assert_array_equal(named["city"], [0, 1, 0, math.nan])
    np.testing.assert_array_equal(named["code"], [1, 0, 0, 2])
    np.testing.assert_array_equal(named["when (month)"], [1, 6, math.nan, 2])
    np.testing.assert_array_equal(named["when (weekday)"], [1, 1, math.nan, 2])
    np.testing.assert_allclose(named["when (days)"][:2], [0.0, 545.7916666666])
    np.testing.assert_array_equal(named["many"], [0, 0, 1, 1])  # b and c occur once: the code of all others
    np.testing.assert_allclose(named["many (frequency)"], np.log1p([2, 2, 1, 1]))
    np.testing.assert_array_equal(named["note (words)"], [2, 3, math.nan, math.nan])


def test_unknown_categories_have_a_code_of_their_own():
    matrix = ENCODER.encode_rows([{"city": "대구"}, {"city": "?"}, {"city": "부산"}])
    place = [column.name for column in ENCODER.schema.encoded].index("city")
    np.testing.assert_array_equal(matrix[:, place], [2, math.nan, 1])


def test_an_error_names_the_row_and_the_column_in_both():
    table = pl.DataFrame({"number": ["1", "2", "abc"], "city": ["a", "b", "c"]})
    for encode, rows in ((ENCODER.encode, table), (ENCODER.encode_rows, table.to_dicts())):
        with pytest.raises(DataError, match=r"row 2, column 'number': expected a number, got 'abc' \(str\)\."):
            encode(rows)
    with pytest.raises(DataError, match=r"row 1, column 'when': expected a date such as 2026-11-21, got 'soon'"):
        ENCODER.encode_rows([{"when": None}, {"when": "soon"}])
    with pytest.raises(DataError, match=r"row 0, column 'city': expected a text or a number, got \[\] \(list\)"):
        ENCODER.encode_rows([{"city": []}])
    with pytest.raises(DataError, match="column 'city' holds List"):
        ENCODER.encode(pl.DataFrame({"city": [["a"]]}))


def test_a_row_without_any_known_key_is_refused_and_one_with_only_gaps_is_not():
    with pytest.raises(
        DataError, match=r"row 1 has none of the model's columns \(it has 'nunber'\). Did you mean 'number'"
    ):
        ENCODER.encode_rows([{"number": None}, {"nunber": 1}])
    with pytest.raises(DataError, match="the table has none of the model's columns"):
        ENCODER.encode(pl.DataFrame({"z": [1]}))
    assert np.isnan(ENCODER.encode_rows([{"number": None}])).all()


def test_a_row_that_is_no_mapping_is_refused():
    with pytest.raises(DataError, match=r"row 0 should be a mapping of column names to values, got \[1, 2\]"):
        ENCODER.encode_rows([[1, 2]])  # type: ignore[list-item]


def test_no_rows_make_an_empty_matrix():
    assert ENCODER.encode_rows([]).shape == (0, ENCODER.width)
    assert ENCODER.encode(TRAIN.clear()).shape == (0, ENCODER.width)


def test_a_time_zone_is_taken_to_utc_in_both():
    table = TRAIN.select(pl.col("when").dt.replace_time_zone("Asia/Seoul"))
    np.testing.assert_array_equal(ENCODER.encode(table), ENCODER.encode_rows(table.to_dicts()))
