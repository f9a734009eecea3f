"""Csv files of cities and replays of recorded data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.collect.answering import NOW

from sanmaru.collect.base import CollectError, Span
from sanmaru.collect.clock import SetClock
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.interval import collect_interval
from sanmaru.collect.sources.csv_rows import read_cells, to_rows
from sanmaru.collect.sources.replay import Replay
from sanmaru.collect.table import read
from sanmaru.pipelines.context import NotReady

ADAPTER: TypeAdapter[Any] = TypeAdapter(SourceConfig)
SEOUL_CSV = """\
측정일시,측정소명,이산화질소농도(ppm),이산화탄소농도(ppm),미세먼지(㎍/㎥)
202211062300,강남구,0.03,0.5,41
202211062400,강남구,-,0.6,
202211070100, 강남구 ,0.031,점검중,43
202211062300,강남구,0.03,0.5,41
202211062300,강남구,0.03,0.5,44
언제,강남구,1,1,1
202211062300,,1,1,1
"""
SEOUL = {
    "kind": "city-csv",
    "path": "seoul.csv",
    "time": "측정일시",
    "form": "%Y%m%d%H%M",
    "zone": "Asia/Seoul",
    "series": "측정소명",
    "columns": {"이산화질소농도(ppm)": "no2", "이산화탄소농도(ppm)": "co", "미세먼지(㎍/㎥)": "pm10"},
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_citys_file_is_read_in_any_encoding(encoding: str) -> None:
    config = ADAPTER.validate_python(SEOUL)
    rows, quarantine = to_rows(read_cells(SEOUL_CSV.encode(encoding), config), config)
    first = datetime(2022, 11, 6, 14, tzinfo=UTC)
    assert rows.rows() == [
        ("강남구", first, 0.03, 0.5, 44.0),
        ("강남구", first + timedelta(hours=1), None, 0.6, None),
        ("강남구", first + timedelta(hours=2), 0.031, None, 43.0),
    ]
    assert quarantine.counts() == {
        "not-a-number": 1,
        "no-time": 1,
        "unknown-series": 1,
        "repeated-row": 1,
        "conflicting-row": 1,
    }


@pytest.mark.parametrize(
    ("data", "fields", "match"),
    [
        (b"\xff\xfe\xfd", {}, "not text of encoding UTF-8 or cp949"),
        ("a,b\n".encode("utf-16"), {"encoding": "latin-1"}, "no column"),
        (b"", {}, "no csv can be read"),
        (
            SEOUL_CSV.replace("미세먼지(", "미세 먼지(").encode(),
            {},
            r"no column '미세먼지\(㎍/㎥\)'.*Did you mean '미세 먼지",
        ),
    ],
)
def test_files_that_cannot_be_used_say_why(data: bytes, fields: dict[str, Any], match: str) -> None:
    with pytest.raises(CollectError, match=match):
        read_cells(data, ADAPTER.validate_python(SEOUL | fields))


def test_the_hour_that_clocks_show_twice_and_the_one_they_skip() -> None:
    config = ADAPTER.validate_python(
        {"kind": "city-csv", "path": "x", "zone": "Europe/Berlin", "columns": {"a": "a"}, "form": "%Y-%m-%d %H:%M"}
    )
    text = (
        "time,a\n2026-10-25 01:00,1\n2026-10-25 02:00,2\n2026-10-25 02:00,3\n2026-10-25 03:00,4\n2026-03-29 02:30,5\n"
    )
    rows, quarantine = to_rows(read_cells(text.encode(), config), config)
    begin = datetime(2026, 10, 24, 23, tzinfo=UTC)
    assert rows.select("time", "a").rows() == [(begin + timedelta(hours=n), float(n + 1)) for n in range(4)]
    assert quarantine.counts() == {"no-time": 1}


def test_times_in_several_columns_and_conversions() -> None:
    config = ADAPTER.validate_python(
        {
            "kind": "replay",
            "path": "x",
            "time": ["Date", "Hour"],
            "form": "%d/%m/%Y %H",
            "columns": {"F": {"name": "temperature", "unit": "°C", "scale": 5 / 9, "offset": -160 / 9}},
        }
    )
    rows, _ = to_rows(read_cells(b"Date,Hour,F\n01/12/2017,0,212\n01/12/2017,13,-999\n", config), config)
    assert rows["time"].to_list() == [datetime(2017, 12, 1, tzinfo=UTC), datetime(2017, 12, 1, 13, tzinfo=UTC)]
    assert rows["temperature"].to_list() == [pytest.approx(100.0), None]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=5)), max_size=6))
def test_any_cells_become_rows_or_are_set_aside(cells: list[tuple[str, str]]) -> None:
    config = ADAPTER.validate_python({"kind": "city-csv", "path": "x", "columns": {"a": "a"}})
    table = pl.DataFrame(
        {"time": [one[0] for one in cells], "a": [one[1] for one in cells]}, schema={"time": pl.String, "a": pl.String}
    )
    cells_read = read_cells(table.write_csv(quote_style="always").encode(), config)
    rows, quarantine = to_rows(cells_read, config)
    whole = {v.row for v in quarantine.violations if v.rule != "not-a-number"}
    assert rows.height + len(whole) == len(cells)


def test_a_columns_name_is_given_once() -> None:
    with pytest.raises(ValidationError, match="can name no column here, or names two"):
        ADAPTER.validate_python(SEOUL | {"columns": {"a": "x", "b": "x"}})
    with pytest.raises(ValidationError, match="can name no column here"):
        ADAPTER.validate_python(SEOUL | {"columns": {"a": "known"}})


def test_a_citys_file_is_collected_from_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / "seoul.csv").write_text(SEOUL_CSV, encoding="cp949")
    config = ADAPTER.validate_python(SEOUL)
    start = datetime(2022, 11, 6, 14, tzinfo=UTC)
    done = collect_interval(
        "city", config, start, start + timedelta(hours=3), tmp_path / "collected", clock=SetClock(NOW)
    )
    assert done.outputs["count"] == 3
    assert done.set_aside == 5
    nothing = ADAPTER.validate_python(SEOUL | {"path": "nothing.csv"})
    with pytest.raises(CollectError, match=r"nothing.csv cannot be read: No such file"):
        collect_interval("city", nothing, start, NOW, tmp_path / "collected", clock=SetClock(NOW))


# --- replay

RECORDED = {"kind": "replay", "path": "recorded.csv", "columns": {"a": "a"}, "zone": "UTC"}
BEGIN = datetime(2018, 1, 1, tzinfo=UTC)


def replay(folder: Path, began: datetime = NOW, hours: int = 300, **fields: Any) -> Replay:
    lines = [f"{BEGIN + timedelta(hours=n):%Y-%m-%d %H:%M},{n + 10}" for n in range(hours)]
    (folder / "recorded.csv").write_text("time,a\n" + "\n".join(lines) + "\n")
    return Replay(ADAPTER.validate_python(RECORDED | fields), folder, lambda now: began)


def fed(one: Replay, now: datetime, start: int = 0, end: int = 300) -> dict[int, float]:
    span = Span(start=BEGIN + timedelta(hours=start), end=BEGIN + timedelta(hours=end), now=now)
    (request,) = one.requests(span)
    told = one.local(request, now)
    assert told is not None
    rows = one.parse(told).rows
    return {round((time - BEGIN) / timedelta(hours=1)): value for time, value in rows.select("time", "a").rows()}


def test_a_complete_recording_is_fed_as_it_is(tmp_path: Path) -> None:
    assert fed(replay(tmp_path), NOW, 5, 8) == {5: 15.0, 6: 16.0, 7: 17.0}


def test_at_speed_only_what_has_been_measured_is_there(tmp_path: Path) -> None:
    one = replay(tmp_path, speed=3600)
    assert list(fed(one, NOW + timedelta(seconds=10))) == list(range(11))
    assert list(fed(one, NOW)) == [0]
    assert one.time(NOW + timedelta(seconds=10)) == BEGIN + timedelta(hours=10)


def test_loss_lateness_and_revisions_are_those_of_the_seed(tmp_path: Path) -> None:
    late = replay(tmp_path, speed=3600, late=0.5, late_s=7200, lost=0.1, revised=0.3, revised_after_s=36_000)
    early, end = fed(late, NOW + timedelta(seconds=100)), fed(late, NOW + timedelta(days=9))
    assert early == fed(late, NOW + timedelta(seconds=100))
    assert len(end) == pytest.approx(270, abs=20)
    assert end == {hour: hour + 10.0 for hour in end}
    assert set(early) < {hour for hour in end if hour <= 100}
    wrong = {hour for hour, value in early.items() if value != hour + 10.0}
    assert wrong
    assert all(hour > 90 for hour in wrong)  # put right ten hours later
    other = replay(tmp_path, speed=3600, late=0.5, late_s=7200, lost=0.1, seed=8)
    assert fed(other, NOW + timedelta(days=9)).keys() != end.keys()


def test_a_span_may_be_asked_in_pieces(tmp_path: Path) -> None:
    one = replay(tmp_path, speed=3600, late=0.3, lost=0.2)
    now = NOW + timedelta(seconds=250)
    pieces: dict[int, float] = {}
    for start in range(0, 300, 25):
        pieces |= fed(one, now, start, start + 25)
    assert pieces == fed(one, now)


def test_a_replay_is_waited_for_and_what_is_lost_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    replay(tmp_path)
    config = ADAPTER.validate_python(RECORDED | {"speed": 3600, "lost": 1.0, "patience_s": 7200})
    clock, kept = SetClock(NOW), tmp_path / "collected"
    span = (BEGIN, BEGIN + timedelta(hours=1))
    for _ in range(3):
        with pytest.raises(NotReady, match="0 of 1 rows from 2018-01-01T00:00Z"):
            collect_interval("r", config, *span, kept, clock=clock)
        clock.sleep(1)
    done = collect_interval("r", config, *span, kept, clock=clock)
    assert (done.missing, done.outputs["count"]) == (1, 0)


def test_the_beginning_of_a_replay_is_noted_once(tmp_path: Path) -> None:
    replay(tmp_path)
    config = ADAPTER.validate_python(RECORDED | {"speed": 3600, "begin": "2018-01-02"})
    clock = SetClock(NOW)
    span = (BEGIN + timedelta(hours=24), BEGIN + timedelta(hours=26))
    with pytest.raises(NotReady, match="1 of 2 rows"):
        collect_interval("r", config, *span, tmp_path / "collected", clock=clock)
    clock.sleep(2)
    collect_interval("r", config, *span, tmp_path / "collected", clock=clock)
    # What became known when is told by the recording's clock.
    known = read(tmp_path / "collected" / "tables" / "r", known=True)["known"]
    assert known.to_list() == [BEGIN + timedelta(hours=24), BEGIN + timedelta(hours=26)]


def test_the_path_of_a_recording_may_name_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replay(tmp_path)
    one.config = one.config.model_copy(update={"path": "$RECORDED/recorded.csv"})
    with pytest.raises(CollectError, match="environment variable is not set"):
        fed(one, NOW)
    monkeypatch.setenv("RECORDED", str(tmp_path))
    assert len(fed(one, NOW)) == 300


def test_a_folder_of_recordings_is_one(tmp_path: Path) -> None:
    one = replay(tmp_path)
    (tmp_path / "later.csv").write_text("time,a\n2019-01-01 00:00,1\n")
    one.config = one.config.model_copy(update={"path": "."})
    assert len(fed(one, NOW, 0, 9000)) == 301


REAL = {
    "air-seoul": {
        "path": "air-seoul/hourly.csv",
        "time": "datetime",
        "zone": "Asia/Seoul",
        "columns": {"pm25": "pm25", "pm10": "pm10", "co": "co"},
    },
    "air-beijing": {
        "path": "air-beijing/train.csv",
        "time": ["year", "month", "day", "hour"],
        "form": "%Y %m %d %H",
        "zone": "Asia/Shanghai",
        "columns": {"pm2.5": "pm25", "TEMP": "temperature"},
    },
    "weather-seoul-bike": {
        "path": "weather-seoul-bike/hourly.csv",
        "time": ["Date", "Hour"],
        "form": "%d/%m/%Y %H",
        "zone": "Asia/Seoul",
        "columns": {"Temperature": "temperature", "Wind speed": "wind"},
    },
}
ROWS = {"air-seoul": (43_776, {"repeated-row": 24}), "air-beijing": (35_059, {}), "weather-seoul-bike": (8_760, {})}


@pytest.mark.parametrize("name", sorted(REAL))
def test_real_recordings_are_read_whole(name: str, shared_data: Path) -> None:
    one = Replay(ADAPTER.validate_python({"kind": "replay", **REAL[name]}), shared_data, lambda now: now)
    (request,) = one.requests(Span(start=datetime(2000, 1, 1, tzinfo=UTC), end=NOW, now=NOW))
    told = one.local(request, NOW)
    assert told is not None
    found = one.parse(told)
    rows, aside = ROWS[name]
    assert found.quarantine.counts() == aside
    assert found.rows.height == rows
