"""Forecasts in each database: written twice they are there once, with equal numbers, all of them or none."""

import math
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.errors import DataError
from sanmaru.publish.rows import read_forecasts, upsert_forecasts

ORIGIN = datetime(2026, 11, 21, 6, tzinfo=UTC)


def forecast(n_series: int = 3, hours: int = 4, seed: int = 0, targets=("pm10", "pm25")) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    rows = [
        {"series": f"구{one}'\"\\", "origin": ORIGIN, "horizon": step, "time": ORIGIN + timedelta(hours=step)}
        | {f"{name}{end}": random.normal() * 10.0 ** random.integers(-9, 9) for name in targets for end in ENDS}
        for one in range(n_series)
        for step in range(1, hours + 1)
    ]
    return pl.DataFrame(rows).with_columns(pl.col("horizon").cast(pl.Int32))


ENDS = ("", ".q10", ".q50", ".q90")


@pytest.fixture
def engine(database_url, tmp_path):
    engine = open_engine(database_url, tmp_path)
    yield engine
    engine.dispose()


def read(engine) -> pl.DataFrame:
    return read_forecasts(engine).sort("series", "horizon", "origin")


def test_written_twice_it_is_there_once_with_equal_numbers(engine):
    written = forecast()
    for _ in range(2):
        assert upsert_forecasts(engine, written, model="lstm", version="3") == 12
    found = read(engine)
    assert len(found) == 12
    assert found["model"].unique().to_list() == ["lstm"]
    for name in written.columns:  # to the last bit
        assert found[name.replace(".", "_")].to_list() == written.sort("series", "horizon")[name].to_list(), name


def test_a_new_version_replaces_the_rows_of_its_model_only(engine):
    upsert_forecasts(engine, forecast(seed=1), model="lstm", version="3")
    upsert_forecasts(engine, forecast(seed=2), model="ridge", version="1")
    newer = forecast(seed=3)
    upsert_forecasts(engine, newer, model="lstm", version="4")
    found = read(engine)
    assert len(found) == 24
    lstm = found.filter(pl.col("model") == "lstm")
    assert lstm["version"].unique().to_list() == ["4"]
    assert lstm["pm25_q90"].to_list() == newer.sort("series", "horizon")["pm25.q90"].to_list()
    ridge = found.filter(pl.col("model") == "ridge")
    assert ridge["pm10"].to_list() == forecast(seed=2).sort("series", "horizon")["pm10"].to_list()


def test_missing_numbers_are_null_and_new_targets_add_columns(engine):
    first = forecast(1, 2).with_columns(pl.Series("pm10", [math.nan, None], dtype=pl.Float64))
    upsert_forecasts(engine, first, model="m")
    second = forecast(1, 3, targets=("temperature",))
    upsert_forecasts(engine, second, model="m")
    found = read(engine)
    assert found["pm10"].to_list() == [None, None, None]
    assert found["temperature"].to_list() == second["temperature"].to_list()
    assert found["pm25"].to_list() == [*first["pm25"].to_list(), None]  # the earlier numbers stay


def test_times_of_other_zones_are_the_same_rows(engine):
    upsert_forecasts(engine, forecast(), model="m")
    seoul = forecast().with_columns(pl.col("origin", "time").dt.convert_time_zone("Asia/Seoul"))
    upsert_forecasts(engine, seoul, model="m")
    assert len(read(engine)) == 12
    assert read(engine)["origin"].unique().to_list() == [ORIGIN]


def test_a_failure_in_the_middle_changes_nothing(engine):
    old = forecast(seed=1)
    upsert_forecasts(engine, old, model="m")

    def fail(connection, cursor, statement, *_):
        if statement.startswith("INSERT"):
            raise ConnectionAbortedError("the cable was pulled")

    sa.event.listen(engine, "after_cursor_execute", fail)
    with pytest.raises(ConnectionAbortedError, match="cable"):
        upsert_forecasts(engine, forecast(5, seed=2), model="m")
    sa.event.remove(engine, "after_cursor_execute", fail)
    found = read(engine)
    assert found["pm10"].to_list() == old.sort("series", "horizon")["pm10"].to_list()


def test_a_write_that_the_database_ended_for_another_is_made_again(engine):
    written = forecast()
    upsert_forecasts(engine, written, model="m")  # makes the table
    ended = []

    @sa.event.listens_for(engine, "before_cursor_execute")
    def end(_connection, _cursor, statement, *_):
        if "INSERT" in statement and not ended:
            ended.append(statement)
            raise sa.exc.OperationalError(statement, {}, Exception(1213, "Deadlock found when trying to get lock"))

    newer = forecast(seed=5)
    assert upsert_forecasts(engine, newer, model="m") == len(newer)
    assert len(ended) == 1
    assert read(engine)["pm10"].to_list() == newer.sort("series", "horizon")["pm10"].to_list()


def test_two_writers_of_the_same_rows_in_other_orders_both_end(database_url, tmp_path):
    written = forecast(25, 24)
    begin, errors = threading.Barrier(2), []

    def write(rows: pl.DataFrame, version: str) -> None:
        own = open_engine(database_url, tmp_path)
        try:
            begin.wait(20)
            for hour in range(10):
                moved = rows.with_columns(pl.col("origin", "time") + timedelta(hours=hour))
                upsert_forecasts(own, moved, model="m", version=version)
        except Exception as error:
            errors.append(error)
        finally:
            own.dispose()

    threads = [
        threading.Thread(target=write, args=arguments) for arguments in ((written, "1"), (written.reverse(), "2"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    engine = open_engine(database_url, tmp_path)
    found = read(engine)
    engine.dispose()
    assert len(found) == 10 * len(written)
    # Each forecast is wholly one writer's or the other's.
    assert found.group_by("origin").agg(pl.col("version").n_unique())["version"].to_list() == [1] * 10


def test_twenty_five_districts_take_well_under_a_second(engine):
    written = forecast(25, 48)
    upsert_forecasts(engine, written, model="m")  # makes the table
    began = time.perf_counter()
    assert upsert_forecasts(engine, written, model="m") == 1200
    # A loaded machine is given more room than the 0.1 s that this takes.
    assert time.perf_counter() - began < 2.0


def test_the_models_own_columns_are_taken(engine):
    own = forecast(1, 1).with_columns(pl.lit("from-table").alias("model"), pl.lit("9").alias("version"))
    upsert_forecasts(engine, own, model="ignored")
    assert read(engine).select("model", "version").row(0) == ("from-table", "9")
    assert upsert_forecasts(engine, own.clear()) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop("origin", "time"), "needs origin, time"),
        (lambda table: pl.concat([table, table.head(1)]), "2 rows share their model, series, origin and horizon"),
        (lambda table: table.rename({"pm10": "pm 10; drop"}), "cannot be the column 'pm 10; drop'"),
        (lambda table: table.with_columns(pl.col("pm10").alias("pm25_q10")), "no name twice"),
        (lambda table: table.with_columns(pl.lit(math.inf).alias("pm10")), "infinite numbers"),
        (lambda table: table.with_columns(pl.lit(None, pl.String).alias("series")), "may not have missing values"),
        (lambda table: table.with_columns(pl.lit("x").alias("time")), "holds String, not times"),
    ],
)
def test_tables_that_are_no_forecast_are_refused(tmp_path: Path, change, message):
    engine = open_engine("sqlite:///x.db", tmp_path)
    with pytest.raises(DataError, match=message):
        upsert_forecasts(engine, change(forecast()))
    engine.dispose()
