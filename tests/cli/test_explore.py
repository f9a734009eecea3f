from __future__ import annotations

import json
from pathlib import Path


def with_test(folder: Path) -> None:
    file = folder / "sanmaru.yaml"
    file.write_text(file.read_text().replace("train: train.csv,", "train: train.csv, test: test.csv,"))


def test_findings_are_printed_with_advice_and_the_report_is_named(trained_project: Path, command) -> None:
    with_test(trained_project)
    lines = (trained_project / "train.csv").read_text().splitlines()
    (trained_project / "test.csv").write_text("\n".join(line.rsplit(",", 1)[0] for line in lines[:40]) + "\n")
    status, out, err = command("explore")
    assert (status, err) == (0, "")
    assert "stand in train" in out
    assert "→ " in out
    report = Path(out.strip().splitlines()[-1].removeprefix("report: "))
    assert report == (trained_project / "reports" / "explore.html").resolve()
    assert report.is_file()


def test_json_is_for_scripts(trained_project: Path, command, tmp_path: Path) -> None:
    with_test(trained_project)
    status, out, _ = command("explore", "--format", "json", "--output", str(tmp_path / "x.html"))
    assert status == 0
    record = json.loads(out)
    assert record["report"] == str(tmp_path / "x.html")
    assert record["rows"] == {"train": 90, "test": 30}
    assert all({"title", "severity", "evidence", "advice", "kind"} <= set(one) for one in record["findings"])


def test_missing_data_ends_with_one_line(trained_project: Path, command) -> None:
    (trained_project / "train.csv").unlink()
    status, _, err = command("explore")
    assert status == 1
    assert err.startswith("sanmaru: ")
    assert "train.csv" in err
    assert "Traceback" not in err
