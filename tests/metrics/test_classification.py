"""Classification metrics against scikit-learn, with weights, and on the cases that scikit-learn leaves open."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sanmaru.metrics.classification import (
    EPSILON,
    METRICS,
    accuracy,
    confusion,
    log_loss,
    macro_f1,
    macro_f1_of,
    precision_recall_f1,
    roc_auc,
)
from sanmaru.metrics.names import CLASSIFICATION, GREATER_IS_BETTER


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth that holds every class, probabilities with some ties, and weights (some 0)."""
    n_classes = draw(st.integers(2, 5))
    n_rows = draw(st.integers(2 * n_classes, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n_rows - n_classes)])
    probs = np.round(rng.dirichlet(np.ones(n_classes), n_rows), 1) + 0.01
    weight = rng.integers(0, 4, n_rows).astype(float)
    weight[:n_classes] = 1.0
    return truth, probs / probs.sum(axis=1, keepdims=True), weight


@given(samples())
def test_accuracy_and_log_loss_are_those_of_scikit_learn(sample: tuple[np.ndarray, ...]) -> None:
    truth, probs, weight = sample
    labels = np.arange(probs.shape[1])
    for w in (None, weight):
        expected = reference.accuracy_score(truth, probs.argmax(axis=1), sample_weight=w)
        assert accuracy(truth, probs, w) == pytest.approx(expected)
        expected = reference.log_loss(truth, probs, sample_weight=w, labels=labels)
        assert log_loss(truth, probs, w) == pytest.approx(expected)


@given(samples())
def test_macro_f1_is_that_of_scikit_learn_on_rows_repeated_by_weight(sample: tuple[np.ndarray, ...]) -> None:
    truth, probs, weight = sample
    predicted = probs.argmax(axis=1)
    assert macro_f1(truth, probs) == pytest.approx(reference.f1_score(truth, predicted, average="macro"))
    rows = np.repeat(np.arange(len(truth)), weight.astype(int))
    expected = reference.f1_score(truth[rows], predicted[rows], average="macro")
    assert macro_f1(truth, probs, weight) == pytest.approx(expected)


@given(samples())
def test_roc_auc_is_that_of_scikit_learn(sample: tuple[np.ndarray, ...]) -> None:
    truth, probs, weight = sample
    for w in (None, weight):
        if probs.shape[1] == 2:
            expected = reference.roc_auc_score(truth, probs[:, 1], sample_weight=w)
        else:
            expected = reference.roc_auc_score(truth, probs, sample_weight=w, multi_class="ovr", average="macro")
        assert roc_auc(truth, probs, w) == pytest.approx(expected)


@given(samples())
def test_confusion_and_per_class_scores_are_those_of_scikit_learn(sample: tuple[np.ndarray, ...]) -> None:
    truth, probs, weight = sample
    predicted, labels = probs.argmax(axis=1), np.arange(probs.shape[1])
    matrix = confusion(truth, predicted, probs.shape[1], weight)
    np.testing.assert_allclose(
        matrix, reference.confusion_matrix(truth, predicted, labels=labels, sample_weight=weight)
    )
    ours = precision_recall_f1(matrix)
    theirs = reference.precision_recall_fscore_support(
        truth, predicted, labels=labels, sample_weight=weight, zero_division=0
    )
    for mine, other in zip(ours, theirs[:3], strict=True):
        np.testing.assert_allclose(mine, other)


@given(samples())
def test_a_row_of_weight_zero_counts_as_a_row_that_is_not_there(sample: tuple[np.ndarray, ...]) -> None:
    truth, probs, weight = sample
    kept = weight > 0
    for metric in METRICS:
        left_out = metric(truth[kept], probs[kept], weight[kept])
        assert metric(truth, probs, weight) == pytest.approx(left_out, nan_ok=True)


def test_roc_auc_leaves_out_classes_that_the_truth_lacks() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    # Class 2 never occurs; classes 0 and 1 are ranked without a mistake.
    assert roc_auc(np.array([0, 1, 0]), probs) == 1.0
    assert np.isnan(roc_auc(np.array([1, 1, 1]), probs))
    assert np.isnan(roc_auc(np.array([1, 1]), np.array([[0.1, 0.9], [0.8, 0.2]])))


def test_macro_f1_leaves_out_classes_that_occur_nowhere() -> None:
    probs = np.eye(3)[[0, 1, 1]]
    assert macro_f1(np.array([0, 1, 1]), probs) == 1.0
    assert np.isnan(macro_f1_of(np.zeros((2, 2))))


def test_log_loss_of_certainty_in_a_wrong_class_is_large_and_finite() -> None:
    assert log_loss(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(-np.log(EPSILON))


def test_the_metrics_are_those_that_project_files_may_name() -> None:
    assert tuple(metric.name for metric in METRICS) == CLASSIFICATION
    assert all(metric.greater_is_better == (metric.name in GREATER_IS_BETTER) for metric in METRICS)


def test_no_rows_have_no_score() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert all(np.isnan(metric(nothing, np.empty((0, 3)))) for metric in METRICS)
