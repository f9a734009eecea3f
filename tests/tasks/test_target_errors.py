"""Where a joint score is lost, against counts by hand and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss

from sanmaru.html.blocks import Grid, Heatmap
from sanmaru.metrics import classification
from sanmaru.tables.joint import JointTarget, Target
from sanmaru.tasks.target_errors import diagnose_targets, target_errors, told_one

MASK = Target(name="mask", classes=("Wear", "Normal"), values=("Wear", "Normal"))
AGE = Target(name="age", classes=("<30", "30-59", ">=60"), cuts=(30, 60))
JOINT = JointTarget(name="both", targets=(MASK, AGE))


def drawn(seed: int, rows: int = 60) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 6, rows), rng.dirichlet(np.ones(6), rows)


@given(st.integers(0, 2**32 - 1))
def test_errors_are_those_counted_row_by_row(seed: int) -> None:
    truth, probs = drawn(seed)
    chosen = probs.argmax(axis=1)
    both = [(code // 3, code % 3) for code in range(6)]
    missed = [[both[t][k] != both[c][k] for k in range(2)] for t, c in zip(truth, chosen, strict=True)]
    for place, found in enumerate(target_errors(JOINT, truth, probs)):
        assert found.wrong == sum(row[place] for row in missed)
        assert found.only == sum(row[place] and not row[1 - place] for row in missed)
        own = np.stack([probs[:, [b[place] == k for b in both]].sum(axis=1) for k in range(JOINT.sizes[place])], axis=1)
        true = np.array([both[t][place] for t in truth])
        assert found.accuracy == pytest.approx(accuracy_score(true, own.argmax(axis=1)))
        assert found.macro_f1 == pytest.approx(f1_score(true, own.argmax(axis=1), average="macro"))
        # Told the target, only joint classes with its true value are left to choose from.
        told = [
            max((code for code in range(6) if both[code][place] == both[t][place]), key=lambda code: row[code])
            for t, row in zip(truth, probs, strict=True)
        ]
        assert found.joint_accuracy == pytest.approx(accuracy_score(truth, told))
        assert found.joint_macro_f1 == pytest.approx(f1_score(truth, told, average="macro"))


@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_told_one_target_probabilities_are_conditional(seed: int, place: int) -> None:
    truth, probs = drawn(seed)
    codes = JOINT.split(truth)[:, place]
    told = told_one(JOINT, probs, place, codes)
    np.testing.assert_allclose(told.sum(axis=1), 1)
    own = JOINT.marginals(told)[place]
    np.testing.assert_allclose(own[np.arange(len(own)), codes], 1)
    assert classification.log_loss(truth, told) <= classification.log_loss(truth, probs)


def test_a_class_held_to_be_impossible_leaves_the_other_target_its_probabilities() -> None:
    probs = np.array([[0.2, 0.3, 0.5, 0.0, 0.0, 0.0]])
    told = told_one(JOINT, probs, 0, np.array([1]))
    np.testing.assert_allclose(told, [[0, 0, 0, 0.2, 0.3, 0.5]])


def test_the_report_names_the_target_that_costs_most() -> None:
    rng = np.random.default_rng(0)
    mask, age = rng.integers(0, 2, 300), rng.integers(0, 3, 300)
    guess = np.where(rng.random(300) < 0.4, rng.integers(0, 3, 300), age)  # the mask is always right
    probs = np.full((300, 6), 0.01)
    probs[np.arange(300), mask * 3 + guess] = 0.95
    lost, each = diagnose_targets(JOINT, mask * 3 + age, probs)
    assert lost.title == "Where the points are lost"
    (finding,) = lost.findings
    assert finding.title == "Most points are lost in 'age'"
    grid = lost.blocks[0]
    assert isinstance(grid, Grid)
    assert [row[0] for row in grid.rows] == ["mask", "age"]
    n_wrong = int((guess != age).sum())
    assert grid.rows[1][3] == f"{n_wrong} (100.0%)"
    assert [block.title for block in each.blocks if isinstance(block, Heatmap)] == ["mask", "age"]


def test_without_a_mistake_nothing_is_lost() -> None:
    truth = np.arange(6)
    lost, _ = diagnose_targets(JOINT, truth, np.eye(6))
    assert "0 of 6 rows are wrong" in lost.lead
    assert not lost.blocks
    assert list(diagnose_targets(JOINT, truth[:0], np.eye(6)[:0])) == []


def test_joint_classes_that_never_occur_do_not_move_the_scores() -> None:
    # Class 5 is neither true nor predicted: macro F1 leaves it out, as scikit-learn does over the labels it finds.
    truth = np.array([0, 1, 2, 3, 4, 0, 1])
    probs = np.full((7, 6), 0.02)
    probs[np.arange(7), [0, 1, 2, 3, 3, 0, 2]] = 0.9
    probs /= probs.sum(axis=1, keepdims=True)
    predicted = probs.argmax(axis=1)
    assert classification.macro_f1(truth, probs) == pytest.approx(f1_score(truth, predicted, average="macro"))
    labels = np.unique(np.concatenate([truth, predicted]))
    assert len(labels) == 5
    assert classification.macro_f1(truth, probs) == pytest.approx(
        f1_score(truth, predicted, labels=labels, average="macro")
    )
    assert classification.log_loss(truth, probs) == pytest.approx(log_loss(truth, probs, labels=np.arange(6)))
    assert np.isfinite(classification.roc_auc(truth, probs))
    # One predicted class that never is true counts as an F1 of 0, there as here.
    probs[0] = [0.02, 0.02, 0.02, 0.02, 0.02, 0.9]
    assert classification.macro_f1(truth, probs) == pytest.approx(
        f1_score(truth, probs.argmax(axis=1), average="macro", zero_division=0)
    )
