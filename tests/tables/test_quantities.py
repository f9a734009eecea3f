"""Numbers as people write them."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.tables import quantities, types
from sanmaru.tasks.tabular import cells

UNITS = ["㎡", "m²", "%", "km", "rooms", "원", "만원", "$", "₩", "개", "°C", "㎍/㎥"]


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        (["84.9㎡", "59 ㎡", "101"], "㎡"),
        (["3 rooms", "12 rooms"], "rooms"),
        (["12%", "5.5 %"], "%"),
        (["5km", "1,200km"], "km"),
        (["₩35,000", "₩1,000"], "₩"),
        (["$5.50", "-$3"], "$"),
        (["35,000만원", "3억", "3억 5천만원"], "원"),
        (["1.5급", "2급"], "급"),
        (["101동", "102동"], None),
        (["1호선", "2호선"], None),
        (["1.png", "2.png"], None),
        (["A12", "B7"], None),
        (["5km", "300m", "2m", "1km"], None),
        (["2022년 3월", "2022년 4월"], None),
        ([], None),
    ],
)
def test_a_unit_is_told_from_the_cells(written, unit):
    assert quantities.find_unit(written, 0.95) == unit


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("1,234,567", None, 1234567.0),
        ("１２３", None, 123.0),
        ("−5", None, -5.0),
        ("12,34", None, None),
        ("1.5e3kg", "kg", 1500.0),
        ("84.9 m2", "㎡", 84.9),
        ("-₩1,000", "₩", -1000.0),
        ("5km", "m", None),
        ("3억 5,000만원", "원", 3.5e8),
        ("3억5천만", "원", 3.5e8),
        ("1.5억", "원", 1.5e8),
        ("1조 2억", "원", 1.0002e12),
        ("3억 5000", "원", None),  # 5000만 or 5000원?
        ("2억 3억", "원", None),
        ("억", "원", None),
        ("inf", "km", None),
    ],
)
def test_numbers_are_read_as_written(text, unit, value):
    assert quantities.read(text, unit) == (None if value is None else pytest.approx(value, rel=1e-12))


numbers = st.decimals(min_value=-(10**9), max_value=10**9, places=2, allow_nan=False).map(float)


@settings(max_examples=200, deadline=None)
@given(numbers, st.sampled_from(UNITS), st.booleans(), st.booleans())
def test_a_written_number_is_read_back(number, unit, commas, blank):
    text = f"{number:,.2f}" if commas else f"{number:.2f}"
    gap = " " if blank else ""
    written = f"{unit}{gap}{text}" if unit in "$₩" else f"{text}{gap}{unit}"
    # Won reads 만, so an amount in 만원 is a column's own unit only while no cell says 억.
    assert quantities.read(written, unit) == pytest.approx(number, abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="0123456789,.-+ 억만천원㎡kmE%$", max_size=8), min_size=1, max_size=5))
def test_a_cell_is_a_number_or_counted_as_bad_never_lost(texts):
    series = types.clean(pl.Series("x", texts, dtype=pl.String), ("", "-"))
    for unit in (None, "㎡", "원"):
        converted = types.convert(series, "number", unit)
        assert (converted.series.is_null() == (series.is_null() | converted.bad)).all()
        # a request is read as the file was
        read = cells.number(frozenset({"", "-"}), unit)
        for text, value, bad in zip(texts, converted.series.to_list(), converted.bad.to_list(), strict=True):
            if bad:
                with pytest.raises(cells.WrongCellError, match="expected a number"):
                    read(text)
            else:
                found = read(text)
                assert math.isnan(found) if value is None else found == value


def test_a_column_with_a_unit_is_read_and_the_others_are_named():
    series = pl.Series("area", ["84.9㎡"] * 40 + ["3km"])
    column = types.detect(series)
    assert (column.kind, column.unit, column.form) == ("number", "㎡", "㎡")
    converted = types.convert(series, column.kind, column.form)
    assert converted.bad.arg_true().to_list() == [40]
    assert converted.series[0] == 84.9
