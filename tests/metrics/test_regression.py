"""Regression metrics against scikit-learn, with weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sanmaru.errors import DataError
from sanmaru.metrics.names import GREATER_IS_BETTER, REGRESSION
from sanmaru.metrics.regression import METRICS, is_defined, mae, mape, r2, rmse, rmsle


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_rows = draw(st.integers(2, 50))
    truth = rng.exponential(10.0, n_rows)
    weight = rng.integers(0, 4, n_rows).astype(float)
    weight[:2] = 1.0
    return truth, np.abs(truth + rng.normal(0, 3.0, n_rows)), weight


@given(samples())
def test_values_are_those_of_scikit_learn(sample: tuple[np.ndarray, ...]) -> None:
    truth, predicted, weight = sample
    for w in (None, weight):
        for ours, theirs in (
            (rmse, reference.root_mean_squared_error),
            (mae, reference.mean_absolute_error),
            (rmsle, reference.root_mean_squared_log_error),
            (mape, reference.mean_absolute_percentage_error),
            (r2, reference.r2_score),
        ):
            assert ours(truth, predicted, w) == pytest.approx(theirs(truth, predicted, sample_weight=w))


@given(samples())
def test_a_row_of_weight_zero_counts_as_a_row_that_is_not_there(sample: tuple[np.ndarray, ...]) -> None:
    truth, predicted, weight = sample
    kept = weight > 0
    for metric in METRICS:
        assert metric(truth, predicted, weight) == pytest.approx(metric(truth[kept], predicted[kept], weight[kept]))


def test_rmsle_refuses_a_negative_truth_and_clips_negative_predictions() -> None:
    with pytest.raises(DataError, match=r"rmsle needs targets of 0 or more, and 1 of 2 are below 0 \(smallest -2\)"):
        rmsle(np.array([1.0, -2.0]), np.array([1.0, 1.0]))
    assert rmsle(np.array([0.0]), np.array([-5.0])) == 0.0


def test_r2_of_a_constant_truth() -> None:
    constant = np.full(3, 2.0)
    assert r2(constant, constant) == 1.0
    assert r2(constant, np.array([2.0, 2.0, 3.0])) == 0.0


def test_metrics_say_for_which_truth_they_are_defined() -> None:
    assert [name for name in REGRESSION if is_defined(name, np.array([-1.0, 2.0]))] == ["rmse", "mae", "mape", "r2"]
    assert [name for name in REGRESSION if is_defined(name, np.array([0.0, 2.0]))] == ["rmse", "mae", "rmsle", "r2"]


def test_the_metrics_are_those_that_project_files_may_name() -> None:
    assert tuple(metric.name for metric in METRICS) == REGRESSION
    assert all(metric.greater_is_better == (metric.name in GREATER_IS_BETTER) for metric in METRICS)


def test_no_rows_have_no_score() -> None:
    assert all(np.isnan(metric(np.empty(0), np.empty(0))) for metric in METRICS)
