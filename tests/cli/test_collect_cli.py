"""`sanmaru collect`: a replay is fetched, read anew and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sanmaru.cli.main import main

PROJECT = """\
name: air
task: tabular
data: {train: a.csv, target: y}
collect:
  air: {kind: replay, path: recorded.csv, columns: {pm10: pm10}, zone: Asia/Seoul}
  live: {kind: replay, path: recorded.csv, columns: {pm10: pm10}, zone: Asia/Seoul, speed: 1, begin: 2018-01-01T09:00}
  asos: {kind: asos, stations: {seoul: 108}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sanmaru.yaml").write_text(PROJECT)
    lines = [f"2018-01-01 {hour:02}:00,{20 + hour}" for hour in range(1, 25)]
    (tmp_path / "recorded.csv").write_text("time,pm10\n" + "\n".join([*lines, "2018-01-01 12:00,twelve"]) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_GO_KR_KEY", raising=False)
    return tmp_path


def sanmaru(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr("sys.argv", ["sanmaru", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


SPAN = ("--from", "2018-01-01T00:00+09:00", "--to", "2018-01-02T01:00+09:00")


def test_fetch_then_parse_then_status(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sanmaru(monkeypatch, "collect", "fetch", "air", *SPAN, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["state"], found["added"], found["set_aside"]) == ("complete", 24, 2)
    assert Path(found["outputs"]["rows"]).is_file()
    assert sanmaru(monkeypatch, "collect", "fetch", "air", *SPAN) == 0
    assert "air: 0 rows added, 0 revised, 24 unchanged, 2 set aside, 2 missing" in capsys.readouterr().out
    assert sanmaru(monkeypatch, "collect", "parse", "air") == 0
    assert capsys.readouterr().out == "air: 2 answers, 48 rows read, 4 set aside, 24 in the table\n"
    assert sanmaru(monkeypatch, "collect", "status", "air", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["distinct_answers"], told["last"]) == (24, 1, "2018-01-01 15:00:00+00:00")
    assert sanmaru(monkeypatch, "collect", "status") == 0
    assert "24 rows of 1 series" in capsys.readouterr().out


def test_data_that_is_not_there_yet_ends_with_75(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        sanmaru(monkeypatch, "collect", "fetch", "live", "--from", "2018-01-01T00:00", "--to", "2018-01-01T03:00") == 75
    )
    assert "live: waiting: live: 1 of 3 rows from 2018-01-01T00:00Z" in capsys.readouterr().out


def test_a_refused_source_ends_with_1_and_says_why(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sanmaru(monkeypatch, "collect", "fetch", "asos", "--from", "2018-01-01", "--to", "2018-01-02") == 1
    assert "asos: failed: the environment variable DATA_GO_KR_KEY holds no key" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (("fetch", "ait"), "there is no source 'ait' (collect). Did you mean 'air'?"),
        (("fetch", "air", "--from", "2018-01-02", "--to", "2018-01-01"), "lies not before"),
        (("fetch", "air", "--from", "soon"), "'soon' is no date or time"),
    ],
)
def test_a_users_mistakes_are_one_line(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    match: str,
) -> None:
    assert sanmaru(monkeypatch, "collect", *args) == 1
    assert match in capsys.readouterr().err


def test_a_project_without_sources_is_told_where_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sanmaru.yaml").write_text("name: x\ntask: tabular\ndata: {train: a.csv, target: y}\n")
    monkeypatch.chdir(tmp_path)
    assert sanmaru(monkeypatch, "collect", "status") == 1
    assert "no collect: with sources. See docs/stages/collect.md" in capsys.readouterr().err


def test_a_mistyped_field_names_the_nearest(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "sanmaru.yaml").write_text(PROJECT.replace("stations: {seoul", "stationz: {seoul"))
    assert sanmaru(monkeypatch, "collect", "status") == 1
    assert "unknown key 'collect.asos.stationz'. Did you mean 'stations'?" in capsys.readouterr().err


def test_a_mistyped_source_names_the_nearest_kind(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "sanmaru.yaml").write_text(PROJECT.replace("kind: asos", "kind: asoz"))
    assert sanmaru(monkeypatch, "collect", "status") == 1
    assert "unknown collect.asos.kind 'asoz'. Did you mean 'asos'?" in capsys.readouterr().err
