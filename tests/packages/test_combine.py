"""Combining outputs, by hand and as properties."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.packages.combine import combine, hard_vote, log_softmax, stack_features
from sanmaru.tasks.outputs import softmax, to_logits


def probs(*rows: list[float]) -> np.ndarray:
    return to_logits(np.array(rows))


def numbers(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


A = probs([0.8, 0.2], [0.4, 0.6])
B = probs([0.4, 0.6], [0.1, 0.9])
C = probs([0.3, 0.7], [0.9, 0.1])


def test_soft_is_the_mean_probability() -> None:
    for method in ("soft", "mean"):
        found = softmax(combine({"method": method}, [A, B], "classification"))
        np.testing.assert_allclose(found, [[0.6, 0.4], [0.25, 0.75]], atol=1e-6)


def test_greedy_is_the_weighted_mean_probability_and_weights_the_weighted_mean_logit() -> None:
    spec = {"method": "greedy", "weights": [0.75, 0.25]}
    np.testing.assert_allclose(softmax(combine(spec, [A, B], "classification"))[0], [0.7, 0.3], atol=1e-6)
    spec = {"method": "weights", "weights": [0.75, 0.25]}
    odds = 0.75 * np.log(0.2 / 0.8) + 0.25 * np.log(0.6 / 0.4)
    found = softmax(combine(spec, [A, B], "classification"))[0, 1]
    assert found == pytest.approx(scipy.special.expit(odds), abs=1e-6)


def test_shifted_logits_are_the_same_model() -> None:
    spec = {"method": "weights", "weights": [0.5, 0.5]}
    np.testing.assert_allclose(
        combine(spec, [A + 7, B - 3], "classification"), combine(spec, [A, B], "classification"), atol=1e-5
    )


def test_a_hard_vote_follows_the_majority() -> None:
    found = softmax(combine({"method": "hard", "order": [0, 1, 2]}, [A, B, C], "classification"))
    assert found.argmax(axis=1).tolist() == [1, 1]
    # Two votes of three and one spread over two classes: (2 + 1/2) / 4.
    assert found[0, 1] == pytest.approx(2.5 / 4, abs=1e-3)


@pytest.mark.parametrize(("order", "winner"), [([0, 1], 0), ([1, 0], 1)])
def test_a_tie_goes_to_the_best_model(order: list[int], winner: int) -> None:
    assert hard_vote([A[:1], B[:1]], order).argmax(axis=1).tolist() == [winner]


def test_a_tie_goes_to_the_best_model_that_takes_part_in_it() -> None:
    one, two, three = (np.eye(3, dtype=np.float32)[[n]] for n in range(3))
    # Classes 1 and 2 have two votes each; the best model chose class 0 and has no say.
    assert hard_vote([one, two, three, two, three], [0, 4, 1, 2, 3]).argmax(axis=1).tolist() == [2]


@given(st.integers(0, 1000), st.integers(2, 6), st.integers(2, 4))
def test_hard_votes_never_choose_a_class_with_fewer_votes(seed: int, n_models: int, n_classes: int) -> None:
    rng = np.random.default_rng(seed)
    outputs = [rng.normal(size=(20, n_classes)).astype(np.float32) for _ in range(n_models)]
    chosen = hard_vote(outputs, list(range(n_models))).argmax(axis=1)
    votes = np.stack([np.bincount([o[row].argmax() for o in outputs], minlength=n_classes) for row in range(20)])
    assert (votes[np.arange(20), chosen] == votes.max(axis=1)).all()


def test_numbers_are_averaged_weighed_or_their_median_taken() -> None:
    outputs = [numbers(1, 10), numbers(2, 20), numbers(9, 90)]
    assert combine({"method": "soft"}, outputs, "regression")[:, 0].tolist() == [4.0, 40.0]
    assert combine({"method": "hard", "order": [0, 1, 2]}, outputs, "regression")[:, 0].tolist() == [2.0, 20.0]
    for method in ("weights", "greedy"):
        spec = {"method": method, "weights": [0.5, 0.5, 0.0]}
        assert combine(spec, outputs, "regression")[:, 0].tolist() == [1.5, 15.0]


def test_ranks_ignore_the_scale_of_a_model() -> None:
    # The second model's numbers are the first's times 1000: ranks agree, and the mean rank is mapped back to the mean.
    curve = {"value": [0.0, 1.0, 2.0], "rank": [0.1, 0.5, 0.9]}
    large = {"value": [0.0, 1000.0, 2000.0], "rank": [0.1, 0.5, 0.9]}
    spec = {"method": "rank", "knots": [[curve], [large]]}
    found = combine(spec, [numbers(0.0, 0.5), numbers(2000.0, 500.0)], "regression")
    np.testing.assert_allclose(found[:, 0], [(1.0 + 1000.0) / 2, (0.5 + 500.0) / 2], rtol=1e-6)


def test_a_stack_is_a_linear_model_on_the_outputs() -> None:
    spec = {"method": "stack", "coef": [[2.0, -1.0]], "intercept": [0.5]}
    odds = 2.0 * np.log(0.2 / 0.8) - np.log(0.6 / 0.4) + 0.5
    found = softmax(combine(spec, [A, B], "classification"))[0, 1]
    assert found == pytest.approx(scipy.special.expit(odds), abs=1e-6)
    assert combine(spec, [numbers(3.0), numbers(1.0)], "regression")[0, 0] == 5.5
    three = probs([0.2, 0.3, 0.5])
    spec = {"method": "stack", "coef": np.eye(3).tolist(), "intercept": [0.0, 0.0, 0.0]}
    np.testing.assert_allclose(softmax(combine(spec, [three], "classification")), [[0.2, 0.3, 0.5]], atol=1e-6)


def test_certainty_stays_finite_in_a_stack() -> None:
    assert np.isfinite(stack_features([np.array([[200.0, -200.0]], dtype=np.float32)], "classification")).all()
    assert np.isfinite(log_softmax(np.array([[200.0, -200.0]]))).all()


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_rows_are_combined_one_by_one_as_together(kind: str) -> None:
    rng = np.random.default_rng(0)
    outputs = [rng.normal(size=(9, 3 if kind == "classification" else 1)).astype(np.float32) for _ in range(2)]
    width = 3 if kind == "classification" else 1
    knots = [[{"value": [-1.0, 0.0, 1.0], "rank": [0.2, 0.5, 0.8]}] * width] * 2
    for spec in (
        {"method": "soft"},
        {"method": "hard", "order": [1, 0]},
        {"method": "weights", "weights": [0.4, 0.6]},
        {"method": "greedy", "weights": [0.4, 0.6]},
        {"method": "rank", "knots": knots},
        {"method": "stack", "coef": rng.normal(size=(width, 2 * width)).tolist(), "intercept": [0.1] * width},
    ):
        if kind == "classification" and spec["method"] == "rank":
            spec = {"method": "rank", "knots": [[{"value": [0.0, 0.5, 1.0], "rank": [0.1, 0.5, 0.9]}] * 3] * 2}
        together = combine(spec, outputs, kind)
        alone = np.concatenate([combine(spec, [o[[row]] for o in outputs], kind) for row in range(9)])
        np.testing.assert_allclose(alone, together, rtol=1e-5, atol=1e-6)
        assert together.dtype == np.float32
        assert together.shape == outputs[0].shape


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"method": "softt"}, r"unknown way to combine models: 'softt'. Did you mean 'soft'\?"),
        ({"method": "weights", "weights": [1.0]}, "made of 1 models and is given the outputs of 2"),
        ({"method": "stack", "coef": [[1.0]], "intercept": [0.0]}, "fitted on 1 features and these 2 models give 2"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        combine(spec, [A, B], "classification")
