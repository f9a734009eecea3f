import json

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from sanmaru.cli.main import app
from sanmaru.errors import ProjectFileError, UserError


@pytest.fixture
def project(tmp_path):
    import numpy as np

    generator = np.random.default_rng(0)
    n = 24 * 60
    times = pl.datetime_range(
        pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1) + pl.duration(hours=n - 1), "1h", eager=True
    )
    pm10 = np.round(40 + 10 * np.sin(np.arange(n) / 24 * 6.3) + generator.normal(size=n) * 3, 1)
    table = pl.DataFrame({"when": times.dt.strftime("%Y-%m-%d %H:%M"), "pm10": pm10, "pm25": np.round(pm10 / 2, 1)})
    table.write_csv(tmp_path / "hourly.csv")
    content = {
        "name": "station",
        "task": "anomaly-detection",
        "data": {"train": "hourly.csv", "time": "when"},
        "zone": "Asia/Seoul",
        "model": {"kind": "rules"},
    }
    (tmp_path / "sanmaru.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["anomalies", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_compare_prints_a_table_and_writes_a_page(project):
    output = run("compare", "-p", str(project), "-d", "rules", "-d", "stuck", "--events", "4")
    assert "detectors on injected faults" in output
    assert "rules" in output
    page = project / "reports" / "anomalies.html"
    assert str(page) in output
    assert "station: anomaly detectors" in page.read_text(encoding="utf-8")
    results = json.loads((project / "reports" / "anomalies.json").read_text())["results"]
    assert {one["detector"] for one in results} == {"rules", "stuck"}


def test_fit_keeps_a_detector_that_scores_new_rows(project):
    told = json.loads(run("fit", "-p", str(project), "--format", "json", "budget.alarms=0.5", "budget.per=week"))
    assert told["detector"] == "rules"
    assert told["budget_rate"] == pytest.approx(0.5 / 168)
    assert told["columns"] == ["pm10", "pm25"]

    past = pl.read_csv(project / "hourly.csv")
    new = past.tail(24).with_columns(pm10=pl.when(pl.int_range(pl.len()) == 20).then(500.0).otherwise(pl.col("pm10")))
    new.write_csv(project / "new.csv")
    output = run("score", str(project / "new.csv"), "-o", str(project / "v.parquet"), "-p", str(project))
    assert "of 24 rows flagged" in output
    verdicts = pl.read_parquet(project / "v.parquet")
    assert verdicts.height == 24
    assert verdicts["anomaly"][20]
    assert "pm10" in verdicts["anomaly.reason"][20]
    assert verdicts["anomaly"].sum() <= 4  # the hour itself, the step back, and what the budget allows


def test_what_cannot_be_done_is_said(project):
    with pytest.raises(UserError, match="unknown detector 'forest'"):
        run("compare", "-p", str(project), "-d", "forest")
    with pytest.raises(UserError, match="holds no detector"):
        run("score", str(project / "hourly.csv"), "-o", str(project / "v.csv"), "-p", str(project))
    with pytest.raises(UserError, match=r"should end in \.csv or \.parquet"):
        run("score", str(project / "hourly.csv"), "-o", str(project / "v.txt"), "-p", str(project))
    with pytest.raises(ProjectFileError, match=r"unknown key 'budget.alarm'. Did you mean 'alarms'"):
        run("fit", "-p", str(project), "budget.alarm=2")
    with pytest.raises(ProjectFileError, match=r"data\.time is missing"):
        run("fit", "-p", str(project), "data.time=null")


def test_other_tasks_have_no_anomalies(project):
    content = {"name": "x", "task": "tabular", "data": {"train": "hourly.csv", "target": "pm10"}}
    (project / "sanmaru.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ProjectFileError, match="says nothing of anomalies"):
        run("fit", "-p", str(project))


def test_training_it_names_its_commands(project):
    result = CliRunner().invoke(app, ["train", "--project", str(project)])
    assert isinstance(result.exception, UserError)
    assert "sanmaru anomalies compare" in str(result.exception)
