"""A forecaster from a csv to forecasts: train, compare, resume, package, command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sanmaru.cli.main import app
from sanmaru.errors import DataError, ProjectFileError
from sanmaru.experiments.compare import compare
from sanmaru.experiments.explore import explore
from sanmaru.experiments.runs import Run
from sanmaru.experiments.train import train
from sanmaru.packages.package import Package
from sanmaru.project import Project
from sanmaru.registry.gates import common_rows, compatible, not_worse

HOURS = 24 * 40


def series_csv(path: Path, *, seed: int = 0) -> Path:
    """Two series of 40 days with a strong daily season, noise, a gap of missing values and a known covariate."""
    rng = np.random.default_rng(seed)
    parts = []
    for place, name in enumerate(("north", "south")):
        hours = np.arange(HOURS)
        event = rng.random(HOURS) < 0.05
        value = 20 + 5 * place + 8 * np.sin(2 * np.pi * hours / 24) + 6 * event + rng.normal(0, 1, HOURS)
        value[200:210] = np.nan
        value[HOURS - 46] = np.nan
        begin = datetime(2021, 1, 1)
        parts.append(
            pl.DataFrame(
                {
                    "station": [name] * HOURS,
                    "when": [f"{begin + timedelta(hours=int(h)):%Y-%m-%d %H:%M}" for h in hours],
                    "pm10": value,
                    "event": event.astype(int),
                    "wind": rng.choice(["N", "S"], HOURS),
                }
            ).with_columns(pl.col("pm10").fill_nan(None))
        )
    pl.concat(parts).write_csv(path)
    return path


def content(**changes) -> dict:
    return {
        "name": "air",
        "task": "forecasting",
        "data": {"train": "air.csv", "series": "station", "time": "when", "target": "pm10", "known": "event"},
        "forecast": {"zone": "Asia/Seoul", "horizon": 6, "lookback": 48, "stride": 5, "origins": {"reach": "10d"}},
        "split": {"folds": 2},
        "model": {"kind": "seasonal-naive"},
        **changes,
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("air")
    series_csv(folder / "air.csv")
    return Project.from_dict(folder, content())


@pytest.fixture(scope="module")
def runs(project: Project) -> tuple[Run, Run]:
    seasonal = train(project)
    return seasonal, train(
        Project.from_dict(project.folder, content(model={"kind": "persistence"})), cluster="processes"
    )


def test_a_run_holds_its_series_windows_and_forecasts(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    rows, predictions = run.rows(), run.predictions()
    judged = rows.filter(pl.col("fold") >= 0)
    assert judged.height == predictions.height == 20  # ten days, two series
    assert judged["origin"].dt.convert_time_zone("Asia/Seoul").dt.hour().unique().to_list() == [23]
    assert predictions["pm10"].dtype == pl.Array(pl.Float32, 6)
    table = pl.read_parquet(run.folder / "forecasts.parquet")
    assert table.columns[:5] == ["series", "origin", "horizon", "time", "pm10"]
    assert table.height == 20 * 6
    # Scores are those of the long table, pairs without a truth left out.
    errors = (table["pm10"] - table["pm10.actual"]).drop_nulls()
    assert errors.len() < table.height
    assert run.score().all["mae"] == pytest.approx(float(errors.abs().mean()), rel=1e-5)
    assert (table["time"] - table["origin"]).dt.total_hours().to_list() == table["horizon"].to_list()


def test_no_fold_learns_from_a_target_after_its_first_origin(runs: tuple[Run, Run]) -> None:
    from sanmaru.experiments.folds import stored_folds

    folds, rows = stored_folds(runs[0]), runs[0].rows()
    for k in range(2):
        first = rows[folds.valid(k)]["at"].min()
        assert (rows[folds.train(k)]["at"] + 6).max() <= first


def test_the_naive_forecasts_are_judged_beside_and_reported(runs: tuple[Run, Run]) -> None:
    seasonal, persistence = runs
    assert [one["kind"] for one in seasonal.facts["baselines"]] == ["persistence"]
    assert seasonal.facts["baselines"][0]["beaten"]
    (beside,) = persistence.facts["baselines"]
    assert beside["kind"] == "seasonal-naive"
    assert not beside["beaten"]
    assert "seasonal-naive is not shown beaten" in persistence.facts["notes"][-1]
    # The same windows, the same forecast: the baseline of one run is the model of the other.
    assert beside["value"] == pytest.approx(seasonal.score().value)
    html = (persistence.folder / "report.html").read_text()
    assert "forecast of pm10" in html
    assert "The model is not shown to beat seasonal-naive" in html
    for title in ("Beside naive forecasts", "What was scored", "Quantiles and bands", "Some forecasts"):
        assert title in html


def test_two_runs_are_compared_on_the_same_origins(project: Project, runs: tuple[Run, Run]) -> None:
    found = compare(project, *(run.id for run in runs))
    assert found.entries[0].run == runs[0].id
    assert found.verdict is not None
    assert found.verdict.paired is not None
    assert found.verdict.paired.a_better
    by_other = compare(project, *(run.id for run in runs), metric="mase")
    assert by_other.verdict is not None
    other = train(Project.from_dict(project.folder, content(forecast={"horizon": 5, "lookback": 48, "stride": 5})))
    refused = compare(project, runs[0].id, other.id)
    assert refused.verdict is not None
    assert "rows only in" in refused.verdict.text


def test_two_forecasters_are_averaged_and_the_folds_of_one_taken_again(project: Project, runs: tuple[Run, Run]) -> None:
    from sanmaru.errors import RunError
    from sanmaru.experiments.ensemble import ensemble

    mean = ensemble(project, [run.id for run in runs], method="soft", tracked=False)
    a, b = (run.predictions()["pm10"].to_numpy() for run in runs)
    np.testing.assert_allclose(mean.predictions()["pm10"].to_numpy(), (a + b) / 2, rtol=1e-5)
    assert Package.load(mean.package_folder).forecast(history(project.folder)).height == 12
    with pytest.raises(RunError, match="method 'stack' learns from one number per row"):
        ensemble(project, [run.id for run in runs], method="stack", tracked=False)
    reused = train(Project.from_dict(project.folder, content(split={"folds": 2, "reuse": runs[0].id})))
    assert reused.score().all == runs[0].score().all


def test_a_run_cut_short_is_finished_from_its_own_series(project: Project, tmp_path: Path) -> None:
    import shutil

    series_csv(tmp_path / "air.csv")
    own = Project.from_dict(tmp_path, content())
    run = train(own)
    before = run.score()
    for name in ("scores.json", "package", "final", "folds/1"):
        path = run.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run.update(status="failed")
    (tmp_path / "air.csv").unlink()  # the series lie in the run's folder
    assert train(own, resume=run.id).score() == before


def history(folder: Path, hours: int = 120, ahead: int = 6) -> pl.DataFrame:
    """The last rows of the training table, and rows after them of which only `event` is known."""
    table = pl.read_csv(folder / "air.csv")
    last = datetime(2021, 1, 1) + timedelta(hours=HOURS - 1)
    future = pl.DataFrame(
        {
            "station": ["north"] * ahead + ["south"] * ahead,
            "when": [f"{last + timedelta(hours=h + 1):%Y-%m-%d %H:%M}" for h in range(ahead)] * 2,
            "pm10": [None] * 2 * ahead,
            "event": [0] * 2 * ahead,
            "wind": [None] * 2 * ahead,
        },
        schema=table.schema,
    )
    return pl.concat([table.group_by("station", maintain_order=True).tail(hours), future])


def test_the_package_forecasts_after_the_last_observed_step(project: Project, runs: tuple[Run, Run]) -> None:
    package = Package.load(runs[0].package_folder)
    assert package.golden_test() == 0
    assert [column.name for column in package.signature.inputs] == ["station", "when", "pm10", "event", "wind"]
    frame = history(project.folder)
    table = package.forecast(frame)
    assert table.columns == ["series", "origin", "horizon", "time", "pm10", "pm10.q10", "pm10.q50", "pm10.q90"]
    assert table.height == 12
    assert table["origin"].unique().to_list() == [datetime(2021, 2, 9, 14, tzinfo=UTC)]  # 23:00 in Seoul
    yesterday = frame.filter(pl.col("station") == "north")["pm10"].to_list()[120 - 24 : 120 - 24 + 6]
    np.testing.assert_allclose(table.filter(pl.col("series") == "north")["pm10"], yesterday, rtol=1e-5)
    assert (table["pm10.q10"] <= table["pm10.q90"]).all()
    # A long table with its own names and UTC times, as a pipeline holds it, gives the same; pandas gives pandas.
    long = frame.select(
        pl.col("station").alias("series"),
        pl.col("when").str.to_datetime("%Y-%m-%d %H:%M", time_unit="us").dt.replace_time_zone("Asia/Seoul")
        .dt.convert_time_zone("UTC").alias("time"),
        "pm10", "event", "wind",
    )  # fmt: skip
    assert package.forecast(long).equals(table)
    assert type(package.forecast(frame.to_pandas())).__module__.startswith("pandas")


def test_an_origin_in_the_past_gives_the_forecast_of_then(project: Project, runs: tuple[Run, Run]) -> None:
    package, run = Package.load(runs[0].package_folder), runs[0]
    origin = run.rows().filter(pl.col("fold") == 1)["origin"].min()
    table = package.forecast(pl.read_csv(project.folder / "air.csv"), origin)
    then = pl.read_parquet(run.folder / "forecasts.parquet").filter(pl.col("origin") == origin)
    # Seasonal-naive repeats, so the refitted model says what the fold's did; only its quantiles have learned more.
    np.testing.assert_allclose(
        table.sort("series", "horizon")["pm10"], then.sort("series", "horizon")["pm10"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda t: t.group_by("station", maintain_order=True).tail(30),
            "'north', 'south' is too short: 24 of 48 steps",
        ),
        (
            lambda t: t.filter(pl.col("pm10").is_not_null() | (pl.col("when") < "2021-02-10")),
            "have no row after the origin",
        ),
        (lambda t: t.drop("event"), r"no column 'event'"),
        (lambda t: t.with_columns(pl.lit(None, pl.Float64).alias("pm10")), "have no value of pm10 at all"),
        (lambda t: t.with_columns(pl.lit(None, pl.String).alias("station")), "none of the 252 rows has a series"),
        (
            lambda t: t.with_columns(when=pl.col("when").str.replace("2021-02-08 05:00", "2021-02-08 05:20")),
            "off|step of 1h",
        ),
    ],
)
def test_a_history_that_does_not_fit_is_refused(project: Project, runs: tuple[Run, Run], change, match: str) -> None:
    package = Package.load(runs[0].package_folder)
    with pytest.raises(DataError, match=match):
        package.forecast(change(history(project.folder)))


def test_wrong_origins_are_refused(project: Project, runs: tuple[Run, Run]) -> None:
    package, frame = Package.load(runs[0].package_folder), history(project.folder)
    with pytest.raises(DataError, match="is no step of 1h"):
        package.forecast(frame, "2021-02-08T05:20")
    with pytest.raises(DataError, match="lies outside of the table"):
        package.forecast(frame, "2022-02-08T05:00")
    with pytest.raises(DataError, match="use forecast"):
        package.predict(frame)


def test_the_registrys_gate_compares_two_forecasters(runs: tuple[Run, Run]) -> None:
    from sanmaru.metrics.base import find_metric

    seasonal, persistence = (Package.load(run.package_folder) for run in runs)
    assert compatible(persistence.signature, seasonal.signature).passed
    rows = common_rows(persistence, seasonal)
    assert len(rows.truth) == 20
    assert find_metric("mae")(rows.truth, rows.champion) == pytest.approx(runs[0].score().value, rel=1e-6)
    assert find_metric("mase")(rows.truth, rows.champion) == pytest.approx(runs[0].score().all["mase"], rel=1e-6)
    assert not not_worse(persistence, seasonal, "champion", find_metric("mae")).passed


def test_the_command_line_forecasts_a_file(project: Project, runs: tuple[Run, Run], tmp_path: Path) -> None:
    frame = history(project.folder)
    broken = pl.concat([frame, frame[:1].with_columns(pl.lit("soon").alias("when"))])
    broken.write_csv(tmp_path / "history.csv")
    arguments = ["predict", str(runs[0].package_folder), str(tmp_path / "history.csv"), "-o", str(tmp_path / "out.csv")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "forecast 12 rows for 2 series and origins" in result.output
    assert "1 rows could not be used (missing-time 1)" in result.output
    assert pl.read_csv(tmp_path / "out.csv").height == 12
    assert pl.read_csv(tmp_path / "out.csv.quarantine.csv")["row"].to_list() == [252]


def test_the_data_report_and_a_proposal_look_at_the_series(tmp_path: Path) -> None:
    series_csv(tmp_path / "air.csv")
    arguments = ["new", "--data", str(tmp_path / "air.csv"), "--task", "forecasting", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    proposed = Project.load(tmp_path)
    data = proposed.file.data
    assert (data.series, data.time, data.target_names) == ("station", "when", ("pm10",))
    assert proposed.file.task == "forecasting"
    html = explore(proposed).read_text()
    for title in ("The series", "Missing values", "Seasons", "Autocorrelation"):
        assert title in html


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"split": {"kind": "random"}}, "split.kind: random cannot judge forecasts"),
        ({"metric": "accuracy"}, "metric 'accuracy' does not fit this forecasting task"),
        ({"forecast": {"horizon": "90m"}}, "not a whole number of steps"),
        ({"forecast": {"lookback": 5}}, "less than the season of 24"),
        ({"forecast": {"horzion": 5}}, "unknown key 'forecast.horzion'. Did you mean 'horizon'"),
        ({"forecast": {"zone": "Seoul"}}, "no such time zone"),
        ({"task": "tabular", "forecast": {}}, "unknown key 'forecast'"),
        ({"split": {"folds": 50}}, "cannot make 50 folds"),
    ],
)
def test_a_project_file_that_cannot_work_says_why(project: Project, change: dict, match: str) -> None:
    with pytest.raises((ProjectFileError, DataError), match=match):
        train(Project.from_dict(project.folder, content(**change)))
