"""What comes late delays what needs it; what is revised is done again, with what depends on it and nothing else."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.steps.small import START, Service

HOUR = "2026-01-29 0{}:00"


def rewrite(service: Service, *columns: pl.Expr, without: pl.Expr | None = None) -> pl.DataFrame:
    """Change the recording; return what it was."""
    path = service.folder / "air.csv"
    before = pl.read_csv(path)
    changed = before.with_columns(*columns)
    (changed if without is None else changed.filter(~without)).write_csv(path)
    return before


def let_waits_end(service: Service) -> None:
    import sqlite3

    with sqlite3.connect(service.folder / "pipeline.db") as connection:
        connection.execute("UPDATE sanmaru_ledger SET next_try = 0")
    connection.close()


def test_what_was_done_is_not_done_again(service: Service) -> None:
    before = service.done()
    summary = service.run(hours=3)
    assert (summary.done, summary.nothing, summary.failed) == (0, 0, 0)
    assert service.done() == before


@pytest.mark.parametrize("resume_s", [0, 3600])
def test_a_late_station_delays_what_needs_its_hour_and_skips_nothing(service: Service, resume_s: int) -> None:
    project = service.folder / "sanmaru.yaml"
    project.write_text(project.read_text().replace("need: 1", f"need: 1\n    resume_s: {resume_s}"))
    missing = (pl.col("time") == HOUR.format(3)) & (pl.col("station") == "west")
    whole = rewrite(service, without=missing)
    service.run(hours=5)
    assert service.states(3) == dict.fromkeys(service.states(3), "waiting")
    # The next hour is collected and judged; its forecast needs the hour that is late, and what needs that waits too.
    assert {step for step, state in service.states(4).items() if state == "waiting"} == {
        "forecast", "publish", "monitor"
    }  # fmt: skip
    ((reason,),) = service.rows("SELECT reason FROM sanmaru_ledger WHERE step = 'collect' AND state = 'waiting'")
    assert "nothing of west" in reason
    whole.write_csv(service.folder / "air.csv")
    let_waits_end(service)
    service.run(hours=5)
    for hour in (3, 4):
        assert set(service.states(hour).values()) == {"done", "nothing"}
    assert pl.read_parquet(service.folder / service.outputs("collect", 3)["rows"]).height == 2


def test_a_revision_is_followed_by_what_depends_on_it_only(service: Service) -> None:
    one = (pl.col("time") == HOUR.format(1)) & (pl.col("station") == "east")
    rewrite(service, pl.when(one).then(pl.col("pm25") + 5).otherwise(pl.col("pm25")).alias("pm25"))
    before = service.done()
    service.again("collect", 1)
    service.run(hours=3)
    again = service.done()[len(before) :]
    assert len(again) == len(set(again))
    # The decision came out as before, so no training follows it; hour 2's forecast looks back at hour 1.
    assert set(again) == {
        ("collect", 1), ("check", 1), ("anomalies", 1), ("decide", 1), ("forecast", 1), ("publish", 1), ("monitor", 1),
        ("forecast", 2), ("publish", 2), ("monitor", 2),
    }  # fmt: skip


def test_a_repeated_collection_that_brings_nothing_new_ends_there(service: Service) -> None:
    before = service.done()
    service.again("collect", 1)
    service.run(hours=3)
    assert service.done()[len(before) :] == [("collect", 1)]


def test_no_step_sees_what_came_after_its_interval(service: Service, tmp_path: Path) -> None:
    seeing = service.copy(tmp_path / "seeing")
    seeing.collect_history(START.replace(day=31))  # two days that the pipeline has not come to
    for one in (service, seeing):
        one.run(hours=4)
    for step in ("check", "anomalies", "decide", "forecast", "publish"):
        assert service.outputs(step, 3) == seeing.outputs(step, 3)
    for pattern in ("anomalies/**/*.parquet", "forecast/**/*.parquet", "published/air/index.html",
                    "published/air/forecast.json"):  # fmt: skip
        files = list((service.folder / "service").glob(pattern))
        assert files
        for path in files:
            assert path.read_bytes() == (seeing.folder / path.relative_to(service.folder)).read_bytes(), path.name
    # The contest of the first hour, held again when later hours are there:
    name = service.outputs("judge", 0)["contest"]
    held = (service.folder / name).read_bytes()
    seeing.again("judge", 0)
    seeing.run(hours=4)
    assert (seeing.folder / name).read_bytes() == held
