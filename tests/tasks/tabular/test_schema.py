from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.contract import Column
from sanmaru.tasks.tabular.schema import MOST_CODES, Schema, column_kind, learn_schema


def learn(values, kind=None, *, name="x", missing=(), date_format=None):
    series = values if isinstance(values, pl.Series) else pl.Series(name, values, strict=False)
    column = Column(name=series.name, kind=kind or column_kind(series), date_format=date_format)
    return learn_schema(series.to_frame(), [column], missing=missing).features[0]


def test_the_type_of_a_column_decides_its_kind():
    assert learn([1, 2, 3]).kind == "number"
    assert learn([1.5, None]).kind == "number"
    assert learn([True, False]).kind == "boolean"
    assert learn(["a", "b"]).kind == "category"
    assert learn([datetime(2026, 1, 1), datetime(2026, 1, 2)]).kind == "date"
    assert learn(pl.Series("x", ["a", "b"], dtype=pl.Categorical)).kind == "category"


def test_what_reading_told_decides_what_the_type_leaves_open():
    assert learn([1, 2, 1], "category").categories == ("1", "2")
    assert learn(["1.5", "?"], "number", missing=("?",)).low == 1.5
    assert learn(["yes", "no"], "boolean").kind == "boolean"
    assert learn(["01/02/2020", "03/02/2020"], "date", date_format="%d/%m/%Y").reference == "2020-02-01T00:00:00"


def test_categories_are_ordered_by_frequency_then_by_text():
    feature = learn(["b", "a", "c", "c", "?", None], missing=("?",))
    assert feature.categories == ("c", "a", "b")
    assert feature.missing_fraction == pytest.approx(1 / 3)


def test_ten_thousand_texts_get_codes_for_the_frequent_ones_and_a_frequency():
    generator = np.random.default_rng(0)
    names = [f"name {i}" for i in generator.zipf(1.3, 20_000) % 10_000]
    feature = learn(names)
    assert feature.kind == "many"
    assert len(feature.categories) < MOST_CODES
    assert feature.counts == tuple(sorted(feature.counts, reverse=True))
    assert min(feature.counts) == 2
    assert [column.name for column in feature.encoded()] == ["x", "x (frequency)"]


def test_names_of_rows_and_sentences_become_lengths():
    ids = learn([f"row-{i}" for i in range(500)])
    assert (ids.kind, ids.categories) == ("text", ())
    assert [column.name for column in ids.encoded()] == ["x (characters)", "x (words)"]
    sentences = learn([f"a fairly long sentence about the flat with number {i}" for i in range(400)] + ["a b"] * 2)
    assert sentences.kind == "text"
    assert sentences.categories == ("a b",)


def test_only_calendar_numbers_that_differ_are_made():
    feature = learn([datetime(2026, 1, day) for day in (1, 2, 5)])
    assert feature.parts == ("days", "day", "weekday")
    assert feature.reference == "2026-01-01T00:00:00"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None, None], "all values are missing"),
        (pl.Series("x", [None, None], dtype=pl.Float64), "all values are missing"),
        (["?", "?"], "all values are missing"),
        ([float("inf"), float("nan")], "all values are missing"),
        ([4, 4], "every row holds 4"),
        (["a", "a"], "every row holds 'a'"),
        ([datetime(2026, 1, 1)] * 2, "every row holds 2026-01-01T00:00:00"),
    ],
)
def test_columns_that_carry_nothing_are_dropped_with_a_reason(values, reason):
    series = values if isinstance(values, pl.Series) else pl.Series("x", values)
    table = pl.DataFrame([series, pl.Series("y", [1, 2])])
    schema = learn_schema(table, [Column(name=name, kind=column_kind(table[name])) for name in "xy"], missing=("?",))
    assert schema.dropped == (("x", reason),)
    assert [feature.name for feature in schema.features] == ["y"]


def test_a_constant_with_gaps_still_tells_where_the_gaps_are():
    assert learn([4, None, 4]).kind == "number"
    assert learn(["a", None]).kind == "category"


@pytest.mark.parametrize(
    ("series", "held"),
    [
        (pl.Series("x", [[1], [2]]), "List"),
        (pl.Series("x", [{"a": 1}, {"a": 2}]), "Struct"),
        (pl.Series("x", [b"1", b"2"]), "Binary"),
    ],
)
def test_nested_columns_are_refused(series, held):
    with pytest.raises(DataError, match=rf"column 'x' holds {held}.*data.drop: \[x\]"):
        learn(series)


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(DataError, match=r"no feature is left to learn from .*'x': every row holds 1"):
        learn([1, 1])
    with pytest.raises(DataError, match="the table is empty"):
        learn(pl.Series("x", [], dtype=pl.Int64))
    with pytest.raises(DataError, match=r"no column 'z'\. It has: x"):
        learn_schema(pl.DataFrame({"x": [1]}), [Column(name="z", kind="number")])


def test_a_schema_survives_json_and_keeps_its_encoding():
    table = pl.DataFrame(
        {"n": [1.5, 2.0], "c": ["가", "b"], "d": [datetime(2026, 1, 1), datetime(2026, 3, 1)], "t": ["x", "yy"]}
    )
    kinds = {"n": "number", "c": "category", "d": "date", "t": "text"}
    schema = learn_schema(table, [Column(name=name, kind=kind) for name, kind in kinds.items()], missing=("?",))
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again == schema
    assert again.encoding() == schema.encoding()
    other = learn_schema(table, [Column(name="n", kind="number")], missing=("?",))
    assert other.encoding() != schema.encoding()


def test_a_form_gets_at_most_fifty_categories():
    column = learn([f"c{i}" for i in range(120)] * 2).column()
    assert len(column.categories) == 50
    assert column.kind == "category"
    assert not column.required
    whole = learn([3, 1, 2]).column()
    assert (whole.kind, whole.low, whole.high, whole.example) == ("integer", 1.0, 3.0, 2)
