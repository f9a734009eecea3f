import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from sanmaru.training.config import LossConfig
from sanmaru.training.losses import balanced_weights, make_loss


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(balanced_weights(labels, 3), expected)


def test_a_class_that_is_not_seen_weighs_nothing() -> None:
    assert balanced_weights(np.array([0, 0, 2]), 3).tolist() == pytest.approx([0.5, 0, 1.0])


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 3))
    labels = np.arange(20) % 3
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = make_loss(LossConfig(), labels, 3)
    given = loss(torch.tensor(logits), torch.tensor(labels))
    assert float(given) == pytest.approx(log_loss(labels, probs))


def test_label_smoothing_mixes_in_the_uniform_distribution() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    log_probs = torch.log_softmax(logits, 1)[0]
    loss = make_loss(LossConfig(label_smoothing=0.3), np.array([0]), 3)
    expected = -(0.7 * log_probs[0] + 0.1 * log_probs.sum())
    assert float(loss(logits, torch.tensor([0]))) == pytest.approx(float(expected))
