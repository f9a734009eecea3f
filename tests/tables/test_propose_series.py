"""A table of series is recognised: time in one column or several, series, targets as asked for."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from sanmaru.cli.main import app
from sanmaru.errors import DataError, ProjectFileError
from sanmaru.project import Project
from sanmaru.tables.propose_series import propose_series


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """Two stations, ten days of hours, two numbers and a text."""
    n = 240
    times = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 10, 23), "1h", eager=True)
    parts = [
        pl.DataFrame(
            {
                "station": [name] * n,
                "when": times.dt.strftime("%Y-%m-%d %H:%M"),
                "pm10": [20 + (place * 7 + i * 13) % 17 + 0.5 for i in range(n)],
                "pm25": ["통신장애" if i == 5 else str(10 + i % 9) for i in range(n)],
                "wind": ["N" if i % 3 else "S" for i in range(n)],
            }
        )
        for place, name in enumerate(("north", "south"))
    ]
    pl.concat(parts).write_csv(tmp_path / "air.csv")
    return tmp_path / "air.csv"


def test_several_targets_are_taken_in_the_order_given(hours: Path, tmp_path: Path) -> None:
    arguments = ["new", "--data", str(hours), "--task", "forecasting", "--target", "pm25", "--target", "pm10"]
    result = CliRunner().invoke(app, [*arguments, "--zone", "Asia/Seoul", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "target  pm25, pm10" in result.output
    data = Project.load(tmp_path).file.data
    assert (data.series, data.time, data.target_names) == ("station", "when", ("pm25", "pm10"))


def test_several_targets_of_another_task_are_refused_rather_than_the_last_taken(hours: Path, tmp_path: Path) -> None:
    arguments = ["new", "--data", str(hours), "--target", "pm25", "--target", "pm10", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ProjectFileError)
    assert "--target is given 2 times (pm25, pm10)" in str(result.exception)
    assert not (tmp_path / "sanmaru.yaml").exists()


@pytest.mark.parametrize(
    ("targets", "match"),
    [
        (["pm1O"], "has no column 'pm1O' .* Did you mean 'pm10'"),
        (["pm10", "wind"], r"'wind' .* is no number to forecast, .* Numbers: pm10, pm25\."),
        (["station"], "'station' .* tells times, series or rows apart"),
        (["pm10", "pm10"], "--target 'pm10' is given twice"),
    ],
)
def test_a_target_that_cannot_be_forecast_is_named(hours: Path, targets: list[str], match: str) -> None:
    with pytest.raises(DataError, match=match):
        propose_series(hours, targets=targets)


def test_what_never_varies_is_static_or_dropped_and_a_calendars_columns_are_named(hours: Path) -> None:
    table = pl.read_csv(hours).with_columns(
        altitude=pl.when(pl.col("station") == "north").then(38.0).otherwise(None),
        zone_name=pl.col("station").replace({"north": "hill", "south": "harbour"}),
        country=pl.lit("KR"),
        is_holiday=pl.col("when").str.starts_with("2026-01-01"),
    )
    table = table.with_columns(altitude=pl.when(pl.col("station") == "south").then(5.5).otherwise("altitude"))
    table.with_columns(altitude=pl.when(pl.col("wind") == "N").then("altitude")).write_csv(hours)  # gaps do not vary
    proposal = propose_series(hours, targets=["pm10"])
    data = proposal.content["data"]
    assert data["static"] == ["altitude", "zone_name"]
    assert data["drop"] == ["country"]
    assert [(one.column, one.text) for one in proposal.remarks if one.drop] == [
        ("country", "has one value in all rows")
    ]
    assert proposal.why["data.known"].endswith("By their names perhaps: is_holiday.")


@pytest.mark.parametrize(
    ("file", "targets", "time", "series", "every"),
    [
        ("air-beijing/train.csv", ["pm2.5"], ["year", "month", "day", "hour"], None, "1h"),
        ("air-seoul/hourly.csv", ["pm25", "pm10"], "datetime", None, "1h"),
        ("air-seoul/daily_by_station_2022.csv", ["pm25"], "date", "station", "1d"),
        ("weather-seoul-bike/hourly.csv", ["Rented Bike Count"], ["Date", "Hour"], None, "1h"),
        ("weather-seoul-ldaps/summer_daily.csv", ["Next_Tmax", "Next_Tmin"], "Date", "station", "1d"),
    ],
)
def test_real_tables_are_recognised(
    *, shared_data: Path, file: str, targets: list[str], time: object, series: str | None, every: str
) -> None:
    content = propose_series(shared_data / file, targets=targets, zone="Asia/Seoul").content
    data = content["data"]
    assert (data["time"], data.get("series"), content["forecast"]["every"]) == (time, series, every)
    assert data["target"] == (targets[0] if len(targets) == 1 else targets)
    assert data.get("drop") == (["No"] if "air-beijing" in file else None)
    assert data.get("static") == (["lat", "lon", "DEM", "Slope"] if "ldaps" in file else None)
