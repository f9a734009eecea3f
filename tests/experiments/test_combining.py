"""What is learned of a combination, and that nothing of a fold's own rows is learned for it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sanmaru.errors import RunError
from sanmaru.experiments.combining import as_scored, best_first, learn, nested
from sanmaru.metrics.base import find_metric
from sanmaru.packages.combine import METHODS, combine, stack_features
from sanmaru.tasks.outputs import softmax

RMSE, LOG_LOSS, ACCURACY = find_metric("rmse"), find_metric("log_loss"), find_metric("accuracy")


def numbers(n_rows: int = 400) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Three models of a number, with errors of spread 1, 2 and 8 that are independent."""
    rng = np.random.default_rng(0)
    truth = rng.normal(50, 10, n_rows)
    outputs = [(truth + spread * rng.normal(size=n_rows))[:, None].astype(np.float32) for spread in (1.0, 2.0, 8.0)]
    return outputs, truth, np.arange(n_rows) % 5


def classes(n_classes: int = 3, n_rows: int = 600) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    signal = rng.normal(size=(n_rows, n_classes))
    truth = (signal + rng.gumbel(size=(n_rows, n_classes))).argmax(axis=1)
    outputs = [(signal + spread * rng.normal(size=signal.shape)).astype(np.float32) for spread in (0.5, 0.7, 3.0)]
    return outputs, truth, np.arange(n_rows) % 5


def test_weights_of_independent_errors_go_by_their_variance() -> None:
    outputs, truth, folds = numbers(20_000)
    weights = learn("weights", outputs, truth, folds, metric=RMSE)["weights"]
    inverse = 1 / np.array([1.0, 4.0, 64.0])
    np.testing.assert_allclose(weights, inverse / inverse.sum(), atol=0.02)


def test_weights_are_the_best_on_a_grid_of_the_simplex() -> None:
    outputs, truth, folds = classes()
    spec = learn("weights", outputs, truth, folds, metric=LOG_LOSS)
    found = LOG_LOSS(truth, softmax(combine(spec, outputs, "classification")))
    grid = [(a, b, 20 - a - b) for a in range(21) for b in range(21 - a)]
    others = [
        LOG_LOSS(truth, softmax(combine({"method": "weights", "weights": w}, outputs, "classification"))) for w in grid
    ]
    assert found <= min(others) + 1e-6
    assert sum(spec["weights"]) == pytest.approx(1)
    assert min(spec["weights"]) >= 0


def test_the_greedy_search_is_no_worse_than_its_best_member_and_leaves_out_the_useless() -> None:
    outputs, truth, folds = numbers()
    spec = learn("greedy", outputs, truth, folds, metric=RMSE)
    found = RMSE(truth, as_scored(combine(spec, outputs, "regression"), "regression"))
    assert found <= RMSE(truth, as_scored(outputs[0], "regression"))
    assert spec["weights"][2] < 0.1
    assert sum(spec["weights"]) == pytest.approx(1)


def test_hard_votes_learn_who_is_best() -> None:
    outputs, truth, folds = classes()
    assert learn("hard", [outputs[2], outputs[0], outputs[1]], truth, folds, metric=ACCURACY)["order"][2] == 0
    assert best_first([outputs[0]] * 2, truth, ACCURACY) == [0, 1]


def test_a_stack_of_two_classes_is_the_logistic_regression_of_scikit_learn() -> None:
    outputs, truth, folds = classes(2)
    spec = learn("stack", outputs, truth, folds, metric=LOG_LOSS)
    features = stack_features(outputs, "classification")
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LogisticRegression(C=1 / (spec["penalty"] * len(truth)), max_iter=1000, tol=1e-5).fit(scaled, truth)
    expected = model.predict_proba(scaled)
    np.testing.assert_allclose(softmax(combine(spec, outputs, "classification")), expected, atol=1e-5)


def test_a_stack_corrects_a_model_that_is_off() -> None:
    outputs, truth, folds = numbers()
    off = [outputs[0] * 3 + 100]
    held_out = nested("stack", off, truth, folds, metric=RMSE)
    assert RMSE(truth, held_out[:, 0].astype(float)) == pytest.approx(1.0, abs=0.15)


def test_a_stack_copes_with_a_class_that_some_folds_lack() -> None:
    outputs, truth, folds = classes(4)
    folds = np.where(truth == 3, 0, folds)
    held_out = nested("stack", outputs, truth, folds, metric=LOG_LOSS)
    assert np.isfinite(LOG_LOSS(truth, softmax(held_out)))
    two_left = np.where(truth >= 2, 0, folds % 2 + 1)
    assert np.isfinite(nested("stack", outputs, truth, two_left, metric=LOG_LOSS)).all()


def test_ranks_make_scales_equal() -> None:
    outputs, truth, folds = numbers()
    same = learn("rank", [outputs[0], outputs[0] * 1000 - 7], truth, folds, metric=RMSE)
    mixed = combine(same, [outputs[0], outputs[0] * 1000 - 7], "regression")[:, 0]
    assert (np.argsort(mixed) == np.argsort(outputs[0][:, 0])).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["binary", "classes", "regression"])
def test_a_fold_does_not_see_its_own_targets(method: str, kind: str) -> None:
    outputs, truth, folds = numbers(150) if kind == "regression" else classes(2 if kind == "binary" else 3, 150)
    metric = RMSE if kind == "regression" else LOG_LOSS
    before = nested(method, outputs, truth, folds, metric=metric)
    assert before.shape == outputs[0].shape
    changed = truth.copy()
    held = folds == 2
    changed[held] = changed[held][::-1]
    after = nested(method, outputs, changed, folds, metric=metric)
    np.testing.assert_array_equal(after[held], before[held])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_no_worse_than_a_member_of_the_same_quality(method: str) -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(size=900)
    outputs = [(truth + rng.normal(size=900))[:, None].astype(np.float32) for _ in range(5)]
    held_out = nested(method, outputs, truth, np.arange(900) % 5, metric=RMSE)
    # The mean of five independent errors of spread 1 has spread 0.45.
    assert RMSE(truth, held_out[:, 0].astype(float)) < 0.62


def test_noise_is_not_reported_as_gain() -> None:
    # Members that know nothing: learned on all rows a stack looks better than chance, nested it does not.
    rng = np.random.default_rng(0)
    truth, folds = rng.integers(0, 2, 200), np.arange(200) % 5
    outputs = [rng.normal(size=(200, 2)).astype(np.float32) for _ in range(30)]
    seen = combine(learn("stack", outputs, truth, folds, metric=ACCURACY), outputs, "classification")
    held_out = nested("stack", outputs, truth, folds, metric=ACCURACY)
    assert ACCURACY(truth, softmax(seen)) > 0.6
    assert ACCURACY(truth, softmax(held_out)) < 0.57


def test_one_fold_is_too_few_to_learn_from() -> None:
    outputs, truth, folds = numbers()
    with pytest.raises(RunError, match="these runs validated one fold only"):
        nested("greedy", outputs, truth, np.zeros_like(folds), metric=RMSE)
    assert nested("soft", outputs, truth, np.zeros_like(folds), metric=RMSE).shape == outputs[0].shape
    # With two folds a stack learns on one and takes its usual penalty.
    assert np.isfinite(nested("stack", outputs, truth, folds % 2, metric=RMSE)).all()


def test_an_unknown_method_is_refused() -> None:
    outputs, truth, folds = numbers()
    with pytest.raises(RunError, match=r"unknown method 'stak'. Did you mean 'stack'\?"):
        learn("stak", outputs, truth, folds, metric=RMSE)
