import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.serving.prediction_log import PREDICTIONS

PROJECT = """\
name: air
task: tabular
data: {train: reference.csv, target: pm25}
monitor:
  reference: reference.csv
  current: current.csv
  zone: Asia/Seoul
  season: hour
  data: [pm25]
  alerts: {file: alerts.jsonl}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    n = 160 * 24
    table = pl.DataFrame(
        {"time": [f"{datetime(2026, 1, 1) + timedelta(hours=h):%Y-%m-%d %H:%M}" for h in range(n)],
         "pm25": rng.normal(20, 5, n).round(1)}
    )  # fmt: skip
    table[: 120 * 24].write_csv(tmp_path / "reference.csv")
    table[120 * 24 :].write_csv(tmp_path / "current.csv")
    broken = table[120 * 24 :].with_columns(pm25=pl.col("pm25") + 8.0)
    broken.write_parquet(tmp_path / "broken.parquet")
    (tmp_path / "sanmaru.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quiet_data_ends_with_0_and_an_alarm_with_3_told_once(project: Path, command):
    status, out, err = command("monitor")
    assert (status, err) == (0, "")
    assert "pm25 (data)" in out
    assert "Calibrated to 1 false alarm a year" in out
    assert not (project / "alerts.jsonl").exists()
    status, out, _ = command("monitor", "--current", "broken.parquet", "--json", "--html", "m.html")
    assert status == 0  # every window of it was looked at above, and is not judged again
    (project / "monitor.db").unlink()
    status, out, _ = command("monitor", "--current", "broken.parquet", "--json", "--html", "m.html")
    assert status == 3
    found = json.loads(out)
    assert found["alarms"] == ["pm25"]
    assert found["columns"][0]["state"] == "alarm"
    assert [one["event"] for one in found["alerts"]] == ["raised"]
    assert (project / "m.html").is_file()
    status, out, _ = command("monitor", "--current", "broken.parquet")
    assert status == 3
    assert "ALARM" in out
    assert len((project / "alerts.jsonl").read_text().splitlines()) == 1


def test_textbook_thresholds_are_shown_and_remember_nothing(project: Path, command):
    status, out, _ = command("monitor", "--textbook")
    assert status in (0, 3)
    assert "their false-alarm rate is unknown" in out
    assert not (project / "monitor.db").exists()


def test_the_servers_log_tells_latency_and_age(project: Path, command):
    engine = open_engine("sqlite:///answers.db", project)
    PREDICTIONS.metadata.create_all(engine)
    now = time.time()
    rows = [
        {"request": f"r{n}", "place": 0, "at": now - 3600 * n, "latency_ms": 10.0 + n, "model": "air",
         "version": "2" if n < 48 else "1", "answer": "1"}
        for n in range(72)
    ]  # fmt: skip
    with engine.begin() as connection:
        connection.execute(sa.insert(PREDICTIONS), rows)
    engine.dispose()
    text = (project / "sanmaru.yaml").read_text() + "  requests: sqlite:///answers.db\n  limits: {latency_ms: 50}\n"
    (project / "sanmaru.yaml").write_text(text)
    found = {one["name"]: one for one in json.loads(command("monitor", "--json", "--no-send")[1])["service"]}
    assert found["latency_ms"]["value"] == pytest.approx(np.percentile(np.arange(10.0, 82.0), 95))
    assert found["latency_ms"]["limit"] == 50
    assert found["model_age_d"]["value"] == pytest.approx(47 / 24, abs=0.01)
    (project / "sanmaru.yaml").write_text(text.replace("answers.db", "other.db"))
    assert "sanmaru_predictions cannot be read there" in command("monitor")[2]


def test_what_is_missing_is_said(project: Path, command):
    assert "the current table nowhere.csv is no file" in command("monitor", "--current", "nowhere.csv")[2]
    assert "should end with .parquet, .csv or .tsv" in command("monitor", "--current", "sanmaru.yaml")[2]
    text = (project / "sanmaru.yaml").read_text()
    (project / "sanmaru.yaml").write_text(text.replace("  current: current.csv\n", ""))
    status, _, err = command("monitor")
    assert status == 1
    assert "set monitor.current in the project file, or pass --current FILE" in err
    (project / "sanmaru.yaml").write_text(text.split("monitor:")[0])
    assert "has no monitor: section" in command("monitor")[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("window: 7days", "String should match pattern"),
        ("step: 8d", "is longer than window: 7d"),
        ("zone: Seoul/Asia", "is no time zone"),
        ("treshold: 3", "unknown key 'monitor.treshold'"),
        ("estimate: {residual: miss}", "residual needs inputs"),
    ],
)
def test_wrong_settings_are_refused_with_their_key(project: Path, command, line: str, said: str):
    text = (project / "sanmaru.yaml").read_text().replace("  zone: Asia/Seoul\n", "")
    (project / "sanmaru.yaml").write_text(text + f"  {line}\n")
    status, _, err = command("monitor")
    assert status == 1
    assert said in err
