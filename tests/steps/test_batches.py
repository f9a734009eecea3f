"""`check` and `anomalies`, called with a context as the runner does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.steps.small import START, Service

from sanmaru.errors import DataError
from sanmaru.pipelines.context import NothingNew, StepContext
from sanmaru.steps import anomalies, check


def context_of(folder: Path, step: str, start: datetime, rows: pl.DataFrame | None, **settings: Any) -> StepContext:
    """The context of an hour whose only input is a table of rows."""
    given: dict[str, Any] = {}
    one = StepContext(
        folder=folder, pipeline="air", step=step, start=start, end=start + timedelta(hours=1), inputs={},
        settings=settings,
    )  # fmt: skip
    if rows is not None:
        rows.write_parquet(folder / "given.parquet")
        given = {"before": {one.interval: {"rows": "given.parquet"}}}
    return StepContext(**{**vars(one), "inputs": given})


def batch(*pm25: float | None, o3: float = 0.03, start: datetime = START) -> pl.DataFrame:
    return pl.DataFrame(
        {"series": ["east", "west"], "time": [start] * 2, "pm25": list(pm25), "o3": [o3] * 2},
        schema_overrides={"time": pl.Datetime("us", "UTC"), "pm25": pl.Float64},
    )


def test_values_that_cannot_be_are_set_aside_with_the_reason(service: Service) -> None:
    outputs = check.run(context_of(service.folder, "check", START, batch(-3.0, 41.0)))
    kept = pl.read_parquet(outputs["rows"])
    assert kept["pm25"].to_list() == [None, 41.0]
    assert kept["o3"].to_list() == [0.03, 0.03]  # the rest of the row goes on
    assert (outputs["count"], outputs["set_aside"]) == (2, 1)
    aside = pl.read_csv(outputs["quarantine"])
    assert aside.select("series", "column", "value", "rule").row(0) == ("east", "pm25", -3.0, "low")
    assert "0" in aside["reason"][0]


def test_a_repeated_check_forgets_values_that_were_put_right(service: Service) -> None:
    wrong = check.run(context_of(service.folder, "check", START, batch(-3.0, 41.0)))
    right = check.run(context_of(service.folder, "check", START, batch(3.0, 41.0)))
    assert "quarantine" not in right
    assert not wrong["quarantine"].exists()


def test_a_broken_source_is_refused(service: Service) -> None:
    with pytest.raises(DataError, match=r"2 of 2 values .* break it: pm25 high \(2\)"):
        check.run(context_of(service.folder, "check", START, batch(900.0, 901.0)))
    assert check.run(context_of(service.folder, "check", START, batch(900.0, 901.0), most=1.0))["set_aside"] == 2


def test_a_missing_column_is_refused_where_it_is_required(service: Service) -> None:
    text = (service.folder / "sanmaru.yaml").read_text()
    (service.folder / "sanmaru.yaml").write_text(text.replace("{low: 0, high: 500}", "{low: 0, required: true}"))
    with pytest.raises(DataError, match=r"pm25 required \(2\)"):
        check.run(context_of(service.folder, "check", START, batch(1.0, 2.0).drop("pm25")))


@pytest.mark.parametrize("step", [check, anomalies])
def test_no_rows_are_nothing_new(service: Service, step: Any) -> None:
    with pytest.raises(NothingNew, match="no rows came"):
        step.run(context_of(service.folder, "check", START, None))
    with pytest.raises(NothingNew, match="no rows came"):
        step.run(context_of(service.folder, "check", START, batch(1.0, 2.0).clear()))


def test_strange_rows_are_flagged_and_kept(service: Service) -> None:
    usual = pl.read_parquet(service.folder / service.outputs("check", 0)["rows"])
    strange = usual.with_columns(pm25=pl.Series([400.0, usual["pm25"][1]]))
    outputs = anomalies.run(context_of(service.folder, "anomalies", START, strange, refit_days=1))
    judged = pl.read_parquet(outputs["rows"])
    assert judged["pm25"].to_list() == strange["pm25"].to_list()
    assert judged["anomaly"].to_list() == [True, False]
    assert judged["anomaly.reason"][0] == "pm25"
    assert (outputs["count"], outputs["anomalies"]) == (2, 1)


def test_the_detector_is_learned_anew_at_fixed_times(service: Service) -> None:
    detectors = service.folder / "service" / "detectors"
    assert [path.name for path in detectors.iterdir()] == ["2026-01-29"]
    was = {path.name: path.read_bytes() for path in (detectors / "2026-01-29").iterdir() if path.is_file()}
    late = START + timedelta(hours=23)
    anomalies.run(context_of(service.folder, "anomalies", late, batch(40.0, 45.0, start=late), refit_days=1))
    assert {path.name: path.read_bytes() for path in (detectors / "2026-01-29").iterdir() if path.is_file()} == was
    next_day = START + timedelta(hours=24)
    anomalies.run(context_of(service.folder, "anomalies", next_day, batch(40.0, 45.0, start=next_day), refit_days=1))
    assert sorted(path.name for path in detectors.iterdir()) == ["2026-01-29", "2026-01-30"]


def test_without_history_rows_go_on_without_a_verdict(service: Service) -> None:
    early = datetime(2026, 1, 1, tzinfo=UTC)
    outputs = anomalies.run(context_of(service.folder, "anomalies", early, batch(40.0, 45.0, start=early)))
    assert "no rows before" in outputs["unjudged"]
    assert pl.read_parquet(outputs["rows"])["anomaly"].to_list() == [None, None]
