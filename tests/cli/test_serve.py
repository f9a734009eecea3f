import subprocess
import sys
from pathlib import Path

import pytest

from sanmaru.errors import UserError
from sanmaru.serving.run import ServeOptions, serve
from sanmaru.serving.settings import Settings


def sanmaru(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sanmaru.cli.main import main; main()", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_help_shows_examples() -> None:
    shown = sanmaru("serve", "--help")
    assert shown.returncode == 0
    for text in ("--alias", "--workers", "--keys", "sanmaru serve mask-18"):
        assert text in shown.stdout


def test_what_cannot_be_served_is_one_clear_line(tmp_path: Path) -> None:
    for name in (str(tmp_path), "./nothing"):
        refused = sanmaru("serve", name)
        assert refused.returncode == 1
        assert "is not a model package" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert "serving" not in refused.stderr
    refused = sanmaru("serve", "mask-18", "--project", str(tmp_path))
    assert refused.returncode == 1
    assert "sanmaru.yaml" in refused.stderr


def test_a_keys_file_that_is_absent_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"keys file .* cannot be read"):
        serve(ServeOptions(name=str(tmp_path), keys=tmp_path / "absent.txt"))


def test_options_travel_to_worker_processes_as_text() -> None:
    options = ServeOptions(
        name="m", project=Path("/p"), keys=Path("k"), workers=2, settings=Settings(queue=3, timeout_s=1.5)
    )
    assert ServeOptions.from_text(options.to_text()) == options
