import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.database import open_engine
from sanmaru.errors import DataError
from sanmaru.monitoring.config import EstimateConfig, MonitorConfig, ServiceLimits
from sanmaru.monitoring.page import page, write_page
from sanmaru.monitoring.state import MonitorState
from sanmaru.monitoring.watch import watch

START = datetime(2026, 1, 1)
CONFIG = MonitorConfig(data=("x", "sky"), residuals=("off",), season="hour")


def table(days: int, seed: int = 0, start: datetime = START) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = days * 24
    return pl.DataFrame(
        {
            "time": [start + timedelta(hours=h) for h in range(n)],
            "x": rng.normal(10, 2, n),
            "sky": rng.choice(["clear", "rain"], n),
            "off": rng.normal(0, 1, n),
            "wrong": (rng.random(n) < 0.1).astype(np.int8),
        }
    )


@pytest.fixture(scope="module")
def parts() -> tuple[pl.DataFrame, pl.DataFrame]:
    whole = table(180)
    return whole[: 120 * 24], whole[120 * 24 :]


def shifted(current: pl.DataFrame, column: str, by: float, day: int) -> pl.DataFrame:
    late = pl.col("time") >= current["time"][0] + timedelta(days=day)
    return current.with_columns(pl.when(late).then(pl.col(column) + by).otherwise(pl.col(column)).alias(column))


def state_of(tmp_path: Path) -> MonitorState:
    return MonitorState(open_engine("sqlite:///monitor.db", tmp_path))


def test_undisturbed_data_raises_nothing(parts):
    report = watch(*parts, CONFIG)
    assert not report.drift
    assert report.alarms == ()
    assert {one.standing for one in report.columns} == {"quiet"}
    assert [one.name for one in report.columns[2].statistics] == ["ks", "wasserstein", "page-hinkley"]
    assert 0.4 < report.columns[0].smallest_shift < 4


@pytest.mark.parametrize(("column", "by"), [("x", 3.0), ("off", 1.0)])
def test_a_shift_is_found_told_once_and_told_when_it_ends(parts, tmp_path: Path, column: str, by: float):
    reference, current = parts
    broken = shifted(current, column, by, 20)
    broken = shifted(broken, column, -by, 40)
    state = state_of(tmp_path)
    told = []
    for day in range(8, 60, 4):  # looks as time goes on, each with everything since, as after restarts
        report = watch(reference, broken[: day * 24], CONFIG, state)
        told += [(one.cause, one.event, one.at) for one in report.alerts]
    assert [(cause, event) for cause, event, _ in told] == [(column, "raised"), (column, "cleared")]
    first = datetime.fromtimestamp(told[0][2] / 1e6, UTC).replace(tzinfo=None) - current["time"][0]
    assert 20 < first.days <= 28
    # One look at all of it tells the same.
    again = watch(reference, broken, CONFIG)
    assert [(one.cause, one.event, one.at) for one in again.alerts] == told
    state.engine.dispose()


def test_what_is_kept_of_a_calibration_is_all_of_it(parts, tmp_path: Path):
    state = state_of(tmp_path)
    first = watch(*parts, CONFIG, state, now=datetime(2026, 7, 1, tzinfo=UTC))
    second = watch(*parts, CONFIG, state, now=datetime(2026, 7, 1, tzinfo=UTC))
    assert second.to_dict() == first.to_dict()
    json.dumps(first.to_dict(), allow_nan=False)
    state.engine.dispose()


@pytest.mark.slow
def test_errors_that_become_frequent_are_found(parts):
    reference, current = parts
    rng = np.random.default_rng(1)
    often = current.with_columns(
        wrong=pl.when(pl.col("time") > current["time"][0] + timedelta(days=15))
        .then(pl.Series((rng.random(len(current)) < 0.35).astype(np.int8)))
        .otherwise(pl.col("wrong"))
    )
    config = MonitorConfig(errors=("wrong",), sequential=("ddm",), season="hour")
    report = watch(reference, often, config)
    assert report.alarms == ("wrong",)
    assert [one.name for one in report.columns[0].statistics] == ["ks", "wasserstein", "ddm"]


def test_each_series_is_watched_by_itself():
    both = pl.concat([table(180, 1).with_columns(station=pl.lit("a")), table(180, 2).with_columns(station=pl.lit("b"))])
    config = MonitorConfig(data=("x",), series="station", season="hour")
    reference = both.filter(pl.col("time") < START + timedelta(days=120))
    current = both.filter(pl.col("time") >= START + timedelta(days=120))
    bad = (pl.col("station") == "b") & (pl.col("time") > START + timedelta(days=150))
    broken = current.with_columns(x=pl.when(bad).then(pl.col("x") + 3).otherwise(pl.col("x")))
    assert [one.key for one in watch(reference, current, config).columns] == ["x@a", "x@b"]
    assert watch(reference, broken, config).alarms == ("x@b",)


def test_few_values_are_not_judged(parts):
    reference, current = parts
    thin = current.with_columns(x=pl.when(pl.col("time").dt.hour() < 18).then(None).otherwise(pl.col("x") + 50))
    report = watch(reference, thin, CONFIG)
    assert report.columns[0].standing == "too little data"
    assert report.columns[0].missing_fraction == pytest.approx(0.75)
    assert "x" not in report.alarms


def test_service_figures_and_limits(parts):
    reference, current = parts
    now = datetime(2026, 7, 1, tzinfo=UTC)
    config = CONFIG.model_copy(update={"limits": ServiceLimits(latency_ms=50, freshness_h=20), "raise_after": 1})
    requests = pl.DataFrame(
        {"time": [now - timedelta(hours=h) for h in range(100)], "latency_ms": [10.0] * 94 + [200.0] * 6,
         "status": [200] * 95 + [503] * 5, "version": ["2"] * 48 + ["1"] * 52}
    )  # fmt: skip
    found = {one.name: one for one in watch(reference, current, config, requests=requests, now=now).service}
    assert found["latency_ms"].value == pytest.approx(np.percentile([10.0] * 94 + [200.0] * 6, 95))
    assert found["latency_ms"].alarm
    assert found["error_fraction"].value == pytest.approx(0.05)
    assert found["error_fraction"].limit is None
    assert found["freshness_h"].value == pytest.approx(25)
    assert found["freshness_h"].alarm
    assert found["model_age_d"].value == pytest.approx(47 / 24)


@pytest.mark.parametrize("model", ["lightgbm", "ridge"])
def test_the_error_is_estimated_before_the_truth_and_set_against_it(tmp_path: Path, model):
    rng = np.random.default_rng(3)
    n = 200 * 24
    hard = np.clip(rng.random(n) + (np.arange(n) > 150 * 24) * 0.5, 0, 1.5)  # later inputs are harder
    whole = pl.DataFrame(
        {"time": [START + timedelta(hours=h) for h in range(n)], "hard": hard, "off": rng.normal(0, 0.2 + 2 * hard)}
    )
    reference, current = whole[: 120 * 24], whole[120 * 24 :]
    config = MonitorConfig(data=("hard",), estimate=EstimateConfig(residual="off", inputs=("hard",), model=model))
    waiting = current.with_columns(off=pl.when(pl.col("time") > current["time"][0]).then(None).otherwise(pl.col("off")))
    state = state_of(tmp_path)
    blind = watch(reference, waiting, config, state).estimates
    assert blind is not None
    known = watch(reference, current, config, state).estimates
    assert known is not None
    assert [row["estimated"] for row in known.rows] == [row["estimated"] for row in blind.rows]  # as it was said
    truth = np.array([row["realised"] for row in known.rows])
    said = np.array([row["estimated"] for row in known.rows])
    assert truth[-1] > 1.3 * truth[0]
    if model == "lightgbm":  # trees do not go beyond what they saw, and a straight line does
        assert said[-1] > 1.15 * said[0]
    else:
        assert said == pytest.approx(truth, rel=0.25)
    state.engine.dispose()


def test_the_error_rate_of_classes_is_estimated_from_the_confidence():
    rng = np.random.default_rng(4)
    n = 200 * 24
    sure = np.where(np.arange(n) < 150 * 24, rng.uniform(0.7, 1, n), rng.uniform(0.4, 0.8, n))
    wrong = (rng.random(n) > sure**2).astype(np.int8)  # overconfident
    whole = pl.DataFrame({"time": [START + timedelta(hours=h) for h in range(n)], "sure": sure, "wrong": wrong})
    reference = pl.concat([whole[: 110 * 24], whole[160 * 24 :]]).with_columns(time=whole["time"][: 150 * 24])
    current = whole[150 * 24 :]
    config = MonitorConfig(data=("sure",), estimate=EstimateConfig(error="wrong", confidence="sure"))
    found = watch(reference, current, config).estimates
    assert found is not None
    for row in found.rows:
        assert row["estimated"] == pytest.approx(row["realised"], abs=0.1)


def test_nothing_new_and_wrong_columns_are_said(parts):
    reference, current = parts
    with pytest.raises(DataError, match="no row of the current table is newer"):
        watch(reference, reference, CONFIG)
    with pytest.raises(DataError, match="no column 'y'"):
        watch(reference, current, MonitorConfig(data=("y",)))
    with pytest.raises(DataError, match="should hold times, got Float64"):
        watch(reference, current, MonitorConfig(time="x"))
    with pytest.raises(DataError, match="lacks the watched column 'x'"):
        watch(reference, current.drop("x"), CONFIG)
    with pytest.raises(DataError, match="watched as residual and should hold numbers"):
        watch(reference, current, MonitorConfig(residuals=("sky",)))


def test_the_page_shows_the_alarm(parts, tmp_path: Path):
    reference, current = parts
    report = watch(reference, shifted(current, "off", 2.0, 30), CONFIG)
    made = page(report, "air")
    assert [finding.title for finding in made.sections[0].findings] == ["off has drifted"]
    write_page(report, tmp_path / "m.html", "air")
    text = (tmp_path / "m.html").read_text()
    assert "<h1>air: monitor</h1>" in text
    assert "Calibrated to 1 false alarm a year" in text


def test_the_page_says_who_raised_an_alarm_when_all_is_within_thresholds_again(parts):
    reference, current = parts
    report = watch(reference, shifted(current, "off", 2.0, 30), CONFIG)
    drifted = next(column for column in report.columns if column.standing == "alarm")
    assert drifted.worst.value > drifted.worst.threshold
    assert "its threshold" in page(report, "air").sections[0].findings[0].evidence
    quiet = tuple(replace(one, threshold=one.value + 1.0) for one in drifted.statistics)
    later = replace(report, columns=(replace(drifted, statistics=quiet),))
    evidence = page(later, "air").sections[0].findings[0].evidence
    assert "page-hinkley, which began anew then; everything is within its threshold now" in evidence


def test_a_column_that_began_later_than_its_table_is_judged_by_what_it_has() -> None:
    rng = np.random.default_rng(3)
    times = pl.datetime_range(datetime(2024, 1, 1), datetime(2026, 3, 1), "1h", eager=True)
    late = np.where(np.arange(len(times)) < len(times) - 24 * 120, np.nan, rng.normal(0, 1, len(times)))
    table = pl.DataFrame({"time": times, "x": rng.normal(0, 1, len(times)), "late": late})
    cut = len(times) - 24 * 30
    config = MonitorConfig(data=("x",), residuals=("late",), sequential=("page-hinkley",))
    report = watch(table[:cut], table[cut:], config)
    assert {one.key for one in report.columns} == {"x", "late"}
    assert not report.drift
