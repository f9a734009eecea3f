"""A forecaster behind HTTP: rows of series in, one forecast per series out, equal to what its package says."""

import csv
import io
import json
import random
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sanmaru.errors import DataError
from sanmaru.packages.golden import golden_rows
from sanmaru.packages.package import Package
from sanmaru.serving.app import create_app
from sanmaru.serving.errors import RequestError
from sanmaru.serving.forecast_example import csv_text, example_rows
from sanmaru.serving.forecasts import breaks_forecasts, request_of, table_of
from sanmaru.serving.keys import Keys
from sanmaru.serving.prediction_log import PredictionLog, logged_forecasts
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import FolderSource

Rows = list[dict[str, Any]]


def table_of_answer(answer: dict[str, Any]) -> pl.DataFrame:
    """The brief's way from an answer to a forecast table."""
    table = pl.DataFrame(answer["predictions"]).explode("forecast").unnest("forecast")
    moments = pl.col("origin", "time").str.to_datetime(time_unit="us", time_zone="UTC")
    return table.with_columns(moments, pl.col("horizon").cast(pl.Int32))


def of_package(folder: Path, rows: Rows) -> pl.DataFrame:
    return Package.load(folder).forecast(pl.from_dicts(rows, infer_schema_length=None))


def test_one_forecast_per_series_as_the_package_gives_it(
    air_client: TestClient, forecaster: Path, history: Callable[..., Rows]
) -> None:
    answer = air_client.post("/predict", json={"rows": history()})
    assert answer.status_code == 200
    content = answer.json()
    assert answer.headers["x-model"] == f"air@{content['version']}"
    assert [one["series"] for one in content["predictions"]] == ["Gangnam", "Jongno", "Mapo-gu"]
    for one in content["predictions"]:
        assert one["origin"] == "2026-03-02T14:00:00Z"  # 23:00 in Seoul
        assert [step["horizon"] for step in one["forecast"]] == list(range(1, 25))
        assert one["forecast"][0]["time"] == "2026-03-02T15:00:00Z"
        for step in one["forecast"]:
            assert step["pm25.q10"] <= step["pm25.q50"] <= step["pm25.q90"]
    assert table_of_answer(content).equals(of_package(forecaster, history()))
    assert content["counts"] == {"rows": 3 * 72}


def test_csv_and_the_datas_own_names_say_the_same(air_client: TestClient, history: Callable[..., Rows]) -> None:
    rows = history()
    expected = air_client.post("/predict", json=rows).json()["predictions"]
    buffer = io.StringIO()
    local = [
        {"district": row["series"], **row, "time": row["time"][:16].replace("T", " "), "note": "not an input"}
        for row in rows
    ]
    writer = csv.DictWriter(buffer, [name for name in local[0] if name != "series"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(local)
    for kind in ("text/csv", "text/csv; charset=utf-8"):
        answer = air_client.post("/predict", content=buffer.getvalue().encode(), headers={"content-type": kind})
        assert answer.json()["predictions"] == expected


def test_unsorted_late_and_repeated_rows_change_nothing_and_are_counted(
    air_client: TestClient, history: Callable[..., Rows]
) -> None:
    rows = history()
    expected = air_client.post("/predict", json=rows).json()["predictions"]
    wrong = {**rows[3], "pm25": 999.0}
    mixed = [*rows, rows[5], rows[100]]
    random.Random(7).shuffle(mixed)
    answer = air_client.post("/predict", json={"rows": [wrong, *mixed]}).json()
    assert answer["predictions"] == expected
    assert answer["counts"] == {"rows": 219, "identical-rows": 2, "revised-rows": 1}


def test_longer_histories_are_taken_and_each_series_has_its_own_origin(
    air_client: TestClient, forecaster: Path, history: Callable[..., Rows]
) -> None:
    rows = [*history(72, districts=("Gangnam",)), *history(60, districts=("Jongno",))]
    answer = air_client.post("/predict", json=rows).json()
    assert [one["origin"] for one in answer["predictions"]] == ["2026-03-03T14:00:00Z", "2026-03-03T02:00:00Z"]
    assert table_of_answer(answer).equals(of_package(forecaster, rows))


@pytest.mark.parametrize(
    ("change", "where", "told"),
    [
        (lambda rows: rows[:10], "series 'Gangnam'", "too short: 10 of 48 steps of 1h"),
        (lambda rows: rows[:48], "series 'Gangnam'", "Add rows with these columns and the targets left empty"),
        (lambda rows: [{**rows[0], "pm25": "high"}, *rows[1:]], "row 0, column 'pm25'", "'high': is not a number"),
        (lambda rows: [*rows[:7], {**rows[7], "pm25": [1]}, *rows[8:]], "row 7, column 'pm25'", "expected one value"),
        (
            lambda rows: [*rows[:2], {**rows[2], "time": "noon Z"}, *rows[3:]],
            "row 2, column 'time'",
            "no time that can",
        ),
        (lambda rows: [*rows[:2], {**rows[2], "time": None}, *rows[3:]], "row 2, column 'time'", "no time that can"),
        (
            lambda rows: [*rows[:2], {**rows[2], "time": "2026-03-01T02:00"}, *rows[3:]],
            "row 2, column 'time'",
            "has no offset from UTC",
        ),
        (
            lambda rows: [*rows[:2], {**rows[2], "time": "2026-03-01T02:30:00Z"}, *rows[3:]],
            "row 2, column 'time'",
            "is no step of 1h (zone Asia/Seoul)",
        ),
        (lambda rows: [*rows, {**rows[0], "series": None}], "row 72, column 'series'", "names no series"),
        (lambda rows: [{**rows[0], "time": "0001-01-01T00:00:00Z"}, *rows], "rows", "Is a time wrong?"),
        (lambda rows: [{k: v for k, v in row.items() if k != "series"} for row in rows], "rows", "no 'district'"),
        (lambda rows: [{k: v for k, v in row.items() if k != "time"} for row in rows], "rows", "no 'time'"),
        (
            lambda rows: [{"tempreature" if k == "temperature" else k: v for k, v in row.items()} for row in rows],
            "rows",
            "no column 'temperature', which the model takes. Did you mean 'tempreature'?",
        ),
        (lambda rows: [{**row, "pm25": None, "temperature": None} for row in rows], "series 'Gangnam'", "no value of"),
        (lambda rows: [], "rows", "no rows"),
        (lambda rows: "rows", "rows", "expected a list of objects"),
    ],
)
def test_what_does_not_fit_is_named(
    air_client: TestClient, history: Callable[..., Rows], change: Callable[[Rows], Any], where: str, told: str
) -> None:
    answer = air_client.post("/predict", json={"rows": change(history(districts=("Gangnam",)))})
    assert answer.status_code == 422, answer.text
    assert answer.json()["where"] == where
    assert told in answer.json()["error"]


def test_bodies_that_cannot_be_read_are_refused(air_client: TestClient, forecaster: Path, serving: Callable) -> None:
    def ask(content: bytes, kind: str) -> tuple[int, str]:
        answer = air_client.post("/predict", content=content, headers={"content-type": kind})
        return answer.status_code, answer.json()["error"]

    assert ask(b"", "text/csv")[0] == 400
    assert ask(b'series,time\n"A,1', "text/csv")[0] in (400, 422)
    assert ask(b"\xff\xfe\x00", "text/csv")[0] in (400, 422)
    assert ask(b"{", "application/json")[0] == 400
    status, told = ask(b"x", "image/png")
    assert status == 415
    assert "text/csv" in told
    with serving(forecaster, Settings(max_history_rows=50)) as client:
        rows = example_rows(Package.load(forecaster))
        for answer in (
            client.post("/predict", content=csv_text(rows), headers={"content-type": "text/csv"}),
            client.post("/predict", json=rows),
        ):
            assert (answer.status_code, answer.json()["where"]) == (413, "rows")


def test_twenty_five_series_of_a_week_fit_into_one_request(
    air_client: TestClient, history: Callable[..., Rows]
) -> None:
    rows = [{**row, "series": f"district {n}"} for n in range(25) for row in history(168, districts=("Gangnam",))]
    assert len(rows) == 25 * 192
    answer = air_client.post("/predict", json={"rows": rows}).json()
    assert len(answer["predictions"]) == 25
    first, *others = (pl.DataFrame(one["forecast"]) for one in answer["predictions"])
    numbers = first.select(cs.float()).to_numpy()
    for other in others:  # a product of matrices may round the last rows of a batch otherwise
        assert other["time"].equals(first["time"])
        assert other.select(cs.float()).to_numpy() == pytest.approx(numbers, rel=1e-5)


def test_the_example_is_a_golden_window_and_can_be_sent_as_it_is(air_client: TestClient, forecaster: Path) -> None:
    package = Package.load(forecaster)
    rows = example_rows(package)
    request = request_of(package, table_of(package, rows))
    golden = golden_rows(package)
    place = golden["window"].to_list().index(request.windows["window"][0]) if "window" in golden.columns else None
    values, found = package.task.encode(golden), package.task.encode(request.windows)[0]  # type: ignore[attr-defined]
    matching = [n for n in range(len(values)) if np.array_equal(values[n], found, equal_nan=True)]
    assert matching
    assert place is None or place in matching
    operation = air_client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    content = operation["requestBody"]["content"]
    answered = air_client.post("/predict", json=content["application/json"]["examples"]["rows"]["value"]).json()
    text = content["text/csv"]["examples"]["csv"]["value"]
    again = air_client.post("/predict", content=text, headers={"content-type": "text/csv"}).json()
    assert answered == again
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert example["predictions"][0]["forecast"] == answered["predictions"][0]["forecast"][:2]


def test_requests_at_once_are_forecast_together_and_answered_apart(
    air_client: TestClient, forecaster: Path, history: Callable[..., Rows]
) -> None:
    bodies = [history(48 + n, districts=(district,)) for n in range(6) for district in ("Gangnam", "Mapo-gu")]
    expected = [of_package(forecaster, body) for body in bodies]
    answers: list[Any] = [None] * len(bodies)

    def ask(place: int) -> None:
        answers[place] = air_client.post("/predict", json=bodies[place]).json()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer, table in zip(answers, expected, strict=True):
        found = table_of_answer(answer)
        assert found.columns == table.columns
        for name in table.columns[4:]:
            np.testing.assert_allclose(found[name].to_numpy(), table[name].to_numpy(), rtol=1e-5)
        assert found.select("series", "origin", "time").equals(table.select("series", "origin", "time"))


def test_a_forecast_that_is_not_finite_fails_alone(
    serving: Callable, forecaster: Path, history: Callable[..., Rows]
) -> None:
    with serving(forecaster) as client:
        model = client.service.slot.current
        requests = [
            model.read(json.dumps({"rows": history(districts=(name,))}).encode(), b"", Settings())
            for name in ("Gangnam", "Jongno")
        ]
        outputs = model.outputs(requests)
        outputs[0, 5] = np.nan
        refused, answered = model.replies(requests, outputs)
        assert isinstance(refused, ValueError)
        assert json.loads(answered)["predictions"][0]["series"] == "Jongno"


def test_more_series_than_a_batch_holds_are_forecast_part_by_part(
    serving: Callable, forecaster: Path, history: Callable[..., Rows]
) -> None:
    with serving(forecaster, Settings(batch_rows=2)) as client:
        answer = client.post("/predict", json=history()).json()
        assert len(answer["predictions"]) == 3
        metrics = client.get("/metrics").text
        assert "sanmaru_rows_total 3.0" in metrics
        assert 'sanmaru_batch_rows_bucket{le="1.0"} 1.0' in metrics


def test_keys_and_the_full_queue_hold_for_forecasts_too(
    serving: Callable, forecaster: Path, history: Callable[..., Rows]
) -> None:
    with serving(forecaster, keys=Keys(plain=("secret",))) as client:
        assert client.post("/predict", json=history()).status_code == 401
        assert client.post("/predict", json=history(), headers={"x-api-key": "secret"}).status_code == 200
    with serving(forecaster, Settings(queue=0)) as client:
        answer = client.post("/predict", json=history())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_log_gives_forecasts_back_as_a_table(
    forecaster: Path, history: Callable[..., Rows], database_url: str, tmp_path: Path
) -> None:
    keeper = PredictionLog(database_url, tmp_path, every_s=30)
    with TestClient(create_app(FolderSource(forecaster), prediction_log=keeper)) as client:
        assert client.app.slot.wait(20)
        answer = client.post("/predict", json=history()).json()
        client.post("/predict", json=history())  # asked again: stands once
        client.post("/predict", json=history(60))
        assert keeper.write() == 9
        found = logged_forecasts(database_url, tmp_path, model="air")
    assert found.columns[:4] == ["series", "origin", "horizon", "time"]
    assert found.columns[-3:] == ["model", "version", "answered"]
    assert found["version"].unique().to_list() == [str(answer["version"])]
    assert found["answered"].max() < datetime.now(UTC) + timedelta(seconds=1)  # type: ignore[operator]
    earlier = found.filter(pl.col("origin") == datetime(2026, 3, 2, 14, tzinfo=UTC))
    assert earlier.drop("model", "version", "answered").equals(of_package(forecaster, history()))
    later = logged_forecasts(database_url, tmp_path, since=datetime(2026, 3, 3, tzinfo=UTC))
    assert later.height == 3 * 24
    assert logged_forecasts(database_url, tmp_path, model="other").is_empty()


def test_a_version_that_would_break_callers_is_refused(
    serving: Callable, pointed: type, forecaster: Path, forecaster_maker: Callable, tmp_path: Path
) -> None:
    longer = forecaster_maker(tmp_path / "longer", "seasonal-naive", lookback=72)
    shorter = forecaster_maker(tmp_path / "shorter", "seasonal-naive", horizon=12)
    old = Package.load(forecaster)
    assert breaks_forecasts(old, old) is None
    assert breaks_forecasts(longer, old) is None
    assert breaks_forecasts(old, longer) == "it needs 72 steps of history, not 48"
    source = pointed(forecaster)
    with serving(source, Settings(poll_s=60)) as client:
        source.point(shorter.folder, 2)
        client.app.poller.step()
        assert "it forecasts 12 steps, not 24" in client.get("/ready").json()["refused"]["reason"]


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["2026-03-01T00:00:00Z", "2026-03-01T09:00:00+09:00", "2026-03-01 09:00", "-", "", "1e999", "24:00"]
    ),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=2),
)


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["series", "time", "pm25", "temperature", "wind", "holiday", "lat"]), CELLS)
    ),
    st.data(),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_cells_are_the_reader_answers_or_refuses(
    air_client: TestClient, history: Callable[..., Rows], rows: Rows, data: st.DataObject
) -> None:
    model = air_client.app.slot.current  # type: ignore[attr-defined]
    good = history(districts=("Jongno",))
    for row in rows:
        place = data.draw(st.integers(0, len(good) - 1))
        good[place] = {**good[place], **row}
    try:
        request = model.read(json.dumps({"rows": good}).encode(), b"", Settings())
    except (RequestError, DataError):
        return
    assert request.counts["rows"] == len(good)
    assert np.isfinite(model.outputs([request])).all()


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_csv_is_it_is_read_or_refused(air_client: TestClient, body: bytes) -> None:
    model = air_client.app.slot.current  # type: ignore[attr-defined]
    for text in (body, b"series,time,pm25,temperature,wind,holiday,lat\n" + body):
        with pytest.raises((RequestError, DataError)):
            model.read(text, b"text/csv", Settings())


def test_the_pages_say_what_the_forecaster_takes(air_client: TestClient) -> None:
    card = air_client.get("/").text
    for text in ("48 steps of 1h", "holiday for the 24 steps ahead", "10 %, 50 %, 90 % quantiles", "text/csv"):
        assert text in card
    page = air_client.get("/try")
    assert "script-src 'sha256-" in page.headers["content-security-policy"]
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.text)[1])  # type: ignore[index]
    assert data["example"].startswith("series,time,pm25,temperature,wind,holiday,lat\n")
