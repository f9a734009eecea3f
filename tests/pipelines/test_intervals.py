from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.pipelines.intervals import Every, interval_start, parse_moment

MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
LENGTHS = st.sampled_from(["15min", "1h", "6h", "1d", "2d", "1w"])
ZONES = st.sampled_from(["UTC", "Asia/Seoul", "Europe/Berlin", "America/New_York"])


@given(LENGTHS, ZONES, MOMENTS)
def test_every_moment_lies_in_one_interval_and_they_join(length: str, zone: str, moment: datetime) -> None:
    every = Every.parse(length, zone)
    interval = every.at(moment)
    assert interval.start <= moment < interval.end
    assert every.at(interval.start) == interval
    assert every.at(interval.end - timedelta(microseconds=1)) == interval
    after = every.after(interval)
    assert after.start == interval.end
    assert every.after(after, -1) == interval
    assert every.at(interval_start(interval.name)) == interval


def test_days_have_as_many_hours_as_the_clock_gives_them() -> None:
    every = Every.parse("1d", "Europe/Berlin")
    spring = every.at(datetime(2026, 3, 29, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    autumn = every.at(datetime(2026, 10, 25, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    assert (spring.end - spring.start, autumn.end - autumn.start) == (timedelta(hours=23), timedelta(hours=25))
    assert every.at(datetime(2026, 11, 20, 23, 30, tzinfo=UTC)).name == "2026-11-20T23:00Z"
    assert Every.parse("1d", "Asia/Seoul").at(datetime(2026, 11, 20, 15, tzinfo=UTC)).name == "2026-11-20T15:00Z"


def test_only_ended_intervals_are_due() -> None:
    every = Every.parse("1h")
    start = datetime(2026, 11, 20, 0, 30, tzinfo=UTC)
    names = [one.name[11:16] for one in every.between(start, datetime(2026, 11, 20, 2, 59, tzinfo=UTC))]
    assert names == ["00:00", "01:00"]


def test_weeks_begin_on_monday() -> None:
    assert Every.parse("1w").at(datetime(2026, 11, 21, tzinfo=UTC)).start == datetime(2026, 11, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: Every.parse("soon"), "'soon' is no length of time"),
        (lambda: Every.parse("0h"), "'0h' is no length of time"),
        (lambda: Every.parse("1h", "Korea/Seoul"), "unknown time zone 'Korea/Seoul'"),
        (lambda: parse_moment("yesterday"), "'yesterday' is no date or time"),
    ],
)
def test_what_cannot_be_read_is_told(act, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        act()
