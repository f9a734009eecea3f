from __future__ import annotations

import polars as pl


def test_a_run_predicts_into_the_sample_s_form(trained_project, command):
    status, out, err = command("predict", "last", "test.csv", "-o", "out.csv", "--sample", "sample.csv")
    assert (status, err) == (0, "")
    assert out == "predicted 30 rows into out.csv\n"
    found, sample = pl.read_csv("out.csv"), pl.read_csv("sample.csv")
    assert found.schema == sample.schema
    assert found["id"].to_list() == sample["id"].to_list()


def test_a_package_folder_needs_no_project(trained_project, command, tmp_path, monkeypatch):
    package = next(trained_project.glob("runs/*/package"))
    monkeypatch.chdir(tmp_path)
    status, out, _ = command("predict", str(package), str(trained_project / "test.csv"), "-o", "out.jsonl")
    assert (status, out) == (0, "predicted 30 rows into out.jsonl\n")
    assert pl.read_ndjson("out.jsonl").columns == ["id", "price"]


def test_rows_set_aside_are_told(trained_project, command):
    table = pl.read_csv("test.csv").with_columns(size=pl.lit("big"))
    table.write_csv("bad.csv")
    status, out, err = command("predict", "last", "bad.csv", "-o", "out.csv")
    assert (status, out) == (0, "predicted 0 rows into out.csv\n")
    assert err == "30 rows could not be used (not-a-number 30); they are listed in out.csv.quarantine.csv\n"


def test_a_user_s_mistakes_end_with_one_line_and_write_nothing(trained_project, command):
    pl.read_csv("sample.csv").head(20).write_csv("short.csv")
    before = {path.name for path in trained_project.iterdir()}
    for words, message in (
        (("last", "nothing.csv", "-o", "out.csv"), "there is no file or folder nothing.csv to predict."),
        (("last", "test.csv", "-o", "out.xls"), "the output out.xls should end with one of .csv"),
        (("no-such-run", "test.csv", "-o", "out.csv"), "no run 'no-such-run'"),
        (("houses@production", "test.csv", "-o", "out.csv"), "no model 'houses' is registered"),
        (("last", "test.csv", "-o", "out.csv", "--sample", "none.csv"), "there is no sample none.csv."),
        (("last", "test.csv", "-o", "out.csv", "--sample", "short.csv"), "10 ids are not in the sample ('110'"),
    ):
        status, out, err = command("predict", *words)
        assert (status, out) == (1, "")
        assert err.startswith("sanmaru: ")
        assert message in err
        assert len(err.splitlines()) == 1
    assert {path.name for path in trained_project.iterdir()} == before


def test_unfinished_runs_do_not_predict(trained_project, command):
    facts = next(trained_project.glob("runs/*/run.json"))
    facts.write_text(facts.read_text().replace('"done"', '"running"'))
    status, _, err = command("predict", "last", "test.csv", "-o", "out.csv")
    assert status == 1
    assert "is running, not done. Finish it with: sanmaru train --resume" in err
