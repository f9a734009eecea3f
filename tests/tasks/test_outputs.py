"""Probabilities, logits and their means."""

from __future__ import annotations

import numpy as np
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.tasks.outputs import mean_outputs, softmax, to_logits


@given(st.integers(0, 1000), st.floats(0.1, 200))
def test_softmax_is_that_of_scipy_and_to_logits_turns_it_back(seed: int, scale: float) -> None:
    logits = (np.random.default_rng(seed).normal(size=(5, 3)) * scale).astype(np.float32)
    probs = softmax(logits)
    np.testing.assert_allclose(probs, scipy.special.softmax(logits.astype(float), axis=1), atol=1e-12)
    np.testing.assert_allclose(softmax(to_logits(probs)), probs, atol=1e-5)


def test_impossible_classes_have_finite_logits() -> None:
    assert np.isfinite(to_logits(np.array([[1.0, 0.0]]))).all()


def test_classes_are_averaged_as_probabilities_and_numbers_as_numbers() -> None:
    a, b = to_logits(np.array([[0.9, 0.1]])), to_logits(np.array([[0.5, 0.5]]))
    np.testing.assert_allclose(softmax(mean_outputs([a, b], "classification")), [[0.7, 0.3]], atol=1e-6)
    np.testing.assert_allclose(softmax(mean_outputs([a, b], "classification", [3, 1])), [[0.8, 0.2]], atol=1e-6)
    numbers = [np.array([[1.0]], dtype=np.float32), np.array([[4.0]], dtype=np.float32)]
    mean = mean_outputs(numbers, "regression")
    assert mean.dtype == np.float32
    assert mean[0, 0] == 2.5
