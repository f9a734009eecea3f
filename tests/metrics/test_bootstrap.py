"""Intervals against theory and scipy, groups, and verdicts on pairs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sanmaru.metrics import bootstrap
from sanmaru.metrics.base import find_metric
from sanmaru.metrics.bootstrap import interval, paired

MAE, ACCURACY, RMSE = find_metric("mae"), find_metric("accuracy"), find_metric("rmse")


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = np.zeros(400), rng.exponential(size=400)
    low, high = interval(MAE, truth, predicted, rounds=4000)
    theirs = stats.bootstrap((predicted,), np.mean, n_resamples=4000, method="percentile", rng=rng)
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 1000)
    probs = np.eye(2)[np.where(rng.random(1000) < 0.8, truth, 1 - truth)]
    share = ACCURACY(truth, probs)
    half = 1.96 * np.sqrt(share * (1 - share) / 1000)
    assert interval(ACCURACY, truth, probs) == pytest.approx((share - half, share + half), abs=0.004)


def test_rows_of_a_group_are_drawn_together() -> None:
    # 40 entities of 25 rows that share one error: there are only 40 independent values.
    rng = np.random.default_rng(2)
    groups = np.repeat([f"entity {n}" for n in range(40)], 25)
    error = np.repeat(rng.exponential(size=40), 25)
    low, high = interval(MAE, np.zeros(1000), error, groups=groups)
    narrow = interval(MAE, np.zeros(1000), error)
    assert (high - low) / (narrow[1] - narrow[0]) == pytest.approx(5.0, rel=0.15)  # sqrt(25)


def test_more_rows_than_units_are_bundled_without_changing_the_interval(monkeypatch) -> None:
    error = np.random.default_rng(3).exponential(size=6000)
    exact = interval(MAE, np.zeros(6000), error)
    monkeypatch.setattr(bootstrap, "MOST_UNITS", 2000)
    assert interval(MAE, np.zeros(6000), error) == pytest.approx(exact, abs=0.005)


def test_the_same_seed_gives_the_same_interval() -> None:
    error = np.random.default_rng(3).exponential(size=50)
    assert interval(MAE, np.zeros(50), error, seed=4) == interval(MAE, np.zeros(50), error, seed=4)
    assert interval(MAE, np.zeros(50), error, seed=4) != interval(MAE, np.zeros(50), error, seed=5)


def test_no_value_in_any_draw_gives_nan() -> None:
    low, high = interval(find_metric("roc_auc"), np.zeros(5, dtype=int), np.full((5, 2), 0.5))
    assert np.isnan(low)
    assert np.isnan(high)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_swapping_the_runs_turns_the_verdict_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=60)
    a, b, folds = truth + rng.normal(size=60), truth + 1.3 * rng.normal(size=60), np.arange(60) % 5
    there = paired(RMSE, truth, a, b, folds=folds, rounds=200)
    back = paired(RMSE, truth, b, a, folds=folds, rounds=200)
    assert back.difference == pytest.approx(-there.difference)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert (there.a_better, there.b_better, there.none) == (back.b_better, back.a_better, back.none)


def test_the_better_run_is_named_by_the_metrics_direction() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    found = paired(RMSE, truth, truth + 0.1 * rng.normal(size=500), truth + rng.normal(size=500))
    assert found.a_better
    assert found.high < 0  # a smaller error
    classes = rng.integers(0, 2, 500)
    sure = np.eye(2)[classes]
    found = paired(ACCURACY, classes, sure, np.eye(2)[rng.integers(0, 2, 500)])
    assert found.a_better
    assert found.low > 0


def test_equal_predictions_show_no_difference() -> None:
    truth = np.random.default_rng(0).normal(size=100)
    found = paired(RMSE, truth, truth + 1, truth + 1, folds=np.arange(100) % 5)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert found.none


def test_folds_that_disagree_widen_the_interval() -> None:
    # In three folds A is far better, in two B is: rows alone would call A better.
    rng = np.random.default_rng(0)
    folds = np.repeat(np.arange(5), 200)
    error_a = np.abs(rng.normal(size=1000)) + np.where(folds < 3, 0.0, 1.0)
    error_b = np.abs(rng.normal(size=1000)) + np.where(folds < 3, 1.0, 0.0)
    rows_only = paired(MAE, np.zeros(1000), error_a, error_b)
    with_folds = paired(MAE, np.zeros(1000), error_a, error_b, folds=folds)
    assert rows_only.a_better
    assert with_folds.none
    assert with_folds.widened > 3


def test_folds_that_agree_leave_the_interval_as_it_is() -> None:
    # Neighbours of a sorted list go to different folds, so that the folds are alike.
    error_a = np.sort(np.abs(np.random.default_rng(0).normal(size=1000)))
    found = paired(MAE, np.zeros(1000), error_a, 1.1 * error_a, folds=np.arange(1000) % 5)
    assert found.widened == pytest.approx(1.0, abs=0.03)


def test_intervals_hold_the_true_value_in_95_of_100_samples() -> None:
    held = 0
    for seed in range(200):
        predicted = np.random.default_rng(seed).exponential(size=150)
        low, high = interval(MAE, np.zeros(150), predicted, seed=seed, rounds=400)
        held += low <= 1.0 <= high
    assert 0.90 <= held / 200 <= 0.98


def test_twenty_thousand_rows_take_a_second_or_two() -> None:
    rng = np.random.default_rng(0)
    truth, probs = rng.integers(0, 5, 20_000), rng.dirichlet(np.ones(5), 20_000)
    began = time.perf_counter()
    interval(find_metric("macro_f1"), truth, probs)
    assert time.perf_counter() - began < 5  # 0.2 s on a quiet core


def test_a_fold_on_another_scale_widens_the_verdict_on_a_pooled_roc_auc() -> None:
    # Within every fold both rank alike, but in one fold A's probabilities are squeezed, which spoils the pooled order.
    rng = np.random.default_rng(0)
    chance = rng.random(2000)
    truth = (rng.random(2000) < chance).astype(int)
    folds = np.arange(2000) % 5
    squeezed = np.where(folds == 0, 0.4 + 0.2 * chance**4, chance)
    a, b = (np.column_stack([1 - values, values]) for values in (squeezed, chance))
    auc = find_metric("roc_auc")
    assert paired(auc, truth, a, b).b_better
    assert paired(auc, truth, a, b, folds=folds).none


@given(st.integers(0, 1000))
def test_pseudo_values_of_a_mean_are_the_folds_own_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, folds = rng.normal(size=40), rng.normal(size=40), rng.integers(0, 3, 40)
    pseudo_values, shares = bootstrap._jackknife(MAE, np.zeros(40), a, b, folds=folds)
    own = [np.abs(a[folds == fold]).mean() - np.abs(b[folds == fold]).mean() for fold in np.unique(folds)]
    np.testing.assert_allclose(pseudo_values, own, atol=1e-12)
    assert shares.sum() == pytest.approx(1)
