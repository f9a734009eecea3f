from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from sanmaru.cli.main import main
from sanmaru.project import Project


def run(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["sanmaru", "new", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_project_file_and_its_schema_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.DataFrame({"id": range(60), "size": [i % 7 for i in range(60)], "sold": ["yes", "no", "no"] * 20})
    table.write_csv(tmp_path / "flats.csv")
    arguments = ("--data", tmp_path / "flats.csv", "--target", "sold", "--output", tmp_path / "p")
    assert run(*arguments, monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "60 rows, 3 columns" in shown
    assert "target  sold (classes)" in shown
    assert f"next: cd {tmp_path / 'p'}; sanmaru explore; sanmaru train" in shown
    text = (tmp_path / "p" / "sanmaru.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=sanmaru.schema.json\n")
    project = Project.load(tmp_path / "p")
    assert (project.name, project.file.data.train, project.file.data.target) == ("flats", "../flats.csv", ("sold",))
    assert "image-classification" in json.dumps(json.loads((tmp_path / "p" / "sanmaru.schema.json").read_text()))

    # A file that is there is not replaced by accident.
    assert run(*arguments, monkeypatch=monkeypatch) == 1
    assert "is there already. Replace it with --force" in capsys.readouterr().err
    assert run(*arguments, "--force", "--name", "again", monkeypatch=monkeypatch) == 0
    assert Project.load(tmp_path / "p").name == "again"


def test_mistakes_end_with_one_line_and_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.DataFrame({"size": [i % 7 for i in range(30)], "sold": ["yes", "no"] * 15})
    table.write_csv(tmp_path / "flats.csv")
    output = tmp_path / "p"
    assert run("--data", tmp_path / "flat.csv", "-o", output, monkeypatch=monkeypatch) == 1
    assert "Did you mean 'flats.csv'?" in capsys.readouterr().err
    assert run("--data", tmp_path / "flats.csv", "-o", output, "--name", "a/b", monkeypatch=monkeypatch) == 1
    assert "name" in capsys.readouterr().err
    assert not output.exists()
