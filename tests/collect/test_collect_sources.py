"""What each source asks for, and how it reads what comes back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.collect.answering import NOW, air_item, asos_item, envelope, gateway_error, hours

from sanmaru.collect.base import Answer, CollectError, Request, Span
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.sources import data_go_kr
from sanmaru.collect.sources.airkorea import AirKorea
from sanmaru.collect.sources.asos import Asos
from sanmaru.collect.sources.open_meteo import OpenMeteo
from sanmaru.pipelines.context import NotReady

SPAN = Span(start=NOW - timedelta(hours=2), end=NOW, now=NOW)
ADAPTER: TypeAdapter[Any] = TypeAdapter(SourceConfig)
METEO = {
    "kind": "open-meteo",
    "places": {"seoul": [37.57, 126.98], "busan": [35.18, 129.08]},
    "columns": {
        "temperature_2m": {"name": "temperature", "unit": "°C"},
        "wind_speed_10m": {"name": "wind", "unit": "m/s"},
    },
}


def source(**fields: Any) -> Any:
    config = ADAPTER.validate_python(fields)
    return {"open-meteo": OpenMeteo, "asos": Asos, "airkorea": AirKorea}[fields["kind"]](config)


def answer(content: Any, at: datetime = NOW, **params: str) -> Answer:
    body = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Answer(
        request=Request(url="http://x/op", params=params), status=200, headers={}, body=body.encode(), fetched_at=at
    )


def place(times: list[str], temperature: list[Any], wind: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "latitude": 37.5,
        "utc_offset_seconds": 0,
        "hourly_units": {"time": "iso8601", "temperature_2m": "°C", "wind_speed_10m": "m/s"},
        "hourly": {"time": times, "temperature_2m": temperature, "wind_speed_10m": wind},
        **more,
    }


# --- Open-Meteo


def test_open_meteo_asks_for_all_places_and_days_at_once() -> None:
    (request,) = source(**METEO).requests(SPAN)
    assert request.url == "https://api.open-meteo.com/v1/forecast"
    assert request.params["latitude"] == "37.57,35.18"
    assert (request.params["start_date"], request.params["end_date"]) == ("2026-11-21", "2026-11-24")
    assert request.params["timezone"] == "GMT"
    archive = source(**METEO, api="archive").requests(SPAN)[0]
    assert archive.url == "https://archive-api.open-meteo.com/v1/archive"
    assert archive.params["end_date"] == "2026-11-21"
    assert "wind_speed_unit" not in source(**METEO, api="air-quality").requests(SPAN)[0].params


def test_open_meteo_keeps_what_lies_ahead_apart() -> None:
    times = ["2026-11-21T08:00", "2026-11-21T09:00", "2026-11-21T10:00"]
    found = source(**METEO).parse(answer([place(times, [1, 2, 3], [4, None, 6]), place(times, [7, 8, 9], [1, 1, 1])]))
    assert found.rows.filter(series="seoul").select("temperature", "wind").rows() == [(1.0, 4.0), (2.0, None)]
    assert found.ahead is not None
    assert found.ahead["time"].unique().to_list() == [datetime(2026, 11, 21, 10, tzinfo=UTC)]
    assert found.ahead["series"].to_list() == ["busan", "seoul"]


def test_open_meteo_local_times_are_brought_to_utc_and_units_to_the_columns() -> None:
    units = {"temperature_2m": "°F", "wind_speed_10m": "km/h"}
    told = place(["2026-11-21T09:00"], [212], [36], utc_offset_seconds=32400, hourly_units=units)
    found = source(**METEO).parse(answer([told, told]))
    assert found.rows["time"].to_list() == [datetime(2026, 11, 21, tzinfo=UTC)] * 2
    assert found.rows.select("temperature", "wind").row(0) == pytest.approx((100.0, 10.0))


def test_open_meteo_unit_that_nobody_can_convert_is_refused() -> None:
    told = place(["2026-11-21T09:00"], [1], [1], hourly_units={"temperature_2m": "octas"})
    with pytest.raises(CollectError, match=r"temperature_2m in 'octas', and the column 'temperature' wants '°C'"):
        source(**METEO).parse(answer([told, told]))


def test_open_meteo_hours_of_nothing_make_no_rows() -> None:
    told = place(["2026-11-21T07:00", "2026-11-21T08:00"], [1, None], [1, None])
    assert source(**METEO, api="archive").parse(answer([told, told])).rows.height == 2


@pytest.mark.parametrize(
    ("content", "kind", "match"),
    [
        ({"error": True, "reason": "Cannot initialize variable"}, "refused", "Cannot initialize"),
        ({"error": True, "reason": "Minutely API request limit exceeded. Please try again."}, "retry", "Minutely"),
        ({"error": True, "reason": "Daily API request limit exceeded."}, "later", "Daily"),
        ("<html>Bad gateway", "retry", "no JSON"),
        ('[{"latitude": 1', "retry", "no JSON"),
        ([place([], [], [])], "retry", "1 places instead of 2"),
        ([place(["2026-11-21T07:00"], [], [1])] * 2, "retry", "temperature_2m is absent or not as long as time"),
        ([{"latitude": 1}] * 2, "retry", "without hourly"),
    ],
)
def test_open_meteo_answers_without_data_are_told(content: Any, kind: str, match: str) -> None:
    problem = source(**METEO).problem(answer(content))
    assert problem is not None
    assert problem.kind == kind
    assert match in problem.text


def test_open_meteo_bad_cells_are_set_aside_and_the_rest_is_read() -> None:
    told = place(["2026-11-21T07:00", "then", None], [1, 2, 3], ["fast", 2, 3])
    found = source(**METEO).parse(answer([told, place([], [], [])]))
    assert found.rows.select("temperature", "wind").rows() == [(1.0, None)]
    assert found.quarantine.counts() == {"not-a-number": 1, "no-time": 2}


# --- data.go.kr


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (gateway_error("22", "LIMITED"), "later"),
        (f'<?xml version="1.0"?>\n{gateway_error("31", "EXPIRED")}', "refused"),
        ("<response><header><resultCode>03</resultCode><resultMsg>NO</resultMsg></header></response>", "later"),
        ("<html><body>점검</body></html>", "retry"),
        ("", "retry"),
        ("Unexpected errors", "retry"),
        ('{"response": {"header": {"resultCode": "00"}}}', "retry"),
        ('{"cmmMsgHeader": {"returnReasonCode": "30", "returnAuthMsg": "NOT REGISTERED"}}', "refused"),
        ("[]", "retry"),
        ("null", "retry"),
        (envelope([], code="77"), "retry"),
    ],
)
def test_the_portals_ways_of_saying_no(body: str, kind: str) -> None:
    problem = data_go_kr.problem(answer(body))
    assert problem is not None
    assert problem.kind == kind


@pytest.mark.parametrize(
    ("items", "count"),
    [([{"a": 1}], 1), ({"item": [{"a": 1}, {"a": 2}]}, 2), ({"item": {"a": 1}}, 1), ("", 0), (None, 0)],
)
def test_items_come_in_four_shapes(items: Any, count: int) -> None:
    told = answer(envelope(items, total=count))
    assert data_go_kr.problem(told) is None
    found, total = data_go_kr.items(told)
    assert (len(found), total) == (count, count)


# --- ASOS

ASOS = {"kind": "asos", "stations": {"seoul": 108}}
YESTERDAY = Span(start=NOW - timedelta(hours=42), end=NOW - timedelta(hours=18), now=NOW)  # 20 November in Seoul


def test_asos_asks_each_station_for_hours_of_seoul() -> None:
    (request,) = source(**ASOS).requests(YESTERDAY)
    told = {key: request.params[key] for key in ("startDt", "startHh", "endDt", "endHh", "stnIds", "dataCd", "dateCd")}
    assert told == {
        "startDt": "20261120",
        "startHh": "00",
        "endDt": "20261120",
        "endHh": "23",
        "stnIds": "108",
        "dataCd": "ASOS",
        "dateCd": "HR",
    }
    assert "serviceKey" not in request.params


def test_asos_does_not_ask_for_a_day_that_has_not_ended() -> None:
    with pytest.raises(NotReady, match=r"2026-11-21 .Seoul. comes on the next day"):
        source(**ASOS).requests(SPAN)


def test_asos_rows_have_units_flags_and_missing_values() -> None:
    items = [
        asos_item(NOW),
        asos_item(NOW + timedelta(hours=1), ta="-999", ws="-9", wd="-99.9", hm="", rn="0.5", rnQcflg=""),
        asos_item(NOW + timedelta(hours=2), ta="12.0", taQcflg="1", hmQcflg="9"),
        asos_item(NOW + timedelta(hours=3), pa="high"),
        asos_item(NOW, station="159"),
        asos_item(NOW, tm="yesterday"),
    ]
    found = source(**ASOS).parse(answer(envelope({"item": items})))
    first, second, third, fourth = found.rows.to_dicts()
    assert first["temperature"] == -9.0  # a cold morning, no code
    assert (first["rain"], first["rain.flag"], first["humidity.flag"]) == (None, "missing", None)
    assert [second[name] for name in ("temperature", "wind_speed", "wind_direction", "humidity", "rain")] == [
        None,
        None,
        None,
        None,
        0.5,
    ]
    assert (third["temperature"], third["temperature.flag"], third["humidity"]) == (None, "error", None)
    assert fourth["pressure"] is None
    assert found.quarantine.counts() == {"not-a-number": 1, "unknown-series": 1, "no-time": 1}


def test_asos_blank_rain_is_none_only_where_the_project_says_so() -> None:
    told = answer(envelope({"item": [asos_item(NOW, rnQcflg="")]}))
    assert source(**ASOS).parse(told).rows["rain"].to_list() == [None]
    assert source(**ASOS, blank_is_zero=["rn"]).parse(told).rows["rain"].to_list() == [0.0]


def test_asos_pages_follow_the_total() -> None:
    one = source(**ASOS)
    (request,) = one.requests(YESTERDAY)
    first = Answer(request=request, status=200, headers={}, body=envelope({"item": []}, 2100).encode(), fetched_at=NOW)
    assert [page.params["pageNo"] for page in one.more(first)] == ["2", "3"]
    assert one.total(first) == (0, 2100)


# --- AirKorea

AIR = {"kind": "airkorea", "stations": ["중구"]}


@pytest.mark.parametrize(
    ("age", "term"),
    [(timedelta(hours=3), "DAILY"), (timedelta(days=9), "MONTH"), (timedelta(days=60), "3MONTH")],
)
def test_airkorea_asks_for_as_much_as_the_age_needs(age: timedelta, term: str) -> None:
    span = Span(start=NOW - age, end=NOW - age + timedelta(hours=1), now=NOW)
    (request,) = source(**AIR).requests(span)
    assert (request.params["dataTerm"], request.params["stationName"]) == (term, "중구")


def test_airkorea_says_how_far_back_it_reaches() -> None:
    with pytest.raises(CollectError, match="gives the last three months"):
        source(**AIR).requests(Span(start=NOW - timedelta(days=200), end=NOW - timedelta(days=199), now=NOW))


def test_airkorea_midnight_flags_and_dashes() -> None:
    midnight = datetime(2026, 11, 20, 15, tzinfo=UTC)
    items = [
        air_item(midnight),
        air_item(NOW, pm10Value="-", pm10Flag="통신장애", o3Value="0.05", o3Flag="점검및교정", pm25Value="-"),
        air_item(NOW - timedelta(hours=1), dataTime=None),
        air_item(NOW - timedelta(hours=2), coValue="자료이상", so2Value="many", no2Value="-0.001"),
    ]
    assert items[0]["dataTime"] == "2026-11-20 24:00"
    found = source(**AIR).parse(answer(envelope(items), stationName="중구"))
    rows = {row["time"]: row for row in found.rows.to_dicts()}
    assert rows[midnight]["pm10"] == 21.0
    assert (rows[NOW]["pm10"], rows[NOW]["pm10.flag"]) == (None, "통신장애")
    assert (rows[NOW]["o3"], rows[NOW]["o3.flag"]) == (None, "점검및교정")
    assert (rows[NOW]["pm25"], rows[NOW]["pm25.flag"]) == (None, None)
    assert rows[NOW - timedelta(hours=2)]["co"] is None
    assert found.quarantine.counts() == {"no-time": 1, "not-a-number": 1, "negative": 1}


def test_airkorea_provinces_name_their_stations() -> None:
    items = [air_item(NOW, "중구"), air_item(NOW, "중구", sidoName="부산"), air_item(NOW, "", sidoName="부산")]
    two = source(kind="airkorea", sido=["서울", "부산"]).parse(answer(envelope(items)))
    assert two.rows["series"].to_list() == ["부산 중구", "서울 중구"]
    assert two.quarantine.counts() == {"unknown-series": 1}
    one = source(kind="airkorea", sido=["서울"]).parse(answer(envelope(items[:1])))
    assert one.rows["series"].to_list() == ["중구"]


def test_airkorea_takes_stations_or_provinces() -> None:
    with pytest.raises(ValidationError, match=r"either stations: .* or sido:"):
        source(kind="airkorea", stations=["중구"], sido=["서울"])


# --- what every parser keeps to

CELLS = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.integers(-1000, 1000),
    st.floats(),
    st.booleans(),
    st.sampled_from(["-", "통신장애", "12.5"]),
)
FIELDS = ["tm", "stnId", "ta", "taQcflg", "rn", "dataTime", "stationName", "pm10Value", "pm10Flag", "o3Value"]
ITEMS = st.lists(
    st.one_of(
        CELLS,
        st.dictionaries(
            st.sampled_from(
                ["tm", "stnId", "ta", "taQcflg", "rn", "dataTime", "stationName", "pm10Value", "pm10Flag", "o3Value"]
            ),
            st.one_of(CELLS, st.sampled_from(["2026-11-21 24:00", "2026-11-21 05:00", "108", "중구"])),
        ),
    ),
    max_size=8,
)


@given(ITEMS, st.sampled_from([ASOS, AIR]))
def test_whatever_items_come_each_becomes_a_row_or_is_set_aside(items: list[Any], which: dict[str, Any]) -> None:
    one = source(**which)
    told = answer(envelope({"item": items}, total=len(items)), stationName="중구")
    assert one.problem(told) is None
    found = one.parse(told)
    values = [pl.col(name) for name, kind in found.rows.schema.items() if kind == pl.Float64]
    assert found.rows.select(pl.all_horizontal(*(v.is_finite().fill_null(value=True) for v in values)).all()).item()
    assert found.rows.select("series", "time").is_unique().all()
    aside = {violation.row for violation in found.quarantine.violations}
    whole = {v.row for v in found.quarantine.violations if v.rule not in ("not-a-number", "negative")}
    assert found.rows.height + len(whole) == len(items)
    assert aside <= set(range(len(items)))


NAMES = ["response", "header", "body", "items", "resultCode", "hourly", "time", "error", "temperature_2m"]
JSON = st.recursive(
    CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.sampled_from([ASOS, AIR, METEO]))
def test_no_json_whatever_breaks_the_judgement(content: Any, which: dict[str, Any]) -> None:
    one = source(**which)
    told = answer(json.dumps(content), stationName="중구")
    if one.problem(told) is None:
        one.parse(told)


def test_hours_of_a_day_are_all_read() -> None:
    items = [air_item(time) for time in hours(NOW - timedelta(hours=23), 24)]
    assert source(**AIR).parse(answer(envelope(items), stationName="중구")).rows.height == 24
