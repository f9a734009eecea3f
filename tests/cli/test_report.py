from __future__ import annotations

from pathlib import Path


def test_the_path_of_the_report_is_printed(trained_project: Path, command) -> None:
    (run,) = trained_project.glob("runs/*")
    (run / "report.html").unlink()
    status, out, err = command("report", "last")
    assert (status, err) == (0, "")
    assert out.strip() == str((run / "report.html").resolve())
    assert "how well it works" in (run / "report.html").read_text()


def test_a_run_can_be_named_by_its_folder_from_anywhere(trained_project: Path, command, tmp_path, monkeypatch) -> None:
    (run,) = trained_project.glob("runs/*")
    monkeypatch.chdir(tmp_path)
    status, out, _ = command("report", str(run), "--output", "here.html")
    assert status == 0
    assert out.strip() == str(tmp_path / "here.html")
    assert (tmp_path / "here.html").is_file()


def test_an_unknown_run_is_named_with_the_nearest(trained_project: Path, command) -> None:
    status, _, err = command("report", "nonsense")
    assert status == 1
    assert "no run 'nonsense'" in err
