"""Leaderboards of runs that are written, not trained."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sanmaru.errors import RunError
from sanmaru.experiments.compare import compare


def test_runs_are_ranked_by_the_metrics_direction(written_runs) -> None:
    made = written_runs("regression")
    bad, good, middle = (made.run(noise, seed) for noise, seed in ((2.0, 1), (0.1, 2), (0.8, 3)))
    found = compare(made.project)
    assert (found.metric, found.greater_is_better) == ("rmse", False)
    assert [entry.run for entry in found.entries] == [good.id, middle.id, bad.id]
    assert found.entries[0].value == good.score().value
    assert (found.entries[0].low, found.entries[0].high) == (good.score().low, good.score().high)
    assert found.verdict is None
    by_r2 = compare(made.project, metric="r2")
    assert [entry.run for entry in by_r2.entries] == [good.id, middle.id, bad.id]
    assert by_r2.entries[0].low < by_r2.entries[0].value < by_r2.entries[0].high


def test_an_entry_tells_model_time_size_and_what_differs(written_runs) -> None:
    made = written_runs()
    a = made.run(0.2, 1, model={"kind": "lightgbm", "trees": 50})
    b = made.run(0.3, 2, model={"kind": "lightgbm", "trees": 90}, problem="told otherwise")
    c = made.run(0.9, 3, model={"kind": "linear"})
    entries = {entry.run: entry for entry in compare(made.project).entries}
    assert entries[a.id].parameters == {"model.trees": 50}
    assert entries[b.id].parameters == {"model.trees": 90}
    # Fields that only one kind of model has are no difference in a parameter.
    assert entries[c.id].parameters == {}
    assert [entries[run.id].model for run in (a, b, c)] == ["lightgbm", "lightgbm", "linear"]
    assert entries[a.id].seconds == 2.5
    assert entries[a.id].size_bytes > 1000


def test_two_runs_get_a_verdict(written_runs) -> None:
    made = written_runs("binary", rows=600)
    good, bad = made.run(0.1, 1), made.run(2.0, 2)
    verdict = compare(made.project, bad.id, good.id).verdict
    assert verdict is not None
    assert verdict.text.startswith(f"{good.id} is better by ")
    assert verdict.to_json()["better"] == good.id
    again = made.run(0.1, 5)
    same = compare(made.project, good.id, again.id).verdict
    assert same is not None
    assert same.text.startswith(f"no difference shown: {good.id} minus {again.id} is ")


def test_runs_on_other_rows_or_folds_stay_on_the_board_and_are_flagged(written_runs) -> None:
    made = written_runs()
    a, b = made.run(0.5, 1), made.run(0.6, 2)
    fewer = made.run(0.01, 3, keep=np.arange(290))
    refolded = made.run(0.01, 4, folds=(made.folds + (np.arange(300) < 30)) % 5)
    found = compare(made.project)
    assert {entry.run for entry in found.entries[:2]} == {a.id, b.id}
    notes = {entry.run: entry.incomparable for entry in found.entries}
    assert notes[fewer.id] in {f"10 rows only in {run.id}" for run in (a, b)}
    assert notes[refolded.id] == "30 rows of 300 in both lie in another fold"
    refused = compare(made.project, a.id, refolded.id).verdict
    assert refused is not None
    assert refused.text == "no verdict: 30 rows of 300 in both lie in another fold"
    assert refused.to_json()["better"] is None
    refused = compare(made.project, fewer.id, a.id).verdict
    assert refused is not None
    assert refused.refusal == f"10 rows only in {a.id}"


def test_unfinished_and_failed_runs_are_listed_below(written_runs) -> None:
    made = written_runs()
    made.run()
    running, failed = made.run(status="running"), made.run(status="failed")
    found = compare(made.project)
    assert len(found.entries) == 1
    told = {one.run: (one.status, one.reason) for one in found.unranked}
    assert told == {running.id: ("running", "not finished"), failed.id: ("failed", "out of memory")}


def test_what_cannot_be_ranked_is_refused(written_runs) -> None:
    made = written_runs()
    with pytest.raises(RunError, match="there is no run in"):
        compare(made.project)
    running = made.run(status="running")
    with pytest.raises(RunError, match=r"none of the 1 runs is finished"):
        compare(made.project)
    done = made.run()
    with pytest.raises(RunError, match=f"run {done.id} has no metric 'rmse'"):
        compare(made.project, done.id, metric="rmse")
    with pytest.raises(RunError, match="2 names were given, but they name only 1 different runs"):
        compare(made.project, done.id, "last" if done.id > running.id else done.id)


def test_a_comparison_is_plain_values(written_runs) -> None:
    made = written_runs()
    first, _ = made.run(0.1, 1), made.run(0.4, 2)
    content = json.loads(json.dumps(compare(made.project).to_json()))
    assert content["metric"] == "macro_f1"
    assert content["runs"][0]["run"] == first.id
    assert set(content["verdict"]) == {"a", "b", "metric", "better", "difference", "low", "high", "text"}
