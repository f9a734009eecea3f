"""Scores against scikit-learn's own detectors, and ECOD against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import skew
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from sanmaru.metrics.base import find_metric
from sanmaru.tasks.anomalies.config import IsolationForestConfig, LocalOutlierFactorConfig, OneClassSVMConfig
from sanmaru.tasks.anomalies.detectors.ecod import ecod_reference, ecod_tails
from sanmaru.tasks.anomalies.detectors.forest import IsolationForest as Forest
from sanmaru.tasks.anomalies.detectors.lof import LocalOutlierFactor as Factor
from sanmaru.tasks.anomalies.detectors.svm import OneClassSVM as Machine
from sanmaru.tasks.anomalies.features import Features
from sanmaru.tasks.base import FitContext


def features_of(values: np.ndarray) -> Features:
    n, width = values.shape
    return Features(
        values=values,
        channels=tuple(f"c{place}" for place in range(width)),
        channel=np.arange(width),
        kinds=("value",) * width,
        first=np.zeros(n, dtype=np.int64),
    )


@pytest.fixture
def rows():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(700, 6))
    values[:, 2] = np.round(values[:, 2])  # ties
    return features_of(values)


@pytest.fixture
def context(tmp_path):
    return FitContext(folder=tmp_path, cache=tmp_path, seed=5, metric=find_metric("rmse"))


LEARN, NEW = np.arange(500), np.arange(500, 700)


def test_isolation_forest_walks_its_arrays_as_scikit_learn_its_trees(rows, context):
    ours = Forest(IsolationForestConfig(trees=60, sample=128))
    ours.fit(rows, LEARN, context)
    model = IsolationForest(n_estimators=60, max_samples=128, random_state=5)
    model.fit(rows.values[LEARN].astype(np.float32))
    np.testing.assert_allclose(ours.score(rows, NEW), -model.score_samples(rows.values[NEW]), atol=1e-12)


def test_lof_is_scikit_learns(rows, context):
    ours = Factor(LocalOutlierFactorConfig(neighbours=15))
    ours.fit(rows, LEARN, context)
    model = LocalOutlierFactor(n_neighbors=15, novelty=True).fit(rows.values[LEARN])
    np.testing.assert_allclose(ours.score(rows, NEW), -model.score_samples(rows.values[NEW]), atol=1e-9)


def test_one_class_svm_is_scikit_learns(rows, context):
    ours = Machine(OneClassSVMConfig(nu=0.1))
    ours.fit(rows, LEARN, context)
    model = OneClassSVM(nu=0.1, gamma="scale").fit(rows.values[LEARN])
    np.testing.assert_allclose(ours.score(rows, NEW), -model.decision_function(rows.values[NEW]), atol=1e-9)


def plain_ecod(known: np.ndarray, row: np.ndarray) -> float:
    """ECOD of one new row, counted among the known ones, written as slowly as the paper reads."""
    total = 0.0
    for column in range(known.shape[1]):
        sample = [*known[:, column], row[column]]
        left = -np.log(sum(value <= row[column] for value in sample) / len(sample))
        right = -np.log(sum(value >= row[column] for value in sample) / len(sample))
        lean = np.nan_to_num(skew(known[:, column])) if np.ptp(known[:, column]) > 0 else 0.0
        by_skew = left + right if lean == 0 else (left if lean < 0 else right)
        total += max(left, right, by_skew)
    return total


@given(arrays(np.float64, (12, 3), elements=st.integers(-6, 6).map(float)), st.integers(0, 2**31))
def test_ecod_follows_its_definition(known, seed):
    # skewness of exactly symmetric columns is rounding noise of either sign in both; the sign then means nothing
    lean = np.array([skew(known[:, c]) if np.ptp(known[:, c]) > 0 else 1.0 for c in range(3)])
    if (np.abs(lean) < 1e-9).any():
        return
    values = np.random.default_rng(seed).integers(-8, 9, size=(5, 3)).astype(float)
    scores = ecod_tails(*ecod_reference(known), values).sum(axis=1)
    np.testing.assert_allclose(scores, [plain_ecod(known, row) for row in values], atol=1e-10)


def test_ecod_counts_rows_among_themselves_once():
    known = np.array([[1.0], [2.0], [2.0], [9.0]])
    sorted_, lean = ecod_reference(known)
    scores = ecod_tails(sorted_, lean, known, among=True)[:, 0]
    # 9 is the largest of four: 1/4 lie as far right; the column leans right
    np.testing.assert_allclose(scores[3], -np.log(1 / 4))
    np.testing.assert_allclose(scores[0], -np.log(1 / 4))  # the rarer tail, though the column leans away
