"""The command line as a whole: light, and one clear line for a user's mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sanmaru.cli.main import COMMANDS


def sanmaru(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_every_command() -> None:
    done = sanmaru("--help")
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_its_own_help(command: str) -> None:
    done = sanmaru(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_an_unknown_command_names_the_nearest() -> None:
    done = sanmaru("trian")
    assert done.returncode == 1
    assert done.stderr == "sanmaru: unknown command 'trian'. Did you mean 'train'?\n"


def test_a_users_mistake_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "sanmaru.yaml").write_text("name: x\ntask: tabular\ndata: {train: a.csv, tarqet: y}\n")
    done = sanmaru("train", cwd=tmp_path)
    assert done.returncode == 1
    assert "Did you mean 'target'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_schema_prints_json() -> None:
    schema = json.loads(sanmaru("schema").stdout)
    assert {"ImageClassificationFile", "TabularFile"} <= set(schema["$defs"])


HEAVY = ("torch", "polars", "pandas", "numpy", "mlflow", "lightgbm", "sklearn", "fastapi", "transformers", "pydantic")


@pytest.mark.parametrize("code", ["import sanmaru", "import sys; sys.argv = ['sanmaru', '--help']; main()"])
def test_starting_loads_nothing_heavy(code: str) -> None:
    """What keeps `import sanmaru` and `sanmaru --help` light; the seconds are in benchmarks/start.py."""
    watch = f"atexit.register(lambda: print('LOADED', sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr))"
    program = f"import atexit, sys\nfrom sanmaru.cli.main import main\n{watch}\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "LOADED []" in done.stderr
