"""Error analysis of regression: what it shows, and what it takes for notable."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from sanmaru.html.blocks import Bars, Finding, Grid, Histogram, Lines, Section
from sanmaru.tasks.base import Output
from sanmaru.tasks.regression_errors import MOST_POINTS, diagnose_regression

OUTPUT = Output(name="price", kind="regression")


def diagnosed(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Section]:
    ids = pl.Series("id", np.arange(len(truth)))
    return {section.title: section for section in diagnose_regression(OUTPUT, ids, truth, predicted)}


def block(section: Section, kind: type) -> Any:
    return next(one for one in section.blocks if isinstance(one, kind))


def findings(sections: dict[str, Section]) -> dict[str, Finding]:
    return {finding.kind: finding for section in sections.values() for finding in section.findings}


def test_sections_and_their_figures() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 110, 5000)
    sections = diagnosed(truth, truth + rng.normal(size=5000))
    assert len(block(sections["Predicted against true"], Lines).series[0][1]) == MOST_POINTS
    assert sum(block(sections["Residuals"], Histogram).series[0][1]) == 5000
    assert len(block(sections["Error by size of the target"], Bars).labels) == 10
    worst = block(sections["Worst rows"], Grid).rows
    assert len(worst) == 20
    assert [abs(row[3]) for row in worst] == sorted((abs(row[3]) for row in worst), reverse=True)
    assert findings(sections) == {}


def test_a_few_rows_that_make_most_of_the_error_are_told() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(100, 200, 1000)
    predicted = truth + rng.normal(size=1000)
    predicted[[7, 400]] += 60.0
    found = findings(diagnosed(truth, predicted))["heavy-tailed-errors"]
    assert found.ids[:2] in {("7", "400"), ("400", "7")}
    assert "worst 10 rows (1 %)" in found.evidence


def test_predictions_that_are_too_high_on_average_are_told() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    found = findings(diagnosed(truth, truth + rng.normal(0.5, 1, 500)))
    assert found["biased-predictions"].title == "Predictions are too high on average"


def test_predictions_below_zero_of_a_target_that_is_not_are_told() -> None:
    truth = np.linspace(0, 10, 100)
    predicted = truth + np.tile([0.5, -0.5], 50)
    assert findings(diagnosed(truth, predicted))["impossible-negative-predictions"].title.startswith("2 predictions")


def test_perfect_predictions_and_few_rows_are_shown_without_failing() -> None:
    for n_rows in (1, 3, 300):
        truth = np.arange(float(n_rows))
        assert findings(diagnosed(truth, truth)) == {}
    assert diagnosed(np.empty(0), np.empty(0)) == {}
