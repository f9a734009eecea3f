"""Regular steps: fixed ones in UTC, days and months of a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables.every import Every, find_every


def _times(*texts: str) -> pl.Series:
    return pl.Series(list(texts)).str.to_datetime("%Y-%m-%d %H:%M", time_unit="us", time_zone="UTC")


@pytest.mark.parametrize("text", ["1h", "30m", "10s", "1d", "7d", "1mo", "3mo", "90m"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Seoul"])
def test_a_step_and_its_moment_are_each_others_inverse(text: str, zone: str) -> None:
    every = Every.parse(text, zone)
    steps = every.index(every.time(np.array([400])))[0][0] + np.arange(-50, 50)
    found, on = every.index(every.time(steps))
    assert on.all()
    np.testing.assert_array_equal(found, steps)
    assert Every.from_json(every.to_json()) == every


def test_days_are_local_ones_of_23_and_25_hours() -> None:
    every = Every.parse("1d", "Europe/Berlin")
    times = _times("2021-03-27 23:00", "2021-03-28 22:00", "2021-03-29 22:00")  # local midnights; one day has 23 hours
    steps, on = every.index(times)
    assert on.all()
    assert np.diff(steps).tolist() == [1, 1]
    assert every.time(steps).to_list() == times.to_list()
    assert find_every(pl.Series(["a"] * 3), times, "Europe/Berlin").text == "1d"


def test_the_distance_of_steps_is_the_most_frequent_one() -> None:
    times = _times("2020-01-01 00:05", "2020-01-01 01:05", "2020-01-01 02:05", "2020-01-01 07:05", "2020-01-01 08:05")
    every = find_every(pl.Series(["a"] * 5), times, "UTC")
    assert every.text == "1h"
    assert every.phase == 300_000_000
    off = every.index(_times("2020-01-01 03:00"))[1]
    assert not off.any()


def test_months_are_steps_of_different_length() -> None:
    times = _times("2020-01-01 00:00", "2020-02-01 00:00", "2020-03-01 00:00", "2020-05-01 00:00")
    every = find_every(pl.Series(["a"] * 4), times, "UTC")
    assert every.text == "1mo"
    assert np.diff(every.index(times)[0]).tolist() == [1, 1, 2]


@settings(max_examples=50, deadline=None)
@given(
    minutes=st.integers(1, 500), begin=st.integers(0, 10**6), gaps=st.lists(st.integers(1, 4), min_size=4, max_size=20)
)
def test_any_regular_frequency_is_found(minutes: int, begin: int, gaps: list[int]) -> None:
    gaps += [1] * (len(gaps) + 1)  # most neighbours are one step apart
    first = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=begin)
    places = np.cumsum([0, *gaps])
    times = pl.Series(
        [first + timedelta(minutes=minutes * int(place)) for place in places], dtype=pl.Datetime("us", "UTC")
    )
    every = find_every(pl.Series(["a"] * len(times)), times, "UTC")
    steps, on = every.index(times)
    assert on.all()
    np.testing.assert_array_equal(steps - steps[0], places)


def test_durations_become_steps() -> None:
    hourly, daily = Every.parse("1h"), Every.parse("1d", "Asia/Seoul")
    assert hourly.steps("2d", "x") == 48
    assert daily.steps("2w", "x") == 14
    assert daily.steps(5, "x") == 5
    assert Every.parse("1mo").steps("12mo", "x") == 12
    with pytest.raises(DataError, match="horizon: '90m' is not a whole number of steps of 1h"):
        hourly.steps("90m", "horizon")
    with pytest.raises(DataError, match="'2 hours' is no distance of time"):
        Every.parse("2 hours")


def test_one_time_alone_has_no_distance() -> None:
    with pytest.raises(DataError, match="no series has two different times"):
        find_every(pl.Series(["a", "b"]), _times("2020-01-01 00:00", "2020-01-01 01:00"), "UTC")
