"""Known faults of real data."""

import time

import polars as pl
import pytest

from sanmaru.tasks.anomalies import AnomalyConfig, Fitted, fit_detector
from sanmaru.tasks.anomalies.read import LongColumns, read_long


@pytest.fixture(scope="module")
def seoul(shared_data):
    table = read_long(shared_data / "air-seoul" / "hourly.csv", LongColumns(time=("datetime",), zone="Asia/Seoul"))
    return table, fit_detector(table, AnomalyConfig(zone="Asia/Seoul"))


def test_repeated_hours_and_the_missing_value_of_seoul_are_found(seoul):
    table, fitted = seoul
    verdicts = fitted.verdicts(table)
    repeated = (pl.struct("time").is_duplicated()) & ~pl.struct("time").is_first_distinct()
    assert verdicts.filter(repeated)["anomaly"].to_list() == [True] * 24
    assert set(verdicts.filter(repeated)["anomaly.reason"]) == {"time"}
    assert verdicts.filter(pl.col("co").is_null())["anomaly.reason"].to_list() == ["co"]  # the "-"
    assert verdicts["anomaly"].mean() < 0.01


def test_resets_of_counters_in_beijing_are_no_alarms(shared_data):
    columns = ("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir")
    roles = LongColumns(time=("year", "month", "day", "hour"), columns=columns, zone="Asia/Shanghai")
    table = read_long(shared_data / "air-beijing" / "train.csv", roles)
    config = AnomalyConfig(zone="Asia/Shanghai", counters=("Iws", "Is", "Ir"))
    fitted = fit_detector(table, config)
    for name in config.counters:
        reset = fitted.verdicts(table).filter(pl.col(name).diff() < 0)
        assert reset.height > 50
        named = reset.filter(pl.col("anomaly.reason").str.contains(name))
        assert named.height <= 0.001 * reset.height


def test_an_hour_of_25_stations_is_judged_in_well_under_a_second(seoul, tmp_path):
    table, _ = seoul
    hourly = table.unique("time", keep="first").sort("time").tail(1000)
    stations = pl.concat(hourly.with_columns(series=pl.lit(f"s{number}")) for number in range(25))
    fit_detector(stations, AnomalyConfig()).save(tmp_path / "kept")
    fitted = Fitted.load(tmp_path / "kept")
    last = stations["time"].max()
    began = time.perf_counter()
    verdicts = fitted.verdicts(stations.filter(pl.col("time") == last), stations.filter(pl.col("time") < last))
    assert time.perf_counter() - began < 1.0
    assert verdicts.height == 25
