"""Reliability bins against scikit-learn, and the error that few rows show by chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from sanmaru.metrics.calibration import class_reliability, reliability


@given(st.integers(0, 1000), st.integers(2, 200))
def test_bins_are_those_of_scikit_learn(seed: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.random(n_rows)
    happened = rng.random(n_rows) < probability
    happened[0] = ~happened[1]  # scikit-learn wants both outcomes
    found = reliability(probability, happened, bins=10)
    observed, predicted = calibration_curve(happened, probability, n_bins=10)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert found.count.sum() == n_rows


def test_expected_error_by_hand() -> None:
    # Bin 0.2-0.3: predicted 0.25, observed 0.5; bin 0.9-1: predicted 1, observed 1. Mean of 0.25, 0.25, 0, 0.
    found = reliability(np.array([0.25, 0.25, 1.0, 1.0]), np.array([True, False, True, True]))
    assert found.expected_error == pytest.approx(0.125)


def test_weights_count_rows_repeatedly() -> None:
    probability, happened = np.array([0.1, 0.12, 0.8]), np.array([True, False, True])
    weighed = reliability(probability, happened, sample_weight=np.array([2, 1, 3]))
    rows = [0, 0, 1, 2, 2, 2]
    assert weighed.expected_error == pytest.approx(reliability(probability[rows], happened[rows]).expected_error)


def test_chance_alone_explains_the_error_of_calibrated_predictions() -> None:
    rng = np.random.default_rng(0)
    errors, chances = [], []
    for _ in range(200):
        probability = rng.random(300)
        found = reliability(probability, rng.random(300) < probability)
        errors.append(found.expected_error)
        chances.append(found.error_by_chance)
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.05)


def test_two_classes_are_judged_by_the_second_and_more_by_the_chosen_one() -> None:
    two = class_reliability(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    np.testing.assert_allclose(two.predicted, [0.1, 0.8])
    three = class_reliability(np.array([0, 1]), np.array([[0.7, 0.2, 0.1], [0.1, 0.4, 0.5]]))
    np.testing.assert_allclose(three.predicted, [0.5, 0.7])
    np.testing.assert_allclose(three.observed, [0.0, 1.0])
