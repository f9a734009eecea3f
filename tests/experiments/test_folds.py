from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru import Run, RunError, train
from sanmaru.experiments import folds as folds_module
from sanmaru.experiments.events import learning_curve, mend, read_events
from sanmaru.experiments.folds import FoldJob, fit_fold, fold_seed, out_of_fold, stored_folds
from sanmaru.files import read_json
from sanmaru.tasks.tabular.lightgbm import LightGBM
from sanmaru.tasks.tabular.linear import Linear

pytestmark = pytest.mark.usefixtures("without_mirror")

Seen = list[tuple[pl.DataFrame, pl.DataFrame | None]]


def watch_fits(monkeypatch: pytest.MonkeyPatch, estimator: type) -> Seen:
    """Return a list that fills with (rows to fit, rows that select) of every fit."""
    seen: Seen = []
    fit = estimator.fit

    def watched(self: Any, train: pl.DataFrame, valid: pl.DataFrame | None, context: Any) -> None:
        seen.append((train, valid))
        fit(self, train, valid, context)

    monkeypatch.setattr(estimator, "fit", watched)
    return seen


TREES = {"kind": "lightgbm", "trees": 5}


def test_inner_rows_select_and_no_group_is_on_two_sides(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_fits(monkeypatch, LightGBM)
    rows = train(make_project(model=TREES)).rows()
    for fold, (fit, selection) in enumerate(seen):
        assert selection is not None
        valid = rows.filter(pl.col("fold") == fold)
        houses = [set(part["house"]) for part in (fit, selection, valid)]
        assert sum(len(one) for one in houses) == len(set.union(*houses)) == 30
        assert 4 <= selection.height <= 12


def test_the_fold_itself_selects_only_where_asked(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_fits(monkeypatch, LightGBM)
    rows = train(make_project(model=TREES, train={"selection": "fold"})).rows()
    for fold, (fit, selection) in enumerate(seen):
        assert selection is not None
        assert set(selection["id"]) == set(rows.filter(pl.col("fold") == fold)["id"])
        assert fit.height + selection.height == 120


@pytest.mark.parametrize(("model", "estimator"), [(TREES, LightGBM), ({"kind": "linear"}, Linear)])
def test_nothing_is_held_back_where_nothing_is_chosen(
    make_project: Any, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], estimator: type
) -> None:
    seen = watch_fits(monkeypatch, estimator)
    selection = "none" if estimator is LightGBM else "inner"
    train(make_project(model=model, train={"selection": selection}))
    assert [(fit.height, chosen) for fit, chosen in seen] == [(fit.height, None) for fit, _ in seen]
    assert sum(fit.height for fit, _ in seen) == 2 * 120


def test_a_finished_fold_is_not_fitted_again(make_project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(make_project())
    seen = watch_fits(monkeypatch, Linear)
    result = fit_fold(FoldJob(run=str(run.folder), fold=1, table="nowhere", threads=1))
    assert asdict(result) == read_json(run.fold_folder(1) / "done.json")
    assert not seen


def test_a_table_that_a_worker_cannot_reach_is_named(make_project: Any) -> None:
    run = train(make_project())
    (run.fold_folder(0) / "done.json").unlink()
    with pytest.raises(RunError, match=r"/elsewhere\.parquet is not there for the worker.*shared file system"):
        fit_fold(FoldJob(run=str(run.folder), fold=0, table="/elsewhere.parquet", threads=1))


def test_predictions_of_other_rows_are_refused(make_project: Any) -> None:
    run = train(make_project())
    results = [folds_module.FoldResult(**read_json(folder / "done.json")) for folder in run.fold_folders()]
    path = run.fold_folder(2) / "predictions.parquet"
    pl.read_parquet(path).reverse().write_parquet(path)
    with pytest.raises(RunError, match=r"fold 2 of run .* holds predictions of other rows"):
        out_of_fold(run, results)


def test_stored_folds_are_those_of_the_run(make_project: Any) -> None:
    data = {"train": "train.csv", "id": "id", "target": "price", "time": "house"}
    run: Run = train(make_project(data=data, split={"kind": "time", "folds": 3, "gap": 4}))
    folds, rows = stored_folds(run), run.rows()
    for fold in range(3):
        before = rows[folds.train(fold)]["house"].max()
        assert before < rows[folds.valid(fold)]["house"].min()  # type: ignore[operator]


@given(st.integers(0, 2**31 - 1), st.integers(0, 99))
def test_folds_have_seeds_of_their_own(seed: int, fold: int) -> None:
    mine = fold_seed(seed, fold)
    assert 0 <= mine < 2**31
    assert mine == fold_seed(seed, fold)
    assert mine != fold_seed(seed, fold + 1)


def test_events_are_read_whole_lines_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path) == ([], 0)
    path.write_text('{"kind": "metrics", "step": 1, "loss": 3.0}\n{"kind": "metr')
    events, offset = read_events(path)
    assert [event["step"] for event in events] == [1]
    mend(path)
    with path.open("a") as handle:
        handle.write('{"kind": "metrics", "step": 1, "loss": 2.0}\n{"kind": "metrics", "step": 2, "loss": 1.0}\n')
    assert [event["step"] for event in read_events(path, offset)[0]] == [1, 2]
    assert learning_curve(path) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
