"""When rows of a long table are: one or several columns, hour 24, and what clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables.config import TimeConfig
from sanmaru.tables.times import Times, read_times

SEOUL, BERLIN = "Asia/Seoul", "Europe/Berlin"


def _read(table: pl.DataFrame, config: TimeConfig, zone: str = SEOUL, series: list[str] | None = None) -> Times:
    names = pl.Series("series", series or ["a"] * len(table))
    return read_times(table, config, series=names, zone=zone, missing=("", "NA"))


def _texts(times: Times) -> list[str | None]:
    return times.utc.dt.strftime("%Y-%m-%dT%H:%M").to_list()


@pytest.mark.parametrize(
    ("table", "config"),
    [
        ({"when": ["2020-01-01 09:00", "2020-01-01 10:00"]}, {"columns": ["when"]}),
        ({"when": ["2020-01-01T00:00Z", "2020-01-01T01:00Z"]}, {"columns": ["when"]}),
        ({"when": ["2020-01-01T09:00+09:00", "2020-01-01T10:00+09:00"]}, {"columns": ["when"]}),
        ({"year": [2020, 2020], "month": [1, 1], "day": [1, 1], "hour": [9, 10]}, {"columns": list("ymdh")}),
        (
            {"Date": ["01/01/2020", "01/01/2020"], "Hour": [9, 10]},
            {"columns": ["Date", "Hour"], "format": "%d/%m/%Y %H"},
        ),
        ({"Date": ["2020-01-01", "2020-01-01"], "Hour": ["9", "10"]}, {"columns": ["Date", "Hour"]}),
        ({"when": ["2020.01.01 09h", "2020.01.01 10h"]}, {"columns": ["when"], "format": "%Y.%m.%d %Hh"}),
        ({"when": [202001010900, 202001011000]}, {"columns": ["when"], "format": "%Y%m%d%H%M"}),
    ],
)
def test_every_way_to_write_a_time_gives_the_same_moments(table, config) -> None:
    if config["columns"] == list("ymdh"):
        config = {"columns": ["year", "month", "day", "hour"]}
    found = _read(pl.DataFrame(table), TimeConfig(**config))
    assert _texts(found) == ["2020-01-01T00:00", "2020-01-01T01:00"]


def test_hour_24_is_midnight_of_the_next_day_and_counted() -> None:
    found = _read(pl.DataFrame({"when": ["2020-02-28 23:00", "2020-02-28 24:00"]}), TimeConfig(columns=("when",)))
    assert _texts(found) == ["2020-02-28T14:00", "2020-02-28T15:00"]
    assert found.counts == {"hour-24": 1}
    parts = pl.DataFrame({"date": ["2020-02-29"] * 2, "hour": [23, 24]})
    assert _texts(_read(parts, TimeConfig(columns=("date", "hour")))) == ["2020-02-29T14:00", "2020-02-29T15:00"]


def test_a_date_that_ends_in_24_is_no_hour_24() -> None:
    found = _read(pl.DataFrame({"when": ["2013-07-24", "2013-07-25"]}), TimeConfig(columns=("when",)))
    assert found.counts == {}
    assert _texts(found) == ["2013-07-23T15:00", "2013-07-24T15:00"]


def test_an_hour_the_clocks_pass_twice_is_read_in_order_and_one_left_out_is_no_time() -> None:
    autumn = ["2021-10-31 01:00", "2021-10-31 02:00", "2021-10-31 02:00", "2021-10-31 03:00"]
    found = _read(pl.DataFrame({"when": autumn}), TimeConfig(columns=("when",)), BERLIN)
    assert _texts(found) == [f"2021-10-3{day}" for day in ("0T23:00", "1T00:00", "1T01:00", "1T02:00")]
    assert found.counts == {"ambiguous-time": 2}
    spring = ["2021-03-28 01:00", "2021-03-28 02:30", "2021-03-28 03:00"]
    left_out = _read(pl.DataFrame({"when": spring}), TimeConfig(columns=("when",)), BERLIN)
    assert _texts(left_out) == ["2021-03-28T00:00", None, "2021-03-28T01:00"]
    assert left_out.nonexistent.to_list() == [False, True, False]
    assert left_out.counts == {"nonexistent-time": 1}


def test_the_doubled_hour_is_told_apart_within_each_series() -> None:
    table = pl.DataFrame({"when": ["2021-10-31 02:00"] * 4})
    found = _read(table, TimeConfig(columns=("when",)), BERLIN, ["a", "b", "a", "b"])
    assert _texts(found) == ["2021-10-31T00:00", "2021-10-31T00:00", "2021-10-31T01:00", "2021-10-31T01:00"]


@settings(max_examples=50, deadline=None)
@given(
    hours=st.lists(st.integers(0, 24 * 365 * 3), min_size=3, max_size=30, unique=True),
    zone=st.sampled_from([SEOUL, BERLIN, "America/New_York", "UTC"]),
)
def test_local_times_written_out_are_read_back(hours: list[int], zone: str) -> None:
    moments = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in sorted(hours)]
    local = [moment.astimezone(ZoneInfo(zone)) for moment in moments]
    once = [one for one in zip(moments, local, strict=True) if one[1].fold == 0]  # the second of a doubled hour alone
    table = pl.DataFrame({"when": [one.strftime("%Y-%m-%d %H:%M") for _, one in once]})
    if len(table):
        found = _read(table, TimeConfig(columns=("when",)), zone)
        assert found.utc.to_list() == [moment for moment, _ in once]


def test_an_impossible_date_or_hour_is_missing() -> None:
    parts = pl.DataFrame(
        {"year": [2020] * 6, "month": [2, 2, 13, 3, 3, 3], "day": [29, 31, 1, 1, 2, 3], "hour": [1, 1, 1, 25, 0, 0]}
    )
    found = _read(parts, TimeConfig(columns=("year", "month", "day", "hour")))
    assert found.utc.is_null().to_list() == [False, True, True, True, False, False]


def test_words_are_no_times() -> None:
    with pytest.raises(DataError, match=r"most cells of 'when' \(data.time\) are no times, e.g. 'soon'"):
        _read(pl.DataFrame({"when": ["soon", "later", "now"]}), TimeConfig(columns=("when",)))
    with pytest.raises(DataError, match=r"no column 'wen' \(data.time\). Did you mean 'when'"):
        _read(pl.DataFrame({"when": ["2020-01-01"]}), TimeConfig(columns=("wen",)))
