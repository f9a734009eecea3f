"""Steps named by `use:`, found by file name, their settings checked when the project is read."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sanmaru.cli.main import app
from sanmaru.errors import UserError
from sanmaru.pipelines import work
from sanmaru.pipelines.functions import built_in_names
from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.plan import Plan
from sanmaru.pipelines.runner import Runner

MODULE = '''
"""A built-in step of this test."""

from pydantic import Field

from sanmaru.config import Config


class Settings(Config):
    station: int
    hours: int = Field(24, ge=1)


def run(context):
    settings = Settings.model_validate(context.settings)
    return {"station": settings.station, "hours": settings.hours}
'''
PROJECT = """\
name: air
task: tabular
data: {train: t.csv, target: y}
pipeline:
  every: 1h
  start: 2026-11-20
  steps:
    measure:
      use: try_measure
      with:
        station: 108
"""


@pytest.fixture(autouse=True)
def built_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of built-in steps beside the package's own."""
    folder = tmp_path / "built-in"
    folder.mkdir()
    (folder / "try_measure.py").write_text(MODULE)
    (folder / "try_plain.py").write_text('"""Takes no settings."""\n\n\ndef run(context):\n    return {}\n')
    (folder / "try_helper.py").write_text('"""No step: it has no run."""\n')
    package = importlib.import_module("sanmaru.steps")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    yield
    for name in ("try_measure", "try_plain", "try_helper"):
        sys.modules.pop(f"sanmaru.steps.{name}", None)


def message(folder: Path, text: str) -> str:
    (folder / "sanmaru.yaml").write_text(text)
    with pytest.raises(UserError) as caught:
        app(["pipeline", "status", "--project", str(folder)], standalone_mode=False)
    return str(caught.value)


def test_built_in_steps_are_the_modules_with_a_run() -> None:
    names = built_in_names()
    assert {"try_measure", "try_plain"} <= set(names)
    assert not {"try_helper", "triggers", "decisions", "__init__"} & set(names)


def test_a_built_in_step_runs_with_its_settings(
    make: Callable[..., tuple[Plan, Ledger]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "START_METHOD", "fork")  # the worker must know this test's folder of steps
    plan, ledger = make({"measure": {"use": "try_measure", "with": {"station": 108}}})
    until = datetime(2026, 11, 20, 1, tzinfo=UTC)
    with Runner(plan, ledger) as runner:
        assert runner.run(until=until).done == 1
    assert ledger.entries()[0].outputs == {"station": 108, "hours": 24}
    changed, _ = make({"measure": {"use": "try_measure", "with": {"station": 119}}})
    with Runner(changed, ledger) as runner:
        assert runner.run(until=until, check=True).done == 1


def test_a_correct_project_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sanmaru.yaml").write_text(PROJECT)
    app(["pipeline", "status", "--project", str(tmp_path)], standalone_mode=False)
    assert "measure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("use: try_measure", "use: try_mesure", "line 9: pipeline.steps.measure: use: 'try_mesure' is no built-in "
         "step. Did you mean 'try_measure'?"),
        ("station: 108", "staton: 108\n        station: 1", "line 11: unknown key "
         "'pipeline.steps.measure.with.staton'. Did you mean 'station'?"),
        ("station: 108", "station: Seoul", "line 11: pipeline.steps.measure.with.station: Input should be a "
         "valid integer"),
        ("station: 108", "hours: 3", "line 10: the key 'pipeline.steps.measure.with.station' is missing."),
        ("station: 108", "station: 1\n        hours: 0", "line 12: pipeline.steps.measure.with.hours: Input should be "
         "greater than or equal to 1 (got 0)"),
        ("use: try_measure", "use: try_plain", "line 10: pipeline.steps.measure: use: 'try_plain' takes no settings."),
        ("use: try_measure", "use: try_measure\n      call: a:b", "a step has one of use: (a built-in step), call:"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert told in message(tmp_path, PROJECT.replace(before, after))
