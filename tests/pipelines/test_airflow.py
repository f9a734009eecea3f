"""The exported DAG file: plain Airflow, the same text each time; and, where there is one, on a real Airflow."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.errors import UserError
from sanmaru.pipelines.airflow import dag_file
from sanmaru.pipelines.config import PipelineConfig
from sanmaru.pipelines.plan import Plan

STEPS = {
    "collect": {"command": "true", "poll_s": 120, "retries": 5},
    "clean": {"command": "true", "needs": "collect", "timeout_s": 60},
    "forecast": {"command": "true", "needs": ["clean", {"step": "forecast-log", "first": -23, "last": -1}]},
    "forecast-log": {"command": "true", "needs": "clean"},
    "retrain": {"command": "true", "needs": "forecast"},
}


def plan(steps: dict[str, Any] = STEPS, name: str = "air", folder: str = "/srv/air", **options: Any) -> Plan:
    config = PipelineConfig.model_validate({"every": "1h", "start": "2026-11-20", "steps": steps, **options})
    return Plan(name, config, Path(folder))


def imported(text: str) -> set[str]:
    """Top-level names of the packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").partition(".")[0])
    return found


def dag_arguments(text: str) -> dict[str, str]:
    block = next(node for node in ast.parse(text).body if isinstance(node, ast.With))
    call = block.items[0].context_expr
    assert isinstance(call, ast.Call)
    return {str(word.arg): ast.unparse(word.value) for word in call.keywords}


def test_the_file_stands_alone_and_holds_every_tie() -> None:
    text = dag_file(plan(), command="/opt/sanmaru")
    assert imported(text) - set(sys.stdlib_module_names) == {"airflow"}
    assert text == dag_file(plan(), command="/opt/sanmaru")
    for tie in (("collect", "clean"), ("clean", "forecast-log"), ("forecast-log", "forecast"), ("forecast", "retrain")):
        assert f'    steps["{tie[0]}"] >> steps["{tie[1]}"]\n' in text
    assert 'task("collect", retries=5, retry_wait_s=60, poll_s=120, timeout_s=4200)' in text
    assert '    [steps["retrain"]] >> made\n' in text
    assert 'os.environ.get("SANMARU_COMMAND", "/opt/sanmaru")' in text
    assert all(len(line) <= 120 for line in text.splitlines())
    subprocess.run([sys.executable, "-m", "ruff", "check", "-q", "--isolated", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("every", "zone", "schedule"),
    [
        ("1h", "Asia/Seoul", "CronDataIntervalTimetable('0 */1 * * *', timezone='UTC')"),
        ("15min", "UTC", "CronDataIntervalTimetable('*/15 * * * *', timezone='UTC')"),
        ("6h", "UTC", "CronDataIntervalTimetable('0 */6 * * *', timezone='UTC')"),
        ("24h", "Asia/Seoul", "CronDataIntervalTimetable('0 0 * * *', timezone='UTC')"),
        ("1d", "Asia/Seoul", "CronDataIntervalTimetable('0 0 * * *', timezone='Asia/Seoul')"),
        ("1w", "Asia/Seoul", "CronDataIntervalTimetable('0 0 * * 1', timezone='Asia/Seoul')"),
        ("7h", "UTC", "DeltaDataIntervalTimetable(timedelta(minutes=420))"),
        ("45min", "UTC", "DeltaDataIntervalTimetable(timedelta(minutes=45))"),
        ("2d", "Asia/Seoul", "DeltaDataIntervalTimetable(timedelta(days=2))"),
    ],
)
def test_runs_come_with_the_data_intervals(every: str, zone: str, schedule: str) -> None:
    arguments = dag_arguments(dag_file(plan(every=every, zone=zone)))
    assert arguments["schedule"] == schedule
    first = plan(every=every, zone=zone).first.start
    assert eval(arguments["start_date"], {**_datetime()}) == first
    assert arguments["catchup"] == "True"


def test_a_part_runs_when_what_it_needs_is_updated() -> None:
    text = dag_file(plan(), steps=["retrain"], triggered=True)
    arguments = dag_arguments(text)
    assert arguments["schedule"] == "asset('forecast')"
    assert (arguments["dag_id"], arguments["catchup"], arguments["max_active_runs"]) == ("'air.retrain'", "False", "1")
    assert "data_interval_start + " not in text
    both = dag_arguments(dag_file(plan(), steps=["forecast", "retrain", "clean"], triggered=True))
    assert both["schedule"] == "asset('collect') | asset('forecast-log')"
    assert both["dag_id"] == "'air.clean.forecast.retrain'"
    assert dag_arguments(dag_file(plan(), steps=["collect", "clean"]))["dag_id"] == "'air.collect.clean'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": ["retrian"]}, "there is no step 'retrian'. Did you mean 'retrain'"),
        ({"steps": ["collect"], "triggered": True}, "--triggered needs --steps that need others"),
        ({"triggered": True}, "--triggered needs --steps"),
    ],
)
def test_what_cannot_be_exported_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dag_file(plan(), **options)


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,12}", fullmatch=True)


@given(
    names=st.lists(NAMES, min_size=1, max_size=8, unique=True),
    ties=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=12),
    every=st.sampled_from(["5min", "7min", "1h", "5h", "1d", "3d", "1w", "2w"]),
    project=st.sampled_from(["air", "한강-공기", "a.b-c_d"]),
    folder=st.sampled_from(["/srv/air", '/srv/a "b"\\c', "/srv/공기 {x}"]),
)
def test_every_pipeline_becomes_a_file_that_compiles(
    names: list[str], ties: list[tuple[int, int]], every: str, project: str, folder: str
) -> None:
    steps: dict[str, dict[str, Any]] = {name: {"command": "true", "needs": []} for name in names}
    for low, high in ties:
        if low < high < len(names):
            steps[names[high]]["needs"].append(names[low])
    text = dag_file(plan(steps, project, folder, every=every))
    compile(text, "dag.py", "exec")
    assert imported(text) - set(sys.stdlib_module_names) == {"airflow"}
    assert text.count("] = task(") == len(names)
    constants = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    assert folder in constants
    assert project in constants


def test_a_real_airflow_runs_the_dag(tmp_path: Path) -> None:
    """Import and `dags test`; `benchmarks/airflow_proof.sh` shows the run that an asset triggers, too."""
    python = os.environ.get("AIRFLOW_PYTHON")
    if not python:
        pytest.skip("needs AIRFLOW_PYTHON, the python of an environment with Airflow 3.2 or newer")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sanmaru.yaml").write_text(
        "name: air\ntask: tabular\ndata: {train: t.csv, target: y}\n"
        "pipeline:\n  every: 1h\n  start: 2026-11-20\n  steps:\n"
        "    collect: {command: 'test -e asked || { touch asked; exit 75; }', poll_s: 1}\n"
        "    quiet: {command: exit 99, needs: collect}\n    clean: {command: touch cleaned, needs: [collect, quiet]}\n"
    )
    sanmaru = Path(sys.executable).parent / "sanmaru"
    dags, home = tmp_path / "dags", tmp_path / "home"
    subprocess.run(
        [sanmaru, "pipeline", "export", "airflow", "--project", folder, "-o", dags / "air.py"], check=True, timeout=60
    )
    environment = {
        **os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags), "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    for words in (["db", "migrate"], ["dags", "reserialize"], ["dags", "test", "air", "2026-11-20T06:00Z"]):
        done = subprocess.run(
            [python, "-m", "airflow", *words], env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert (folder / "cleaned").exists()


def _datetime() -> dict[str, Any]:
    import datetime

    return {"datetime": datetime.datetime, "UTC": datetime.UTC}
