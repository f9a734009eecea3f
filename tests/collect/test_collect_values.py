"""Numbers, units and times as sources write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.collect.config import MISSING
from sanmaru.collect.values import Rows, conversion, moment, number

SEOUL = ZoneInfo("Asia/Seoul")
BERLIN = ZoneInfo("Europe/Berlin")
T = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize("text", [*MISSING, " - ", "통신장애 ", None])
def test_texts_for_no_value_are_missing(text: str | None) -> None:
    assert number(text) is None


def test_codes_for_no_value_are_missing_and_only_those() -> None:
    assert number("-999", codes=(-999.0,)) is None
    assert number(-999.0, codes=(-999.0,)) is None
    assert number("-9", codes=(-999.0,)) == -9.0


@pytest.mark.parametrize("text", ["1_000", "inf", "-Infinity", "12,5", "5 µg", "0x10", True, [1]])
def test_what_is_no_number_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"number|convert"):
        number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_as_written(value: float) -> None:
    assert number(repr(value)) == value
    assert number(f" {value!r} ") == value


@given(st.text(max_size=12))
def test_any_text_is_a_number_missing_or_refused(text: str) -> None:
    try:
        value = number(text)
    except ValueError:
        return
    assert value is None or abs(value) < float("inf")


def test_units_are_converted_explicitly_or_not_at_all() -> None:
    scale, offset = conversion("°F", "°C") or (0, 0)
    assert 212 * scale + offset == pytest.approx(100)
    scale, offset = conversion("km/h", "m/s") or (0, 0)
    assert 36 * scale + offset == pytest.approx(10)
    assert conversion("μg/m³", "µg/m³") == (1.0, 0.0)  # Greek mu and micro sign
    assert conversion("hPa", "mm") is None


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda t: t.replace(minute=0, second=0, microsecond=0))
)
def test_hour_24_is_midnight_of_the_next_day(time: datetime) -> None:
    form = "%Y-%m-%d %H:%M"
    assert moment(time.strftime(form), form, SEOUL) == time.replace(tzinfo=SEOUL)
    ends = f"{time:%Y-%m-%d} 24:00"
    assert moment(ends, form, SEOUL) == time.replace(hour=0, tzinfo=SEOUL) + timedelta(days=1)


def test_hour_24_is_found_among_other_24s() -> None:
    assert moment("2024-01-24 24:00", "%Y-%m-%d %H:%M", SEOUL) == datetime(2024, 1, 25, tzinfo=SEOUL)
    assert moment("2024022924", "%Y%m%d%H", SEOUL) == datetime(2024, 3, 1, tzinfo=SEOUL)


@pytest.mark.parametrize("text", ["2026-11-21 24:30", "2026-11-31 24:00", "2026-11-21 25:00", "", "2024"])
def test_other_impossible_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not match|out of range|unconverted"):
        moment(text, "%Y-%m-%d %H:%M", SEOUL)


def test_an_hour_that_clocks_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="never show"):
        moment("2026-03-29 02:30", "%Y-%m-%d %H:%M", BERLIN)


def test_of_rows_that_stand_twice_the_last_is_kept_and_the_other_told() -> None:
    rows = Rows(["a"])
    rows.add(0, "x", T, {"a": 1.0})
    rows.add(1, "x", T, {"a": 1.0})
    rows.add(2, "y", T, {"a": 1.0})
    rows.add(3, "y", T, {"a": 2.0})
    table, quarantine = rows.finish()
    assert table.select("series", "a").rows() == [("x", 1.0), ("y", 2.0)]
    assert quarantine.counts() == {"repeated-row": 1, "conflicting-row": 1}


def test_no_rows_still_have_their_columns() -> None:
    table, quarantine = Rows(["a"], ["a.flag"]).finish()
    assert table.columns == ["series", "time", "a", "a.flag"]
    assert len(quarantine) == 0
