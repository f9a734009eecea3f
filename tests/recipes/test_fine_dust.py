"""The service recipe: its tiny mode, what it does to the recorded hours, its live variants, its figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from sanmaru.project import Project
from sanmaru.recipes.service import lines_of_service, plan_of

Script = Callable[[str], ModuleType]
HOME = Path(__file__).parents[2] / "recipes" / "fine-dust"


@pytest.mark.usefixtures("local_data")
def test_tiny(
    tmp_path: Path, migrated: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sanmaru.cluster import base
    from sanmaru.recipes.command import command

    monkeypatch.setattr(base, "cores", lambda: 1)
    recipe, folder = script("fine-dust/run.py"), tmp_path / "fine-dust"
    folder.mkdir()
    shutil.copy(migrated, folder / "mlflow.db")
    asked = ["--tiny", "--folder", str(folder)]
    assert command(recipe.HOME, recipe.walk, lines_of_service, asked) == 0
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    tables = {table["title"].split(" ")[0]: table for table in results["tables"]}
    # Every published forecast was joined with what came, and stands beside both naive ones.
    assert {row[0] for row in tables["Mean"]["rows"]} == {"pm25", "pm10"}
    # The first decision trains, and the baseline was champion before there was a model.
    assert tables["Decisions"]["rows"][0][1:3] == ["yes", "first"]
    assert [row[1] for row in tables["Versions"]["rows"]] == ["seasonal-naive", "lightgbm"]
    late, came, revised = results["told"]
    assert "of its steps waited" in late
    assert came.startswith("When it came, 7 steps of it were done")
    assert "7 steps of that hour were done again" in revised
    assert (folder / "service" / "published" / "fine-dust" / "index.html").is_file()
    capsys.readouterr()
    # Another run into the same folder would show hours of this one as its own.
    assert command(recipe.HOME, recipe.walk, lines_of_service, asked) == 1
    assert "holds an earlier run of this service" in capsys.readouterr().err


def hours(story_begin: datetime, first: int, last: int) -> pl.DataFrame:
    times = [(story_begin + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M") for hour in range(first, last)]
    plain = {name: ["20"] * len(times) for name in ("pm25", "pm10")}
    return pl.DataFrame({"datetime": times, **plain}).with_columns(pm10=pl.int_range(pl.len()).cast(pl.String))


def test_faults_are_put_where_the_story_says_and_nowhere_else(script: Script) -> None:
    recipe = script("fine-dust/run.py")
    story = recipe.TINY
    recorded = hours(story.begin, -5, story.hours + 5)
    rows = recipe.with_faults(recorded, story)
    assert rows["hour"].to_list() == list(range(-5, story.hours))  # nothing of after the story
    first, last = story.stuck
    assert rows.filter(pl.col("hour").is_between(first, last - 1))["pm10"].n_unique() == 1
    assert rows.filter(~pl.col("hour").is_between(first, last - 1))["pm10"].n_unique() == rows.height - (last - first)
    too_much = rows.filter(pl.col("hour") >= story.bias)["pm25"].cast(pl.Int64)
    assert abs(float(too_much.mean()) - (20 * 1.3 + 18)) < 2  # type: ignore[arg-type]
    assert rows.filter(pl.col("hour") < story.bias)["pm25"].unique().to_list() == ["20"]
    assert recipe.with_faults(recorded, story).equals(rows)  # seeded


def test_the_city_s_file_gets_short_names_and_hours_of_the_clock(tmp_path: Path, script: Script) -> None:
    recipe = script("fine-dust/run.py")
    (tmp_path / recipe.AIR.to).write_text(
        ",일시,초미세먼지,미세먼지,오존,이산화탄소,일산화탄소,아황산가스\n"
        "0,2018-12-31 23:00,17,31,0.018,0.021,0.4,0.005\n"
        "1,2018-12-31 24:00,16,29,0.019,0.02,-,0.005\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    recipe.convert(tmp_path, out)
    assert (out / "hourly.csv").read_text().splitlines() == [
        "datetime,pm25,pm10,o3,no2,co,so2",
        "2018-12-31 23:00,17,31,0.018,0.021,0.4,0.005",
        "2019-01-01 00:00,16,29,0.019,0.02,-,0.005",
    ]


@pytest.mark.parametrize("name", ["sanmaru", "live-open-meteo", "live-airkorea", "live-asos"])
def test_project_files_are_valid_with_the_settings_of_every_step(name: str, tmp_path: Path) -> None:
    shutil.copy(HOME / f"{name}.yaml", tmp_path / "sanmaru.yaml")
    plan = plan_of(Project.load(tmp_path))
    assert {"decide", "train", "judge", "promote", "forecast", "monitor", "publish"} <= set(plan.order)
    for source in plan.needs("check", plan.first.name):
        assert plan.step(source[0]).use == "collect"


def test_every_project_file_of_the_recipe_is_tested() -> None:
    assert {path.stem for path in HOME.glob("*.yaml")} == {"sanmaru", "live-open-meteo", "live-airkorea", "live-asos"}


def test_naive_forecasts_are_those_that_were_possible_at_the_origin(tmp_path: Path) -> None:
    from sanmaru.collect import table
    from sanmaru.recipes.service import scores
    from sanmaru.steps.monitor import joined_log

    (tmp_path / "sanmaru.yaml").write_text(
        "name: tiny\ntask: forecasting\n"
        "data: {train: x.parquet, series: series, time: time, target: pm25}\n"
        "forecast: {every: 1h, horizon: 48}\n"
        "model: {kind: ridge}\n"
        "collect: {air: {kind: replay, path: x.csv, columns: {pm25: pm25}}}\n"
    )
    project, origin = Project.load(tmp_path), datetime(2021, 1, 3, tzinfo=UTC)
    times = [origin + timedelta(hours=hour) for hour in range(-48, 49)]
    truth = pl.DataFrame({"series": "a", "time": times, "pm25": [float(hour) for hour in range(-48, 49)]})
    table.merge(project.collected_folder / "tables" / "air", truth, origin)
    ahead = [1, 30]
    said = pl.DataFrame(
        {
            "series": "a", "origin": origin, "horizon": pl.Series(ahead, dtype=pl.Int32),
            "time": [origin + timedelta(hours=one) for one in ahead], "pm25": [2.0, 20.0],
            "pm25.q10": [0.0, 0.0], "pm25.q50": [2.0, 20.0], "pm25.q90": [5.0, 25.0], "model": "tiny", "version": "1",
        }
    )  # fmt: skip
    log = joined_log(project)
    log.add_predictions(said, ["pm25"])
    log.add_truth(truth, ["pm25"])
    log.engine.dispose()
    rows = scores(project, {"all": (origin, origin + timedelta(hours=49))}).rows
    # One hour ahead the truth is 1: persistence says 0, the day before -23. Thirty hours ahead it is 30: persistence
    # says 0, and the same hour of the last day known at the origin is 48 hours before, -18.
    assert rows == (
        ("pm25", "all", "1 h", "1", "1.0", "1.0", "24.0", "100%"),
        ("pm25", "all", "25-48 h", "1", "10.0", "30.0", "48.0", "0%"),
    )
