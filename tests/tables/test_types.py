from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import polars as pl
import pytest

from sanmaru.tables.types import clean, convert, detect


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pl.Series([1, 2], dtype=pl.UInt64), "integer", [1, 2]),
        (pl.Series([Decimal("1.50"), None]), "number", [1.5, None]),
        (pl.Series([timedelta(seconds=90), None]), "number", [90.0, None]),
        (pl.Series([time(1, 0), None]), "number", [3600.0, None]),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "category", ["a", "b"]),
        (pl.Series([True, None]), "boolean", [True, None]),
        (pl.Series([date(2026, 1, 2), None]), "date", [datetime(2026, 1, 2), None]),
        (
            pl.Series([datetime(2026, 1, 2, tzinfo=UTC)]).dt.convert_time_zone("Asia/Seoul"),
            "date",
            [datetime(2026, 1, 2)],
        ),
        (pl.Series([None, None]), "category", [None, None]),
        (pl.Series([float("nan"), 1.0]), "number", [None, 1.0]),
    ],
)
def test_types_of_other_tools(values: pl.Series, kind: str, expected: list) -> None:
    values = clean(values.alias("x"), ())
    column = detect(values)
    assert column.kind == kind
    converted = convert(values, column.kind)
    assert converted.series.to_list() == expected
    assert not converted.bad.any()


@pytest.mark.parametrize(
    ("values", "kind", "expected", "bad"),
    [
        ([1.0, 2.0, None], "category", ["1", "2", None], 0),
        ([1.5, 2.0], "category", ["1.5", "2.0"], 0),
        ([True, False], "number", [1.0, 0.0], 0),
        (["Yes", "n", "maybe"], "boolean", [True, False, None], 1),
        ([1, 0, 2], "boolean", [True, False, None], 1),
        (["2026-01-02", "soon"], "date", [datetime(2026, 1, 2), None], 1),
        ([datetime(2026, 1, 2)], "number", [None], 1),
        (["1e3", "-2", "inf", "1,5", "12,345.5"], "number", [1000.0, -2.0, None, None, 12345.5], 2),
        (["1", "2.5"], "integer", [1.0, 2.5], 0),
        (["99999999999999999999"], "integer", [1e20], 0),
    ],
)
def test_cells_are_held_to_a_kind(values: list, kind: str, expected: list, bad: int) -> None:
    converted = convert(pl.Series("x", values), kind)  # type: ignore[arg-type]
    assert converted.series.to_list() == expected
    assert converted.bad.sum() == bad


def test_sentences_are_text_and_names_are_not() -> None:
    sentences = [f"the {i}th of many different sentences" for i in range(30)]
    assert detect(pl.Series("x", sentences)).kind == "text"
    assert detect(pl.Series("x", [f"user{i}" for i in range(30)])).kind == "category"
    assert detect(pl.Series("x", sentences[:2] * 15)).kind == "category"
