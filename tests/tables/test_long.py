"""Long tables: identical and revised rows, rows without a key, cells that are no numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tables.config import DataConfig
from sanmaru.tables.long import read_long, to_long
from sanmaru.tables.revisions import merge_revisions

DATA = DataConfig(train="", series="station", time="when", target=("pm10",))


def _table(**columns: list) -> pl.DataFrame:
    return pl.DataFrame(columns, strict=False)


def test_identical_rows_are_dropped_and_the_last_of_differing_ones_wins() -> None:
    table = _table(
        station=["b", "a", "a", "a", "a"],
        when=["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 00:00", "2020-01-01 00:00", "2020-01-01 01:00"],
        pm10=["3", "5", "1", "1", "6"],
    )
    long = to_long(table, DATA, zone="UTC")
    assert long.table.rows() == [
        ("a", long.table["time"][0], 1.0),
        ("a", long.table["time"][1], 6.0),
        ("b", *long.table.row(0)[1:2], 3.0),
    ]
    assert long.counts == {"identical-rows": 1, "revised-rows": 1}
    assert long.positions.to_list() == [2, 4, 0]


def test_a_column_of_revisions_decides_instead_of_the_order_of_rows() -> None:
    table = _table(
        station=["a", "a"], when=["2020-01-01", "2020-01-01"], pm10=[7.0, 9.0], said=["2020-02-02", "2020-02-01"]
    )
    data = DataConfig(train="", series="station", time="when", target=("pm10",), revised="said")
    assert to_long(table, data, zone="UTC").table["pm10"].to_list() == [7.0]


def test_rows_without_a_key_are_set_aside_and_bad_cells_become_missing() -> None:
    table = _table(
        station=["a", None, "a", "a"],
        when=["2020-01-01 00:00", "2020-01-01 00:00", None, "2020-01-01 01:00"],
        pm10=["3", "4", "5", "통신불량"],
    )
    data = DataConfig(train="", series="station", time="when", target=("pm10",), types={"pm10": "number"})
    long = to_long(table, data, zone="Asia/Seoul")
    assert long.quarantine.counts() == {"missing-series": 1, "missing-time": 1}
    assert [one.row for one in long.quarantine.violations] == [1, 2]
    assert long.table["pm10"].to_list() == [3.0, None]
    assert long.counts == {"unreadable-cells": 1}
    assert "통신불량" in long.notes[0]


def test_a_long_tables_own_names_are_taken_too() -> None:
    times = pl.Series(["2020-01-01"]).str.to_datetime(time_zone="UTC")
    table = pl.DataFrame({"series": ["a"], "time": times, "pm10": [1.0]})
    assert to_long(table, DATA, zone="Asia/Seoul").table["time"][0].isoformat() == "2020-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"time": "wen"}, r"no column 'wen' \(data.time\). Did you mean 'when'"),
        ({"time": "when", "series": "statio"}, r"no column 'statio' \(data.series\). Did you mean 'station'"),
        ({"time": "when", "series": "station", "known": ["holiday"]}, r"no column 'holiday' \(data.known\)"),
        ({}, "data.time is not set"),
    ],
)
def test_a_role_that_names_no_column_is_refused(data, match: str) -> None:
    table = _table(station=["a"], when=["2020-01-01"], pm10=[1.0])
    with pytest.raises(DataError, match=match):
        to_long(table, DataConfig(train="", target=("pm10",), **data), zone="UTC")


def test_no_usable_row_is_an_error() -> None:
    table = _table(station=[None], when=["2020-01-01"], pm10=[1.0])
    with pytest.raises(DataError, match="none of the 1 rows has a series and a time"):
        to_long(table, DATA, zone="UTC")


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.sampled_from([None, 1.0, 2.0])), max_size=12)


def _long(rows: list[tuple[str, int, float | None]]) -> pl.DataFrame:
    schema = {"series": pl.String, "hour": pl.Int64, "pm10": pl.Float64}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    time = pl.datetime(2020, 1, 1, time_zone="UTC") + pl.duration(hours=pl.col("hour"))
    return table.select("series", time.cast(pl.Datetime("us", "UTC")).alias("time"), "pm10")


@settings(max_examples=100, deadline=None)
@given(old=ROWS, new=ROWS)
def test_merging_counts_every_new_row_once_and_is_what_a_dictionary_does(old, new) -> None:
    before = _long(old).unique(["series", "time"], keep="last", maintain_order=True)
    merged = merge_revisions(before, _long(new))
    known = {row[:2]: row[2] for row in before.rows()}
    expected, added, revised = dict(known), 0, 0
    for key, value in {row[:2]: row[2] for row in _long(new).rows()}.items():
        if key not in known:
            added += 1
            expected[key] = value
        elif value is not None and value != known[key]:
            revised += 1
            expected[key] = value
    assert {row[:2]: row[2] for row in merged.table.rows()} == expected
    assert (merged.added.height, merged.revised.height) == (added, revised)
    n_new = _long(new).unique(["series", "time"]).height
    assert merged.unchanged == n_new - added - revised
    again = merge_revisions(merged.table, _long(new))
    assert (again.added.height, again.revised.height, again.late) == (0, 0, 0)


def test_late_rows_are_those_before_the_last_one_known() -> None:
    merged = merge_revisions(
        _long([("a", 0, 1.0), ("a", 4, 1.0)]), _long([("a", 2, 1.0), ("a", 5, 1.0), ("b", 0, 1.0)])
    )
    assert merged.late == 1
    assert merged.changed.height == 3
    with pytest.raises(DataError, match="the new table has no column 'time'"):
        merge_revisions(_long([("a", 0, 1.0)]), pl.DataFrame({"series": ["a"]}))


def test_the_real_quirks_are_counted(shared_data: Path) -> None:
    def read(folder: str, file: str, **data):
        return read_long(DataConfig(train=str(shared_data / folder / file), **data), Path(), zone="Asia/Seoul")

    seoul = read("air-seoul", "hourly.csv", time="datetime", target=["pm25"])
    assert seoul.counts == {"identical-rows": 24}
    ldaps = read("weather-seoul-ldaps", "summer_daily.csv", time="Date", series="station", target=["Next_Tmax"])
    assert ldaps.quarantine.counts() == {"missing-series": 2}
    assert ldaps.table["series"].n_unique() == 25
    bike = read("weather-seoul-bike", "hourly.csv", time=["Date", "Hour"], target=["Temperature"])
    assert bike.table.height == 8760
    assert not bike.quarantine.violations
