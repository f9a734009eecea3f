"""Whole collections: pages, revisions, what is missing, what broke off, and reading everything anew."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import TypeAdapter
from tests.collect.answering import NOW, Asked, Reply, Server, air_item, asos_item, envelope, hours

from sanmaru.collect.again import parse_again, status
from sanmaru.collect.base import CollectError
from sanmaru.collect.clock import SetClock
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.interval import Collected, collect_interval
from sanmaru.collect.store import RawStore
from sanmaru.collect.table import read
from sanmaru.pipelines.context import NotReady

ADAPTER: TypeAdapter[Any] = TypeAdapter(SourceConfig)
START, END = NOW - timedelta(hours=2), NOW


class Air:
    """An AirKorea that knows what each station measured; tests change it."""

    def __init__(
        self, server: Server, folder: Path, stations: tuple[str, ...] = ("중구", "강남구"), **fields: Any
    ) -> None:
        self.server, self.folder, self.clock = server, folder / "collected", SetClock(NOW)
        self.pm10: dict[tuple[str, Any], Any] = {
            (name, at): "20" for name in stations for at in hours(NOW - timedelta(hours=4), 4)
        }
        self.broken: set[str] = set()
        server.answer = self._answer
        quick = {"per_s": 1000, "burst": 1000, "daily": None, "http": {"retries": 1, "backoff_s": 0.01}}
        self.config = ADAPTER.validate_python(
            {"kind": "airkorea", "stations": list(stations), "url": server.url, **quick, **fields}
        )

    def _answer(self, asked: Asked, n: int) -> Reply:
        name = asked.params["stationName"]
        if name in self.broken:
            return Reply("down", status=500)
        items = [air_item(at, name, pm10Value=value) for (one, at), value in self.pm10.items() if one == name]
        return Reply(envelope(items))

    def collect(self) -> Collected:
        self.server.asked.clear()
        self.clock.sleep(60)
        return collect_interval("air", self.config, START, END, self.folder, clock=self.clock)

    def asked(self) -> list[str]:
        return [one.params["stationName"] for one in self.server.asked]


@pytest.fixture
def air(server: Server, tmp_path: Path, service_key: str) -> Air:
    return Air(server, tmp_path)


def test_an_interval_is_collected_whole(air: Air) -> None:
    done = air.collect()
    assert (done.merged.added, done.missing, done.outputs["count"]) == (
        8,
        0,
        4,
    )  # four hours came, two are of the interval
    rows = pl.read_parquet(done.outputs["rows"])
    assert rows["series"].to_list() == ["강남구", "강남구", "중구", "중구"]
    assert rows["time"].is_between(START, END, closed="left").all()
    assert read(air.folder / "tables" / "air").height == 8


def test_what_did_not_change_gives_the_same_outputs(air: Air) -> None:
    first = air.collect()
    body = first.outputs["rows"].read_bytes()
    second = air.collect()
    assert second.outputs == first.outputs
    assert second.outputs["rows"].read_bytes() == body
    assert second.merged.unchanged == 8
    assert len(list((air.folder / "answers").rglob("*.gz"))) == 2


def test_a_revision_changes_the_interval_and_the_past_stays_known(air: Air) -> None:
    first = air.collect()
    before = air.clock.now()
    air.pm10["중구", NOW - timedelta(hours=1)] = "55"
    second = air.collect()
    assert second.merged.revised == 1
    assert second.merged.revised_times == (NOW - timedelta(hours=1),)
    assert pl.read_parquet(second.outputs["rows"])["pm10"].to_list() == [20.0, 20.0, 20.0, 55.0]
    then = read(air.folder / "tables" / "air", START, END, as_of=before)
    assert then["pm10"].to_list() == [20.0] * 4
    assert first.outputs.keys() == second.outputs.keys()


def test_a_late_station_is_waited_for_and_only_it_is_asked_again(air: Air) -> None:
    del air.pm10["강남구", NOW - timedelta(hours=1)]
    with pytest.raises(NotReady, match="air: 3 of 4 rows from 2026-11-21T07:00Z to 2026-11-21T09:00Z"):
        air.collect()
    assert read(air.folder / "tables" / "air").height == 7  # what came is there already
    air.pm10["강남구", NOW - timedelta(hours=1)] = "30"
    assert air.collect().outputs["count"] == 4
    assert air.asked() == ["강남구"]


def test_a_station_that_says_why_it_has_no_value_is_not_waited_for(air: Air) -> None:
    for key in [key for key in air.pm10 if key[0] == "강남구"]:
        del air.pm10[key]
    down = {f"{name}Value": "-" for name in ("pm10", "pm25", "o3", "no2", "co", "so2")}
    flags = {f"{name}Flag": "통신장애" for name in ("pm10", "pm25", "o3", "no2", "co", "so2")}
    usual = air.server.answer

    def answer(asked: Asked, n: int) -> Reply:
        if asked.params["stationName"] != "강남구":
            return usual(asked, n)
        return Reply(envelope([air_item(at, "강남구", **down, **flags) for at in hours(START, 2)]))

    air.server.answer = answer
    rows = pl.read_parquet(air.collect().outputs["rows"])
    assert rows["pm10"].null_count() == 2
    assert rows["pm10.flag"].drop_nulls().to_list() == ["통신장애"] * 2


def test_patience_ends_and_what_is_there_is_taken(server: Server, tmp_path: Path, service_key: str) -> None:
    air = Air(server, tmp_path, patience_s=150)
    del air.pm10["강남구", NOW - timedelta(hours=1)]
    for _ in range(2):
        with pytest.raises(NotReady, match="3 of 4 rows"):
            air.collect()
    done = air.collect()
    assert (done.missing, done.outputs["count"]) == (1, 3)


def test_a_part_may_be_enough(server: Server, tmp_path: Path, service_key: str) -> None:
    air = Air(server, tmp_path, need=0.75)
    del air.pm10["강남구", NOW - timedelta(hours=1)]
    assert air.collect().outputs["count"] == 3


def test_what_broke_off_goes_on_where_it_was(server: Server, tmp_path: Path, service_key: str) -> None:
    air = Air(server, tmp_path, ("가", "나", "다"))
    air.broken = {"나"}
    with pytest.raises(CollectError, match="failed 2 times, last: HTTP 500"):
        air.collect()
    assert air.asked() == ["가", "나", "나"]
    assert read(air.folder / "tables" / "air")["series"].unique().to_list() == ["가"]
    air.broken = set()
    assert air.collect().outputs["count"] == 6
    assert air.asked() == ["나", "다"]
    air.clock.sleep(3600)
    air.collect()  # a complete collection is begun anew, for there may be revisions
    assert air.asked() == ["가", "나", "다"]


def test_after_a_kill_it_goes_on_where_it_was(server: Server, tmp_path: Path, service_key: str) -> None:
    air = Air(server, tmp_path, ("가", "나", "다"))
    usual = air.server.answer

    def hang(asked: Asked, n: int) -> Reply:
        return Reply(wait_s=20) if asked.params["stationName"] == "나" else usual(asked, n)

    air.server.answer = hang
    code = (
        "import sys; from pathlib import Path; from datetime import datetime; from pydantic import TypeAdapter\n"
        "from sanmaru.collect.config import SourceConfig; from sanmaru.collect.interval import collect_interval\n"
        "from sanmaru.collect.clock import SetClock\n"
        "config = TypeAdapter(SourceConfig).validate_json(sys.argv[1]); at = datetime.fromisoformat\n"
        "start, end, folder = at(sys.argv[2]), at(sys.argv[3]), Path(sys.argv[4])\n"
        "collect_interval('air', config, start, end, folder, clock=SetClock(end))"
    )
    arguments = [air.config.model_dump_json(), START.isoformat(), END.isoformat(), str(air.folder)]
    child = subprocess.Popen([sys.executable, "-c", code, *arguments])
    deadline = time.monotonic() + 60
    while air.asked() != ["가", "나"] and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    air.server.answer = usual
    assert air.collect().outputs["count"] == 6
    assert air.asked() == ["나", "다"]


def test_pages_are_put_together(server: Server, tmp_path: Path, service_key: str) -> None:
    start = NOW - timedelta(hours=1500)
    config = asos(server)
    pages = asos_pages(hours(start, 1400))
    server.answer = lambda asked, n: Reply(envelope({"item": pages[int(asked.params["pageNo"])]}, 1400))
    done = collect_interval("asos", config, start, start + timedelta(hours=1400), tmp_path / "c", clock=SetClock(NOW))
    assert done.outputs["count"] == 1400
    assert [one.params["pageNo"] for one in server.asked] == ["1", "2"]


def test_a_page_with_missing_rows_is_asked_for_again(server: Server, tmp_path: Path, service_key: str) -> None:
    start = NOW - timedelta(hours=1500)
    pages = asos_pages(hours(start, 1400))

    def answer(asked: Asked, n: int) -> Reply:
        page = int(asked.params["pageNo"])
        return Reply(envelope({"item": pages[page][:-3] if n == 2 else pages[page]}, 1400))

    server.answer = answer
    done = collect_interval(
        "asos", asos(server), start, start + timedelta(hours=1400), tmp_path / "c", clock=SetClock(NOW)
    )
    assert done.outputs["count"] == 1400
    assert [one.params["pageNo"] for one in server.asked] == ["1", "2", "1", "2"]


def test_rows_that_stay_missing_are_told_and_what_came_is_kept(
    server: Server, tmp_path: Path, service_key: str
) -> None:
    start = NOW - timedelta(hours=1500)
    pages = asos_pages(hours(start, 1400))
    server.answer = lambda asked, n: Reply(envelope({"item": pages[int(asked.params["pageNo"])][:-3]}, 1400))
    with pytest.raises(NotReady, match=r"asos: 1394 of 1400 rows came; asos: 1394 of 1400 rows from"):
        collect_interval(
            "asos", asos(server), start, start + timedelta(hours=1400), tmp_path / "c", clock=SetClock(NOW)
        )
    assert read(tmp_path / "c" / "tables" / "asos").height == 1394


def test_everything_can_be_read_anew_without_a_network(air: Air) -> None:
    air.collect()
    air.pm10["중구", NOW - timedelta(hours=1)] = "55"
    air.collect()
    table = air.folder / "tables" / "air"
    before, names = read(table, history=True), {path.name for path in table.glob("*.parquet")}
    air.server.close()
    report = parse_again("air", air.config, air.folder)
    assert (report.answers, report.rows, report.table) == (4, 16, 8)
    assert read(table, history=True).equals(before)
    assert {path.name for path in table.glob("*.parquet")} <= names
    # Another unit, and the table is made anew from the same answers.
    columns = {"pm10": {"name": "pm10", "unit": "mg/m³", "scale": 0.001}}
    milli = ADAPTER.validate_python({**air.config.model_dump(), "columns": columns})
    parse_again("air", milli, air.folder)
    assert read(table, START, END)["pm10"].to_list() == [0.02, 0.02, 0.02, 0.055]
    assert "o3" not in read(table).columns


def test_status_tells_what_came_and_what_was_set_aside(air: Air) -> None:
    air.pm10["중구", NOW - timedelta(hours=1)] = "many"
    air.collect()
    air.broken = {"중구"}
    with pytest.raises(CollectError, match="HTTP 500"):
        air.collect()
    told = status("air", air.folder)
    assert (told["attempts"], told["good"], told["rows"], told["series"]) == (4, 2, 8, 2)
    assert told["set_aside"] == {"not-a-number": 1}
    assert told["problems"][0]["problem"].startswith("retry: HTTP 500")
    assert told["intervals"] == {"complete": 1, "open": 1}
    with RawStore(air.folder) as store:
        (aside,) = store.catalogue.rows("SELECT * FROM set_aside")
    assert (aside["id"], aside["column"], aside["value"]) == ("중구", "pm10Value", "many")


def test_forecasts_are_kept_apart_with_the_moment_of_knowing(server: Server, tmp_path: Path) -> None:
    def answer(asked: Asked, n: int) -> Reply:
        times = [f"{at:%Y-%m-%dT%H:%M}" for at in hours(NOW - timedelta(hours=2), 6)]
        values = [float(n)] * 6
        units = {"temperature_2m": "°C"}
        told = {"utc_offset_seconds": 0, "hourly_units": units, "hourly": {"time": times, "temperature_2m": values}}
        return Reply(json.dumps(told))

    server.answer = answer
    config = ADAPTER.validate_python(
        {
            "kind": "open-meteo",
            "url": f"{server.url}/v1/forecast",
            "places": {"seoul": [37.57, 126.98]},
            "columns": {"temperature_2m": "temperature"},
        }
    )
    clock = SetClock(NOW + timedelta(minutes=5))
    first = collect_interval("meteo", config, START, END, tmp_path / "c", clock=clock)
    ahead = pl.read_parquet(first.outputs["ahead"])
    assert ahead["time"].to_list() == hours(NOW + timedelta(hours=1), 3)
    assert ahead["known"].unique().to_list() == [NOW + timedelta(minutes=5)]
    clock.sleep(3600)
    second = collect_interval("meteo", config, START, END, tmp_path / "c", clock=clock)
    # What the interval looked ahead to is what was known then, however often it is collected again ...
    assert pl.read_parquet(second.outputs["ahead"]).equals(ahead)
    # ... and what is known now is in the table.
    assert read(tmp_path / "c" / "tables" / "meteo-ahead")["temperature"].to_list() == [1.0, 2.0, 2.0]
    assert second.merged.revised == 3  # hours that had passed


def asos(server: Server) -> Any:
    return ADAPTER.validate_python(
        {"kind": "asos", "stations": {"seoul": 108}, "url": server.url, "per_s": 1000, "burst": 1000}
    )


def asos_pages(times: list[Any]) -> dict[int, list[dict[str, Any]]]:
    items = [asos_item(at) for at in times]
    return {page + 1: items[page * 999 : (page + 1) * 999] for page in range(2)}
