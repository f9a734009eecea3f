from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import f1_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

from sanmaru.training.config import LossConfig
from sanmaru.training.losses import balanced_weights, effective_weights, make_loss

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(24, 4)) * 2
LABELS = RNG.choice(4, 24, p=[0.5, 0.25, 0.15, 0.1])
COUNTS = np.bincount(LABELS, minlength=4)
KINDS = ("cross-entropy", "focal", "soft-macro-f1", "binary-cross-entropy", "logit-adjustment")


def given(config: dict[str, Any], weights: np.ndarray | None = None, logits: np.ndarray = LOGITS) -> float:
    loss = make_loss(LossConfig.model_validate(config), LABELS, 4)
    value = loss(
        torch.tensor(logits),
        torch.tensor(LABELS),
        None if weights is None else torch.tensor(weights, dtype=torch.float64),
    )
    return float(value)


def smoothed(share: float) -> np.ndarray:
    return np.asarray(np.eye(4)[LABELS] * (1 - share) + share / 4)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 3), expected)


def test_a_class_that_is_not_seen_weighs_nothing() -> None:
    assert balanced_weights(np.array([0, 0, 2]), 3).tolist() == pytest.approx([0.5, 0, 1.0])
    assert effective_weights(np.array([0, 0, 2]), 3, 0.5)[1] == 0


def test_effective_weights_lie_between_none_and_balanced() -> None:
    np.testing.assert_allclose(effective_weights(LABELS, 4, 0.0), 1)
    np.testing.assert_allclose(effective_weights(LABELS, 4, 1 - 1e-9), balanced_weights(LABELS, 4), rtol=1e-5)
    # The paper's formula, up to its scale.
    found = effective_weights(LABELS, 4, 0.9)
    paper = (1 - 0.9) / (1 - 0.9**COUNTS)
    np.testing.assert_allclose(found / found[0], paper / paper[0])
    assert found[LABELS].mean() == pytest.approx(1)


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    assert given({}) == pytest.approx(log_loss(LABELS, softmax(LOGITS, axis=1)))


def test_cross_entropy_with_balanced_weights_is_scikit_learns_weighted_log_loss() -> None:
    per_row = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)[LABELS]
    expected = log_loss(LABELS, softmax(LOGITS, axis=1), sample_weight=per_row)
    # The weights' mean over all rows is 1; over a batch it is left as it is.
    assert given({"class_weights": "balanced"}) == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_mixes_in_the_uniform_distribution() -> None:
    expected = -(smoothed(0.3) * log_softmax(LOGITS, axis=1)).sum(1).mean()
    assert given({"label_smoothing": 0.3}) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal_is_the_papers_formula(gamma: float, smoothing: float) -> None:
    probs = softmax(LOGITS, axis=1)
    expected = (smoothed(smoothing) * -((1 - probs) ** gamma) * np.log(probs)).sum(1)
    config = {"kind": "focal", "gamma": gamma, "label_smoothing": smoothing}
    assert given(config) == pytest.approx(expected.mean(), rel=1e-6)
    alpha = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)[LABELS]
    assert given({**config, "class_weights": "balanced"}) == pytest.approx((alpha * expected).mean(), rel=1e-6)


def test_focal_without_gamma_is_cross_entropy_and_bears_certainty() -> None:
    assert given({"kind": "focal", "gamma": 0}) == pytest.approx(given({}))
    outputs = torch.tensor([[200.0, 0, 0, 0]], requires_grad=True)
    make_loss(LossConfig(kind="focal", gamma=0.5), LABELS, 4)(outputs, torch.tensor([0])).backward()
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_asks_every_class_against_the_rest(smoothing: float) -> None:
    probs, truth = expit(LOGITS), smoothed(smoothing)
    expected = -(truth * np.log(probs) + (1 - truth) * np.log(1 - probs)).sum(1).mean()
    assert given({"kind": "binary-cross-entropy", "label_smoothing": smoothing}) == pytest.approx(expected, rel=1e-6)


def test_logit_adjustment_adds_the_logarithm_of_the_frequencies() -> None:
    for tau in (0.5, 1.0):
        expected = -log_softmax(LOGITS + tau * np.log(COUNTS / 24), axis=1)[np.arange(24), LABELS].mean()
        assert given({"kind": "logit-adjustment", "tau": tau}) == pytest.approx(expected, rel=1e-6)
    assert given({"kind": "logit-adjustment", "tau": 0}) == pytest.approx(given({}))


def test_logit_adjustment_bears_a_class_that_is_not_seen() -> None:
    loss = make_loss(LossConfig(kind="logit-adjustment"), np.array([0, 0, 1]), 3)
    assert torch.isfinite(loss(torch.zeros(2, 3), torch.tensor([0, 2])))


def test_soft_macro_f1_of_decided_probabilities_is_scikit_learns() -> None:
    preds = RNG.integers(0, 4, 24)
    expected = 1 - f1_score(LABELS, preds, average="macro")
    assert given({"kind": "soft-macro-f1"}, logits=np.eye(4)[preds] * 1000) == pytest.approx(expected, rel=1e-6)


def test_soft_macro_f1_is_its_formula_over_the_classes_of_the_batch() -> None:
    logits, labels = LOGITS[:5], np.array([0, 2, 2, 0, 2])
    probs, truth = softmax(logits, axis=1), np.eye(4)[labels]
    f1 = 2 * (probs * truth).sum(0) / (probs.sum(0) + truth.sum(0))
    loss = make_loss(LossConfig(kind="soft-macro-f1"), LABELS, 4)
    assert float(loss(torch.tensor(logits), torch.tensor(labels))) == pytest.approx(1 - f1[[0, 2]].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_one_change_nothing_and_halves_add_up(kind: str) -> None:
    config = {"kind": kind}
    assert given(config, np.ones(24)) == pytest.approx(given(config), rel=1e-6)
    assert given(config, np.full(24, 0.3)) + given(config, np.full(24, 0.7)) == pytest.approx(given(config), rel=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "soft-macro-f1"])
def test_rows_count_by_their_weights(kind: str) -> None:
    weights = RNG.random(24)
    loss = make_loss(LossConfig.model_validate({"kind": kind}), LABELS, 4)
    alone = [float(loss(torch.tensor(LOGITS[[i]]), torch.tensor(LABELS[[i]]))) for i in range(24)]
    assert given({"kind": kind}, weights) == pytest.approx(float(np.dot(weights, alone)) / 24, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str) -> None:
    outputs = torch.tensor(LOGITS[:6], requires_grad=True)
    loss = make_loss(LossConfig.model_validate({"kind": kind}), LABELS, 4).double()
    labels, weights = torch.tensor(LABELS[:6]), torch.tensor(RNG.random(6))
    loss(outputs, labels, weights).backward()
    assert outputs.grad is not None
    for i in range(6):
        for j in range(4):
            nudge = np.zeros((6, 4))
            nudge[i, j] = 1e-6
            up, down = (float(loss(torch.tensor(LOGITS[:6] + s * nudge), labels, weights)) for s in (1, -1))
            assert float(outputs.grad[i, j]) == pytest.approx((up - down) / 2e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"gamma": 2}, "`gamma` belongs to `kind: focal`"),
        ({"kind": "focal", "tau": 1}, "`tau` belongs to `kind: logit-adjustment`"),
        ({"class_weights": "balanced", "beta": 0.9}, "`beta` belongs to `class_weights: effective`"),
        ({"kind": "logit-adjustment", "class_weights": "balanced"}, "would be corrected twice"),
        ({"kind": "soft-macro-f1", "class_weights": "effective"}, "would be corrected twice"),
        ({"kind": "soft-macro-f1", "label_smoothing": 0.1}, "no prediction reaches an F1 of 1"),
    ],
)
def test_what_does_not_go_together_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LossConfig.model_validate(config)
