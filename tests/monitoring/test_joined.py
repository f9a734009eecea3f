from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.database import open_engine
from sanmaru.errors import DataError
from sanmaru.monitoring.joined import Joined, JoinedLog

START = datetime(2026, 1, 1, tzinfo=UTC)


def forecasts(origins: range, horizons: int = 3, series: str = "종로구") -> pl.DataFrame:
    rows = [
        {
            "series": series,
            "origin": START + timedelta(hours=o),
            "horizon": h,
            "time": START + timedelta(hours=o + h),
            "pm25": 20.0 + o,
            "pm25.q10": 10.0 + o,
            "pm25.q50": 20.0 + o,
            "pm25.q90": 30.0 + o,
            "model": "air",
            "version": "3",
        }
        for o in origins
        for h in range(1, horizons + 1)
    ]
    return pl.DataFrame(rows, schema_overrides={"horizon": pl.Int32})


def truths(values: dict[int, float | None], series: str = "종로구") -> pl.DataFrame:
    return pl.DataFrame(
        {"series": [series] * len(values), "time": [START + timedelta(hours=h) for h in values],
         "pm25": list(values.values())},
        schema_overrides={"pm25": pl.Float64},
    )  # fmt: skip


def test_predictions_wait_join_and_follow_revisions(database_url, tmp_path: Path):
    log = JoinedLog(open_engine(database_url, tmp_path))
    assert log.add_predictions(forecasts(range(3)), ["pm25"]) == Joined(new=9)
    assert log.counts("pm25") == {"waiting": 9, "joined": 0, "revised": 0}
    # Hour 3 is forecast from three origins; hour 4 has not come.
    assert log.add_truth(truths({3: 25.0, 4: None}), ["pm25"]) == Joined(new=1, joined=3)
    assert log.counts("pm25") == {"waiting": 6, "joined": 3, "revised": 0}
    assert log.add_truth(truths({3: 25.0}), ["pm25"]) == Joined(same=1)
    assert log.add_truth(truths({3: 29.0}), ["pm25"]) == Joined(revised=1, joined=3)
    assert log.counts("pm25") == {"waiting": 6, "joined": 3, "revised": 3}
    joined = log.read("pm25").filter(pl.col("pm25.truth").is_not_null())
    assert joined["pm25.residual"].to_list() == [9.0, 8.0, 7.0]
    assert joined["horizon"].to_list() == [3, 2, 1]
    assert joined["time"].dtype == pl.Datetime("us", "UTC")
    # A truth that was there first is found by a prediction that comes late; the same ones again change nothing.
    late = forecasts(range(3), 1).with_columns(version=pl.lit("4"))
    assert log.add_predictions(late, ["pm25"]) == Joined(new=3, joined=1)
    assert log.add_predictions(late, ["pm25"]) == Joined(same=3)
    log.engine.dispose()


def test_residuals_by_horizon_against_numpy(tmp_path: Path):
    log = JoinedLog(open_engine("sqlite:///log.db", tmp_path))
    rng = np.random.default_rng(0)
    values = {h: float(v) for h, v in enumerate(rng.normal(25, 10, 40))}
    table = forecasts(range(30))
    log.add_predictions(table, ["pm25"])
    log.add_truth(truths(values), ["pm25"])
    found = log.residuals_by_horizon("pm25")
    for h in (1, 2, 3):
        off = np.array([values[o + h] - (20 + o) for o in range(30)])
        row = found.row(by_predicate=pl.col("horizon") == h, named=True)
        assert row["rows"] == 30
        assert row["bias"] == pytest.approx(off.mean())
        assert row["mae"] == pytest.approx(np.abs(off).mean())
        assert row["rmse"] == pytest.approx(np.sqrt((off**2).mean()))
        assert row["inside"] == pytest.approx(np.mean(np.abs(off) <= 10))
    log.engine.dispose()


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), max_size=12),
)
def test_any_order_of_arrival_ends_the_same(events):
    """Predictions and truths, in any order, with revisions: the log is what a plain dictionary says."""
    log = JoinedLog(open_engine("sqlite://", Path()))
    points, known = {}, {}
    for is_truth, hour, value in events:
        if is_truth:
            log.add_truth(truths({hour: float(value)}), ["pm25"])
            known[hour] = float(value)
        else:
            log.add_predictions(forecasts(range(hour, hour + 1), 2), ["pm25"])
            points |= {(hour, hour + h): 20.0 + hour for h in (1, 2)}
    found = {
        (int((row["origin"] - START).total_seconds() // 3600), int((row["time"] - START).total_seconds() // 3600)):
        row["pm25.residual"] for row in log.read("pm25").to_dicts()
    }  # fmt: skip
    assert found == {place: known[place[1]] - point if place[1] in known else None for place, point in points.items()}
    log.engine.dispose()


def test_rows_without_a_time_are_joined_by_id(tmp_path: Path):
    log = JoinedLog(open_engine("sqlite:///log.db", tmp_path))
    asked = pl.DataFrame({"id": ["a", "b"], "origin": [START, START], "spam": ["yes", "no"]})
    log.add_predictions(asked, ["spam"])
    log.add_truth(pl.DataFrame({"id": ["b"], "spam": ["yes"]}), ["spam"])
    table = log.read("spam")
    assert dict(zip(table["series"], table["spam.error"], strict=True)) == {"a": None, "b": 1.0}
    assert log.counts("spam") == {"waiting": 1, "joined": 1, "revised": 0}
    log.engine.dispose()


def test_a_failure_leaves_the_log_as_it_was(tmp_path: Path):
    log = JoinedLog(open_engine("sqlite:///log.db", tmp_path))
    log.add_predictions(forecasts(range(2)), ["pm25"])

    def fail(connection, cursor, statement, *_):
        if statement.startswith("UPDATE sanmaru_joined"):
            raise OSError("the disk is full")

    sa.event.listen(log.engine, "before_cursor_execute", fail)
    with pytest.raises(OSError, match="the disk is full"):
        log.add_truth(truths({2: 5.0}), ["pm25"])
    sa.event.remove(log.engine, "before_cursor_execute", fail)
    assert log.counts("pm25") == {"waiting": 6, "joined": 0, "revised": 0}
    assert log.add_truth(truths({2: 5.0}), ["pm25"]) == Joined(new=1, joined=2)  # as if it came for the first time
    log.engine.dispose()


def test_rows_without_a_key_are_refused(tmp_path: Path):
    log = JoinedLog(open_engine("sqlite:///log.db", tmp_path))
    nameless = forecasts(range(2)).with_columns(series=pl.lit(None, pl.String))
    with pytest.raises(DataError, match="6 of 6 rows of the predictions have no series"):
        log.add_predictions(nameless, ["pm25"])
    log.engine.dispose()


def test_a_missing_column_is_named(tmp_path: Path):
    log = JoinedLog(open_engine("sqlite:///log.db", tmp_path))
    with pytest.raises(DataError, match="no column 'origin'"):
        log.add_predictions(forecasts(range(1)).drop("origin"), ["pm25"])
    with pytest.raises(DataError, match="no column 'pm10'"):
        log.add_truth(truths({1: 2.0}), ["pm10"])
    log.engine.dispose()
