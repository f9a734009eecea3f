from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest

from sanmaru.tasks.tabular import cells

MISSING = frozenset({"", "?"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        ("12.5", 12.5),
        (" 7 ", 7.0),
        ("1,234,567.5", 1234567.5),
        ("-3e2", -300.0),
        (True, 1.0),
        (Decimal("1.25"), 1.25),
        (np.int64(4), 4.0),
        (np.float32(0.5), 0.5),
    ],
)
def test_a_number_is_read_from_what_files_and_requests_hold(value, expected):
    assert cells.number(MISSING)(value) == expected


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, "?", "", "nan", "inf", "1e999", 10**400])
def test_no_value_and_infinite_numbers_are_missing(value):
    assert math.isnan(cells.number(MISSING)(value))


@pytest.mark.parametrize("value", ["abc", "1_000", "1,2", [1], {"a": 1}, date(2026, 1, 1), b"1"])
def test_what_is_no_number_is_refused_with_its_type(value):
    with pytest.raises(cells.WrongCellError, match="expected a number, got .*" + type(value).__name__):
        cells.number(MISSING)(value)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(cells.WrongCellError, match=r"x{40,}\.\.\. \(str\)$"):
        cells.number(MISSING)("x" * 500)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        ("Yes", 1.0),
        ("1", 1.0),
        (1, 1.0),
        (1.0, 1.0),
        (np.True_, 1.0),
        (False, 0.0),
        (" no ", 0.0),
        (0, 0.0),
    ],
)
def test_booleans_are_read_from_words_and_numbers(value, expected):
    assert cells.boolean(MISSING)(value) == expected


def test_a_boolean_is_neither_two_nor_maybe():
    for value in (2, "maybe"):
        with pytest.raises(cells.WrongCellError, match="expected true or false"):
            cells.boolean(MISSING)(value)
    assert math.isnan(cells.boolean(MISSING)("?"))


def test_a_category_is_found_however_it_was_read():
    read = cells.lookup({"3": 0.0, "a": 1.0}, 2.0, MISSING)
    assert [read(value) for value in ("3", 3, 3.0, np.int64(3), " a ", "b", 4, True)] == [0, 0, 0, 0, 1, 2, 2, 2]
    assert all(math.isnan(read(value)) for value in (None, math.nan, "?", " ? "))


def test_words_for_booleans_and_booleans_are_one_category():
    read = cells.lookup({"True": 0.0, "False": 1.0}, 2.0, MISSING)
    assert [read(True), read(False), read("True"), read("true")] == [0, 1, 0, 2]


def test_a_list_is_no_category():
    with pytest.raises(cells.WrongCellError, match=r"expected a text or a number, got \[1, 2\] \(list\)"):
        cells.lookup({}, 0.0, MISSING)([1, 2])
    with pytest.raises(cells.WrongCellError, match="thousands of digits"):
        cells.cell_text(10**5000)


def test_dates_come_in_several_shapes_and_times_with_a_zone_become_utc():
    read = cells.moment(MISSING, None)
    day = datetime(2026, 11, 21)
    for value in (day, day.date(), "2026-11-21", "2026/11/21", "2026.11.21", "20261121"):
        assert read(value) == day
    seoul = datetime(2026, 11, 21, 9, tzinfo=timezone(timedelta(hours=9)))
    assert read(seoul) == read("2026-11-21T09:00:00+09:00") == read(day.replace(tzinfo=UTC)) == day
    assert read(None) is None
    assert read("?") is None


def test_a_date_format_is_tried_first():
    assert cells.moment(MISSING, "%d/%m/%Y")("03/12/2017") == datetime(2017, 12, 3)
    assert cells.moment(MISSING, "%Y%m%d")(20171203) == datetime(2017, 12, 3)
    with pytest.raises(cells.WrongCellError, match="expected a date like '%d/%m/%Y', got '32/12/2017'"):
        cells.moment(MISSING, "%d/%m/%Y")("32/12/2017")
    with pytest.raises(cells.WrongCellError, match=r"expected a date, got 20261121 \(int\)"):
        cells.moment(MISSING, None)(20261121)
