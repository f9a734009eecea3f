"""Metrics of many draws at once are the metrics of each draw, with weights, by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from sanmaru.metrics import contributions
from sanmaru.metrics.base import Metric, find_metric
from sanmaru.metrics.contributions import evaluator
from sanmaru.metrics.forecasting import forecast_records, truth_records
from sanmaru.metrics.names import CLASSIFICATION, FORECASTING, NAMES


def sample(name: str, n_classes: int, n_rows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    if name in CLASSIFICATION:
        # Rounded, so that ROC AUC meets ties.
        probs = np.round(rng.dirichlet(np.ones(n_classes), n_rows), 2) + 0.005
        return rng.integers(0, n_classes, n_rows), probs / probs.sum(axis=1, keepdims=True)
    if name in FORECASTING:
        values = rng.normal(size=(n_rows, 3, 2))
        values[rng.random(values.shape) < 0.2] = np.nan
        outputs = np.sort(rng.normal(size=(n_rows, 3, 2, 4)), axis=-1)
        return truth_records(values, rng.exponential(size=(n_rows, 2)) + 0.5), forecast_records(
            outputs, (0.1, 0.5, 0.9)
        )
    truth = rng.exponential(size=n_rows) + 100
    return truth, truth + rng.normal(size=n_rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("grouped", [False, True])
def test_every_draw_is_the_weighted_metric(name: str, n_classes: int, grouped: bool) -> None:
    truth, scored = sample(name, n_classes)
    units = np.arange(80) // (4 if grouped else 1)
    n_units = int(units.max()) + 1
    weights = np.random.default_rng(0).integers(0, 3, (6, n_units)).astype(float)
    found = evaluator(find_metric(name), truth, scored, units, n_units)(weights)
    expected = [find_metric(name)(truth, scored, row[units]) for row in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_linear_roc_auc_of_many_rows_is_near_the_ranked_one(n_classes: int, monkeypatch) -> None:
    truth, scored = sample("roc_auc", n_classes, 4000)
    weights = np.random.default_rng(0).multinomial(4000, np.full(4000, 1 / 4000), 50).astype(float)
    metric, units = find_metric("roc_auc"), np.arange(4000)
    ranked = evaluator(metric, truth, scored, units, 4000)(weights)
    monkeypatch.setattr(contributions, "MOST_RANKED", 0)
    linear = evaluator(metric, truth, scored, units, 4000)(weights)
    assert np.abs(linear - ranked).max() < 0.05 * ranked.std()


def test_a_metric_of_the_users_own_is_called_once_per_draw() -> None:
    own = Metric(
        name="own",
        kind="regression",
        greater_is_better=False,
        function=lambda truth, scored, weight: float(np.average(np.abs(truth - scored), weights=weight)),
        title="own",
    )
    weights = np.array([[1.0, 2.0], [0.0, 1.0]])
    found = evaluator(own, np.array([0.0, 0.0]), np.array([1.0, 4.0]), np.arange(2), 2)(weights)
    np.testing.assert_allclose(found, [3.0, 4.0])


def test_a_draw_without_the_positive_class_has_no_roc_auc() -> None:
    evaluate = evaluator(find_metric("roc_auc"), np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.arange(2), 2)
    assert np.isnan(evaluate(np.array([[1.0, 0.0]])))[0]
