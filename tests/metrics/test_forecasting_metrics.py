"""Metrics of forecasts against scikit-learn and plain loops, with values missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from sanmaru.metrics.base import find_metric
from sanmaru.metrics.bootstrap import interval, paired
from sanmaru.metrics.forecasting import coverage, forecast_records, levels_of, seasonal_scale, truth_records

LEVELS = (0.1, 0.5, 0.9)


def _sample(
    seed: int, n: int = 20, horizon: int = 4, targets: int = 1, missing: float = 0.2
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 3, size=(n, horizon, targets))
    values[rng.random(values.shape) < missing] = np.nan
    outputs = np.sort(rng.normal(10, 3, size=(n, horizon, targets, 4)), axis=-1)
    return truth_records(values, rng.exponential(size=(n, targets)) + 0.5), forecast_records(outputs, LEVELS)


@pytest.mark.parametrize(("name", "reference"), [("mae", mean_absolute_error), ("rmse", root_mean_squared_error)])
def test_missing_values_count_for_nothing(name: str, reference) -> None:
    truth, scored = _sample(0)
    known = ~np.isnan(truth["value"])
    expected = reference(truth["value"][known], scored["point"][known])
    assert find_metric(name)(truth, scored) == pytest.approx(expected)


def test_pinball_is_scikit_learns_averaged_over_the_levels() -> None:
    truth, scored = _sample(1)
    known = ~np.isnan(truth["value"])
    losses = [mean_pinball_loss(truth["value"][known], scored[f"{q:g}"][known], alpha=q) for q in LEVELS]
    assert find_metric("pinball")(truth, scored) == pytest.approx(np.mean(losses))
    assert levels_of(scored) == LEVELS


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), targets=st.integers(1, 3), missing=st.sampled_from([0.0, 0.5, 0.95]))
def test_mase_and_coverage_are_those_of_a_plain_loop(seed: int, targets: int, missing: float) -> None:
    truth, scored = _sample(seed, targets=targets, missing=missing)
    of_target, inside, n_known = [], 0, 0
    for target in range(targets):
        losses = []
        for row in range(len(truth)):
            for step in range(4):
                value = truth["value"][row, step, target]
                if math.isnan(value):
                    continue
                losses.append(abs(value - scored["point"][row, step, target]) / truth["scale"][row, target])
                n_known += 1
                inside += scored["0.1"][row, step, target] <= value <= scored["0.9"][row, step, target]
        of_target += [np.mean(losses)] if losses else []
    expected = np.mean(of_target) if of_target else float("nan")
    np.testing.assert_allclose(find_metric("mase")(truth, scored), expected)
    np.testing.assert_allclose(coverage(truth, scored), inside / n_known if n_known else float("nan"))


def test_the_coverage_gap_is_the_distance_from_what_is_promised() -> None:
    truth, scored = _sample(2)
    assert find_metric("coverage_gap")(truth, scored) == pytest.approx(abs(coverage(truth, scored) - 0.8))


def test_the_scale_is_seasonal_naive_in_the_past_and_none_for_a_constant() -> None:
    values = np.array([[[1.0], [5.0], [2.0], [np.nan], [6.0]], [[3.0]] * 5])
    # Two steps apart: |2 - 1|, and |6 - 2|; the pairs with the gap are left out.
    np.testing.assert_allclose(seasonal_scale(values, 2), [[2.5], [np.nan]])


def test_series_without_a_scale_are_left_out_of_mase() -> None:
    values = np.array([[[4.0]], [[8.0]]])
    truth = truth_records(values, np.array([[2.0], [np.nan]]))
    scored = forecast_records(np.zeros((2, 1, 1, 1)), ())
    assert find_metric("mase")(truth, scored) == 2.0
    assert math.isnan(find_metric("pinball")(truth, scored))


def test_a_forecast_that_is_better_in_every_block_is_found_better() -> None:
    truth, scored = _sample(3, n=60, missing=0.1)
    worse = scored.copy()
    worse["point"] += np.where(worse["point"] > truth["value"], 2.0, -2.0)
    blocks, folds = np.arange(60) // 6, np.arange(60) // 20
    found = paired(find_metric("mae"), truth, scored, worse, groups=blocks, folds=folds)
    assert found.a_better
    low, high = interval(find_metric("mae"), truth, scored, groups=blocks)
    assert low < find_metric("mae")(truth, scored) < high


def test_the_interval_of_dependent_windows_is_wider_by_blocks() -> None:
    # Ten windows of a block share their error: single windows would promise ten times what is known.
    rng = np.random.default_rng(4)
    errors = np.repeat(rng.normal(size=20), 10)
    truth = truth_records(errors[:, None, None], np.ones((200, 1)))
    scored = forecast_records(np.zeros((200, 1, 1, 1)), ())
    rows = interval(find_metric("mae"), truth, scored)
    blocks = interval(find_metric("mae"), truth, scored, groups=np.arange(200) // 10)
    assert blocks[1] - blocks[0] > 2 * (rows[1] - rows[0])
