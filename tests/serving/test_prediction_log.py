"""What was answered is found in the log, whatever road it took, and a database that is away loses nothing."""

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from sanmaru.errors import ProjectFileError, UserError
from sanmaru.serving import prediction_log
from sanmaru.serving.app import create_app
from sanmaru.serving.prediction_log import PREDICTIONS, PredictionLog, logged_forecasts
from sanmaru.serving.run import ServeOptions, serve
from sanmaru.serving.source import FolderSource

ROW = {"age": 60, "hours": 50.5, "city": "Seoul", "member": True, "joined": "2015-05-01"}


def rows_of(url: str) -> list[Any]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = list(connection.execute(sa.select(PREDICTIONS).order_by(PREDICTIONS.c.at, PREDICTIONS.c.place)))
    engine.dispose()
    return rows


def test_answers_are_logged_with_version_row_and_latency(income: Path, database_url: str, tmp_path: Path) -> None:
    keeper = PredictionLog(database_url, tmp_path, every_s=0.05)
    with TestClient(create_app(FolderSource(income), prediction_log=keeper)) as client:
        assert client.app.slot.wait(20)
        answer = client.post("/predict", json={"rows": [ROW, {**ROW, "age": 20, "note": "not an input"}]}).json()
        client.post("/predict", json={"rows": [{"age": "old"}]})  # refused: not logged
        deadline = time.monotonic() + 10
        while keeper.written < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "sanmaru_logged_total 2.0" in client.get("/metrics").text
    rows = rows_of(database_url)
    assert [(row.place, row.model, row.version) for row in rows] == [
        (place, answer["model"], str(answer["version"])) for place in (0, 1)
    ]
    assert [json.loads(row.answer) for row in rows] == answer["predictions"]
    assert [json.loads(row.input) for row in rows] == [ROW, {**ROW, "age": 20}]
    assert len({row.request for row in rows}) == 1
    assert all(0 < row.latency_ms < 10_000 and abs(row.at - time.time()) < 60 for row in rows)
    assert logged_forecasts(database_url, tmp_path).is_empty()


def test_the_short_road_is_logged_too_and_the_end_writes_what_waits(
    server: Callable, price: Path, tmp_path: Path
) -> None:
    service = server(str(price), "--log", f"sqlite:///{tmp_path}/log.db")
    service.wait_ready()
    with httpx.Client() as client:
        answers = [client.post(service.url + "/predict", json={**ROW, "age": age}).json() for age in range(20, 60)]
    assert service.stop() == 0
    rows = rows_of(f"sqlite:///{tmp_path}/log.db")
    assert [json.loads(row.answer) for row in rows] == [answer["predictions"][0] for answer in answers]
    assert [json.loads(row.input)["age"] for row in rows] == list(range(20, 60))


def test_a_database_that_is_away_is_waited_for(income: Path, tmp_path: Path) -> None:
    keeper = PredictionLog("sqlite:///log.db", tmp_path, every_s=30)
    with TestClient(create_app(FolderSource(income), prediction_log=keeper)) as client:
        assert client.app.slot.wait(20)
        with sqlite3.connect(tmp_path / "log.db") as other:
            other.execute("ALTER TABLE sanmaru_predictions RENAME TO away")
        other.close()
        client.post("/predict", json=ROW)
        with pytest.raises(sa.exc.OperationalError, match="no such table"):
            keeper.write()
        with sqlite3.connect(tmp_path / "log.db") as other:
            other.execute("ALTER TABLE away RENAME TO sanmaru_predictions")
        other.close()
        assert keeper.write() == 1
    assert keeper.written == 1


def test_beyond_the_bound_requests_are_dropped_and_counted(
    income: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "MOST_BYTES", 400)
    keeper = PredictionLog("sqlite:///log.db", tmp_path, every_s=30)
    with TestClient(create_app(FolderSource(income), prediction_log=keeper)) as client:
        assert client.app.slot.wait(20)
        for _ in range(5):
            assert client.post("/predict", json=ROW).status_code == 200
        kept = keeper.write()
        assert 0 < kept < 5
        assert f"sanmaru_log_dropped_total {5 - kept}.0" in client.get("/metrics").text
        client.post("/predict", json=ROW)
        assert keeper.write() == 1


def test_pictures_are_not_kept(pictures: Path, picture: Callable, tmp_path: Path) -> None:
    keeper = PredictionLog("sqlite:///log.db", tmp_path, every_s=30)
    with TestClient(create_app(FolderSource(pictures), prediction_log=keeper)) as client:
        assert client.app.slot.wait(20)
        client.post("/predict", files={"file": picture()})
        keeper.write()
    (row,) = rows_of(f"sqlite:///{tmp_path}/log.db")
    assert row.input is None
    assert json.loads(row.answer)["light"] == "bright"


def old_rows(url: str, model: str, days: list[float]) -> None:
    engine = sa.create_engine(url)
    filled = {"latency_ms": 1.0, "version": "1", "answer": "{}"}
    rows = [
        {**filled, "request": f"{model}-{number}", "place": place, "at": time.time() - 86_400 * age, "model": model}
        for number, age in enumerate(days)
        for place in range(2)
    ]
    with engine.begin() as connection:
        connection.execute(PREDICTIONS.insert(), rows)
    engine.dispose()


def test_old_rows_of_the_served_model_are_deleted_in_pieces_and_others_stay(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "DELETED_AT_ONCE", 3)
    PredictionLog(database_url, tmp_path).stop()
    old_rows(database_url, "income", [0.5, 29.9, 30.1, 31, 32, 33, 400])
    old_rows(database_url, "price", [400])
    kept_for_ever = PredictionLog(database_url, tmp_path, model="income")
    assert kept_for_ever.delete_old() == 0
    kept_for_ever.stop()
    keeper = PredictionLog(database_url, tmp_path, keep_days=30, model="income")
    assert keeper.delete_old() == 10
    assert keeper.delete_old() == 0
    assert keeper.deleted == 10
    keeper.stop()
    assert {(row.request, row.place) for row in rows_of(database_url)} == {
        (request, place) for request in ("income-0", "income-1", "price-0") for place in range(2)
    }


def test_a_server_deletes_old_rows_when_it_starts_and_counts_them(
    server: Callable, price: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    PredictionLog(url, tmp_path).stop()
    old_rows(url, FolderSource(price).name, [1, 8])
    service = server(str(price), "--log", url, "--log-days", "7")
    service.wait_ready()
    deadline = time.monotonic() + 20
    while "sanmaru_log_deleted_total 2.0" not in httpx.get(service.url + "/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(rows_of(url)) == 2


def test_days_without_a_log_are_refused(price: Path) -> None:
    with pytest.raises(UserError, match="--log-days says how long the prediction log keeps its rows: give --log"):
        serve(ServeOptions(name=str(price), log_days=30))


def test_a_log_that_cannot_be_opened_is_told_before_serving(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match="--log 'nonsense' is no database URL"):
        PredictionLog("nonsense", tmp_path)
    with pytest.raises(UserError, match="does not answer"):
        PredictionLog(f"sqlite:///{tmp_path}/absent/log.db", tmp_path)
