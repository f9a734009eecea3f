"""Boosted trees: strategies, what they start from, and how many are grown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.forecasting.config import LightGBMForecastConfig
from sanmaru.tasks.forecasting.grow import Sample, grow, put_in_bins
from sanmaru.tasks.forecasting.task import Forecasting
from sanmaru.tasks.forecasting.trees import _Prepared
from sanmaru.tasks.forecasting.windows import Panel, WindowLayout
from sanmaru.training.config import TrainConfig

LAYOUT = WindowLayout(targets=("y",), past=("w",), lookback=12, horizon=3, season=6)


def _task(n_steps: int = 600) -> Forecasting:
    """A walk that turns where `w`, known a step before, is above 0.5: a step that no straight line follows."""
    rng = np.random.default_rng(0)
    w = rng.random(n_steps)
    change = np.where(np.roll(w, 1) > 0.5, 5.0, -5.0)
    y = 100 + change + rng.normal(size=n_steps) / 10
    values = np.stack([y, w], axis=1)[None].astype(np.float32)
    return Forecasting(LAYOUT, panel=Panel(layout=LAYOUT, values=values, static=np.zeros((1, 0), dtype=np.float32)))


def _windows(first: int, last: int) -> pl.DataFrame:
    at = np.arange(first, last)
    origin = pl.Series("origin", at * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"origin": origin, "series_code": np.zeros(len(at), dtype=np.int32), "at": at})


def _fit(folder: Path, *, selection: Any = "inner", valid: bool = True, **config: Any) -> Any:
    task = _task()
    settings = {"min_rows_per_leaf": 5, "trees": 60, "steps_per_window": 3, **config}
    model = task.estimator(LightGBMForecastConfig(**settings), TrainConfig(selection=selection))
    context = FitContext(folder=folder, cache=folder, seed=0, metric=find_metric("rmse"))
    model.fit(_windows(12, 400), _windows(410, 450) if valid else None, context)
    return model


@pytest.mark.parametrize("strategy", ["pooled", "per-step"])
@pytest.mark.parametrize("start", ["nothing", "last", "ridge"])
def test_trees_follow_a_step_whatever_they_start_from(strategy: str, start: str, tmp_path: Path) -> None:
    model = _fit(tmp_path, strategy=strategy, start=start, feature_fraction=1.0, learning_rate=0.1, trees=150)
    held = _windows(460, 590)
    said = model.forward(model.encode(held)).reshape(130, 3, 4)
    truth = model.task.target(held)[:, :, 0]
    # The next step is told by w at the origin; not to know it is 5 off, as later steps are.
    assert np.abs(said[:, 0, 0] - truth[:, 0]).mean() < 4
    assert 4 < np.abs(said[:, 2, 0] - truth[:, 2]).mean() < 6.5


@pytest.mark.parametrize("pooled", [True, False])
def test_each_target_is_told_how_far_its_own_value_at_the_origin_is_from_the_start(pooled: bool) -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    steps = np.zeros((3, 2, 1), dtype=np.float32)
    start = np.random.default_rng(0).random((3, 2, 2), dtype=np.float32)
    windows, ahead = np.array([2, 0]), np.array([1, 0])
    prepared = _Prepared(base, steps, start, start, origin=(1, 3))
    for target, column in ((0, 1), (1, 3)):
        told = prepared.matrix(target, windows, ahead, pooled)[:, 6]
        np.testing.assert_array_equal(told, base[windows, column] - start[windows, ahead, target])
    plain = _Prepared(base, steps, start, start).matrix(0, windows, ahead, pooled)
    assert plain.shape == (2, 7 if pooled else 6)


def test_trees_saved_before_that_was_told_are_opened_without_it(tmp_path: Path) -> None:
    model = _fit(tmp_path, start="last", trees=5)
    model.save(tmp_path / "model")
    file = tmp_path / "model" / "estimator.json"
    content = json.loads(file.read_text())
    assert content.pop("origin") == []
    file.write_text(json.dumps(content))
    again = type(model).load(model.task, tmp_path / "model")
    held = _windows(460, 470)
    np.testing.assert_array_equal(again.forward(again.encode(held)), model.forward(model.encode(held)))


def test_the_number_of_trees_is_chosen_and_grown_again_on_all_rows(tmp_path: Path) -> None:
    chosen = _fit(tmp_path, trees=200)
    details = chosen.details()
    assert all(1 <= trees < 200 for trees in details["trees"].values())  # stopped early
    assert details["windows"] == 388 + 40
    assert _fit(tmp_path, refit=False).details()["windows"] == 388
    assert _fit(tmp_path, selection="fold").details()["windows"] == 388  # those rows judge: they may not be learned
    assert set(_fit(tmp_path, valid=False, trees=7).details()["trees"].values()) == {7}


def test_bands_come_from_boosters_of_their_own_or_from_held_out_errors(tmp_path: Path) -> None:
    own, errors = _fit(tmp_path), _fit(tmp_path, bands="errors")
    assert own.details()["boosters"] == 4
    assert errors.details()["boosters"] == 1
    held = _windows(460, 590)
    truth = own.task.target(held)[:, 2, 0]
    for model in (own, errors):
        low, high = model.forward(model.encode(held)).reshape(130, 3, 4)[:, 2, [1, 3]].T
        assert 0.6 < ((truth >= low) & (truth <= high)).mean() <= 1.0


def test_windows_are_thinned_to_the_most_rows(tmp_path: Path) -> None:
    assert _fit(tmp_path, most_rows=300).details()["windows"] == 100  # three steps of each


def test_boosters_that_share_their_bins_are_those_grown_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(500, 3)).astype(np.float32)
    sample = Sample(matrix, matrix[:, 0] + matrix[:, 1] ** 2)
    own = {"seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 4, "verbosity": -1}
    goals = [{"objective": "regression", "metric": "rmse"}] + [
        {"objective": "quantile", "metric": "quantile", "alpha": level} for level in (0.1, 0.9)
    ]
    context = FitContext(folder=tmp_path, cache=tmp_path, seed=0, metric=find_metric("rmse"))
    shared = put_in_bins(sample, sample, own)
    assert shared.threads == 1  # so few rows
    for goal in goals:
        alone = lightgbm.train({**own, "num_threads": 1, **goal}, lightgbm.Dataset(matrix, sample.label), 20)
        text, trees = grow(shared, {**own, **goal}, rounds=20, stopping=None, context=context, what="y")
        assert trees == 20
        grown = lightgbm.Booster(model_str=text)
        np.testing.assert_allclose(grown.predict(matrix), alone.predict(matrix), rtol=1e-12)
