"""The built-in steps one after another, interval by interval, as a service takes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.steps.small import START, Service

from sanmaru.cli.main import app
from sanmaru.registry.models import log, rollback, versions

HOURLY = ("collect", "check", "anomalies", "decide", "forecast", "publish", "monitor")


def test_the_first_training_brings_a_baseline_and_a_challenger(begun: Service) -> None:
    project = begun.project
    assert [one.version for one in versions(project, "air")] == [1, 2]
    moves = [(one.kind, one.version, one.alias) for one in log(project, "air") if one.kind == "promote"]
    assert moves[0] == ("promote", 1, "production")  # seasonal-naive, until somebody is better
    assert begun.outputs("decide", 0)["trigger"] == "first"
    assert begun.outputs("train", 0)["version"] == 2
    judged = json.loads((begun.folder / begun.outputs("judge", 0)["contest"]).read_text())
    assert {duel["opponent"] for duel in judged["duels"]} == {"champion (version 1)", "persistence", "seasonal-naive"}
    assert judged["won"]
    assert judged["units"] >= 7
    assert begun.outputs("promote", 0)["promoted"]
    assert ("promote", 2, "production") in moves


def test_every_later_hour_is_done_without_a_training(begun: Service) -> None:
    for hour in (1, 2):
        states = begun.states(hour)
        assert all(states[step] == "done" for step in HOURLY)
        assert {states[step] for step in ("train", "judge", "promote")} == {"nothing"}


def test_forecasts_carry_the_version_in_production(begun: Service) -> None:
    made = pl.read_parquet(begun.folder / begun.outputs("forecast", 2)["forecast"])
    assert made["version"].unique().to_list() == ["2"]
    assert made["origin"].unique().to_list() == [START + timedelta(hours=2)]
    assert made.height == 2 * 6
    assert made.filter((pl.col("time") - pl.col("origin")) != pl.duration(hours=pl.col("horizon"))).is_empty()


def test_what_is_published_is_the_newest_forecast(begun: Service) -> None:
    published = begun.folder / "service" / "published" / "air"
    page, figures = (published / "index.html").read_text(), json.loads((published / "forecast.json").read_text())
    assert "미세먼지" in page
    assert figures["model"]["version"] == "2"
    latest = json.loads((published / "latest.json").read_text())
    assert begun.outputs("publish", 2)["published"] == latest["version"] == 3
    rows = begun.rows("SELECT count(*), count(DISTINCT origin) FROM sanmaru_forecasts", "forecasts.db")
    assert rows == [(3 * 12, 3)]


def test_forecasts_are_joined_with_what_came(begun: Service) -> None:
    from sanmaru.steps.monitor import joined_log

    log_ = joined_log(begun.project)
    table = log_.read("pm25").filter(pl.col("pm25.truth").is_not_null())
    log_.engine.dispose()
    # Hours 1 and 2 came; hour 1 was forecast at hour 0, hour 2 at hours 0 and 1: three times two series.
    assert table.height == 6
    came = pl.read_csv(begun.folder / "air.csv").with_columns(
        pl.col("time").str.to_datetime("%Y-%m-%d %H:%M", time_zone="UTC", time_unit="us")
    )
    both = table.join(came, left_on=["series", "time"], right_on=["station", "time"])
    assert both.height == 6
    assert (both["pm25.truth"] == both["pm25_right"]).all()


def test_a_request_brings_a_second_training_and_its_contest(service: Service) -> None:
    app(
        ["pipeline", "request", "retrain", "--reason", "a look", "--project", str(service.folder)],
        standalone_mode=False,
    )
    service.run(hours=4)
    assert service.outputs("decide", 3)["trigger"] == "request"
    assert service.outputs("train", 3)["version"] == 3
    promoted = service.outputs("promote", 3)
    # Three more hours teach it nothing: it waits in staging, and the reason says against whom it was not shown better.
    assert not promoted["promoted"]
    assert "not shown better than champion (version 2)" in promoted["reason"]
    assert [one.version for one in versions(service.project, "air") if "staging" in one.aliases] == [3]
    assert service.outputs("forecast", 3)["version"] == 2
    service.run(hours=5)
    assert service.outputs("decide", 4)["retrain"] is False  # a request is taken up once


def test_a_rollback_is_honoured_by_the_next_forecast_and_lasts(service: Service) -> None:
    rollback(service.project, "air", why="it looks wrong")
    service.run(hours=4)
    assert service.outputs("forecast", 3)["version"] == 1
    # The hour that promoted version 2 is done once more: the rollback stands.
    service.again("promote", 0)
    service.run(hours=5)
    assert service.outputs("promote", 0)["promoted"]
    assert service.outputs("forecast", 4)["version"] == 1


def test_a_service_with_too_little_history_waits_for_more(make_service: Callable[..., Service], tmp_path: Path) -> None:
    service = make_service(tmp_path / "service", start="2026-01-05")
    begin = START.replace(day=5)
    service.collect_history(begin)
    service.run(0, until=begin + timedelta(hours=2))
    told = service.rows("SELECT start, state, reason FROM sanmaru_ledger WHERE step = 'train' ORDER BY start")
    assert [state for _, state, _ in told] == ["nothing", "nothing"]  # asked again, not stuck at the first
    assert all("the data does not suffice" in reason for *_, reason in told)
    waiting = service.rows("SELECT DISTINCT reason FROM sanmaru_ledger WHERE step = 'forecast'")
    assert waiting == [("no version of air is in production yet",)]


@pytest.mark.parametrize("step", ["decide", "judge", "forecast"])
def test_done_once_more_after_a_promotion_it_gives_the_same(service: Service, step: str) -> None:
    files = {path: path.read_bytes() for path in (service.folder / "service" / step).rglob("*") if path.is_file()}
    before = [service.outputs(step, 0), service.outputs("train", 0), service.outputs("promote", 0)]
    service.again(step, 0)
    service.run(hours=3)
    assert [service.outputs(step, 0), service.outputs("train", 0), service.outputs("promote", 0)] == before
    assert files or step == "decide"
    assert {path: path.read_bytes() for path in files} == files
