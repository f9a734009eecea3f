from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from sanmaru.tasks.tabular import penalty


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    dense = generator.normal(size=(120, 6))
    dense[:, 5] = generator.random(120) < 0.3
    target = dense @ np.array([3.0, -2, 0, 0, 1, 4]) + generator.normal(size=120) + 1e6
    return sparse.csr_matrix(dense), target


@pytest.mark.parametrize("strength", [1e-4, 0.1, 10.0])
def test_ridge_equals_that_of_scikit_learn(data, strength):
    from sklearn.linear_model import Ridge

    design, target = data
    reference = Ridge(alpha=strength * len(target), solver="cholesky").fit(design.toarray(), target)
    fitted = penalty.ridge(design, target, strength)
    np.testing.assert_allclose(fitted.weights[:, 0], reference.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.intercept, reference.intercept_, rtol=1e-9)


def test_wide_ridge_is_solved_as_narrow_ridge_is(data, monkeypatch):
    design, target = data
    exact, (_, tried) = penalty.ridge(design, target, 0.01), penalty.choose_ridge(design, target, 0)
    monkeypatch.setattr(penalty, "EXACT_WIDTH", 0)
    fitted, (chosen, wide) = penalty.ridge(design, target, 0.01), penalty.choose_ridge(design, target, 0)
    np.testing.assert_allclose(fitted.weights, exact.weights, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(fitted.intercept, exact.intercept, rtol=1e-6)
    assert wide[chosen] == min(wide.values()) == pytest.approx(min(tried.values()), rel=0.05)


def test_the_chosen_ridge_penalty_is_the_one_a_plain_loop_finds(data):
    from sklearn.linear_model import Ridge

    design, target = data
    noisy = target + np.random.default_rng(1).normal(scale=20, size=len(target))
    chosen, tried = penalty.choose_ridge(design, noisy, seed=5)
    parts = penalty.draw_parts(len(noisy), penalty.RIDGE_PARTS, 5)
    for strength, rmse in tried.items():
        errors = []
        for part in range(penalty.RIDGE_PARTS):
            kept, held = parts != part, parts == part
            model = Ridge(alpha=strength * kept.sum(), solver="cholesky").fit(design[kept].toarray(), noisy[kept])
            errors.append((noisy[held] - model.predict(design[held].toarray())) ** 2)
        assert rmse == pytest.approx(np.sqrt(np.concatenate(errors).mean()), rel=1e-6)
    assert tried[chosen] == min(tried.values())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_is_that_of_scikit_learn_and_noise_gets_a_strong_penalty(data, n_classes):
    from sklearn.linear_model import LogisticRegression

    design, target = data
    codes = np.digitize(target, np.quantile(target, np.arange(1, n_classes) / n_classes))
    fitted = penalty.logistic(design, codes, n_classes, 0.01, None)
    reference = LogisticRegression(C=1 / (0.01 * len(codes)), tol=1e-8, max_iter=5000).fit(design.toarray(), codes)
    np.testing.assert_allclose(fitted.weights.T, reference.coef_, atol=1e-2)
    weak, _ = penalty.choose_logistic(design, codes, n_classes, None, seed=0)
    noise = np.random.default_rng(2).permutation(codes)
    strong, _ = penalty.choose_logistic(design, noise, n_classes, None, seed=0)
    assert strong > weak


def test_classes_that_are_absent_stay_rare_and_possible(data):
    design, target = data
    codes = np.where(target > np.median(target), 3, 1)
    fitted = penalty.logistic(design, codes, 5, 0.01, None)
    scores = design @ fitted.weights + fitted.intercept
    assert set(scores.argmax(axis=1)) == {1, 3}
    probs = np.exp(penalty._log_probabilities(scores))
    assert (probs[:, [0, 2, 4]] < 0.01).all()
    assert (probs > 0).all()
    binary = penalty.logistic(design, (codes == 3).astype(np.int64), 2, 0.01, None)
    np.testing.assert_allclose(
        probs[:, 3] / (probs[:, 1] + probs[:, 3]),
        1 / (1 + np.exp(-(design @ binary.weights + binary.intercept)[:, 0])),
        atol=1e-6,
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_one_class_only_gives_its_smoothed_frequency(data, n_classes):
    design, target = data
    fitted = penalty.logistic(design, np.ones(len(target), dtype=np.int64), n_classes, 0.01, None)
    assert not fitted.weights.any()
    probs = np.exp(penalty._log_probabilities(fitted.intercept[None]))[0]
    np.testing.assert_allclose(probs[1], 120.5 / (120 + 0.5 * n_classes))


def test_a_fit_that_does_not_converge_says_so(data, monkeypatch):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(penalty, "_model", lambda strength, n: LogisticRegression(C=1e6, max_iter=1))
    design, target = data
    assert not penalty.logistic(design, (target > np.median(target)).astype(np.int64), 2, 1e-6, None).converged


def test_parts_keep_groups_whole_and_even():
    groups = np.repeat(np.arange(30), np.arange(30) % 5 + 1)
    parts = penalty.draw_parts(len(groups), 4, 0, groups)
    for group in range(30):
        assert len(set(parts[groups == group])) == 1
    sizes = np.bincount(parts, minlength=4)
    assert sizes.max() - sizes.min() <= 5
    few = penalty.draw_parts(6, 5, 0, np.array([0, 0, 0, 1, 1, 1]))
    assert len(set(few.tolist())) == 2


def test_a_penalty_chosen_over_groups_is_stronger_than_one_that_sees_them_on_both_sides():
    """Rows of a group share a level that thirty columns of its own can tell: worth nothing for a new group."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 6)
    own = generator.normal(size=(40, 30))[groups]
    features = generator.normal(size=(240, 3))
    target = features[:, 0] + 3 * generator.normal(size=40)[groups] + generator.normal(scale=0.1, size=240)
    design = sparse.csr_matrix(np.concatenate([features, own], axis=1))
    torn, _ = penalty.choose_ridge(design, target, 0)
    whole, tried = penalty.choose_ridge(design, target, 0, groups)
    assert whole > torn
    assert tried[whole] > 2
    codes = (target > 0).astype(np.int64)
    torn, _ = penalty.choose_logistic(design, codes, 2, None, seed=0)
    whole, _ = penalty.choose_logistic(design, codes, 2, None, seed=0, groups=groups)
    assert whole > torn
