"""Error analysis of classification: what it shows, and what it takes for notable."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from sanmaru.html.blocks import Finding, Grid, Heatmap, Histogram, Section
from sanmaru.metrics.calibration import class_reliability
from sanmaru.tasks.base import Output
from sanmaru.tasks.classification_errors import diagnose_classification, mistakes_by_confidence


def output(n_classes: int) -> Output:
    return Output(name="y", kind="classification", classes=tuple(f"c{n}" for n in range(n_classes)))


def diagnosed(truth: np.ndarray, probs: np.ndarray) -> dict[str, Section]:
    ids = pl.Series("id", np.arange(len(truth)) + 100)
    return {section.title: section for section in diagnose_classification(output(probs.shape[1]), ids, truth, probs)}


def block(section: Section, kind: type) -> Any:
    return next(one for one in section.blocks if isinstance(one, kind))


def findings(sections: dict[str, Section]) -> dict[str, Finding]:
    return {finding.kind: finding for section in sections.values() for finding in section.findings}


def test_sections_and_their_figures() -> None:
    truth = np.array([0, 0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6]])
    sections = diagnosed(truth, probs)
    assert list(sections) == ["Scores per class", "Confusion", "Calibration", "Most confident mistakes"]
    rows = block(sections["Scores per class"], Grid).rows
    assert rows == [("c0", 2, 1.0, 0.5, 0.6667), ("c1", 2, 0.6667, 1.0, 0.8)]
    assert block(sections["Confusion"], Heatmap).values == [[1, 1], [0, 2]]
    assert block(sections["Most confident mistakes"], Grid).rows == [("101", "c0", "c1", 0.7, 0.3)]
    counts = dict(block(sections["Calibration"], Histogram).series)
    assert (sum(counts["right"]), sum(counts["wrong"])) == (3, 1)


def test_a_class_that_is_never_recognised_is_a_problem() -> None:
    truth = np.repeat([0, 1, 2], [50, 45, 5])
    probs = np.full((100, 3), 0.01)
    probs[np.arange(100), np.where(truth == 2, 1, truth)] = 0.98
    found = findings(diagnosed(truth, probs))["class-never-found"]
    assert found.title == "No row of class 'c2' is recognised"
    assert found.evidence == "5 rows (5.0% of all), recall 0; most are taken for 'c1'."
    assert found.ids == ("195", "196", "197", "198", "199")


def test_two_classes_taken_for_each_other_are_named() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    predicted = np.where((truth < 2) & (rng.random(300) < 0.3), 1 - truth, truth)
    found = findings(diagnosed(truth, np.eye(3)[predicted] * 0.97 + 0.01))["classes-confused"]
    assert found.title == "'c0' and 'c1' are taken for each other"
    assert len(found.ids) == 20


@pytest.mark.parametrize(("power", "told"), [(1.0, False), (3.0, True), (0.3, True)])
def test_poor_calibration_is_told_and_good_calibration_is_not(power: float, told: bool) -> None:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.02, 0.98, 3000)
    truth = (rng.random(3000) < chance).astype(int)
    odds = (chance / (1 - chance)) ** power
    probs = np.column_stack([1 / (1 + odds), odds / (1 + odds)])
    assert ("poor-calibration" in findings(diagnosed(truth, probs))) == told
    assert (class_reliability(truth, probs).expected_error > 0.05) == told


def test_few_rows_are_not_called_badly_calibrated() -> None:
    told = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        chance = rng.random(60)
        truth = (rng.random(60) < chance).astype(int)
        told += "poor-calibration" in findings(diagnosed(truth, np.column_stack([1 - chance, chance])))
    assert told <= 3


def test_many_classes_show_those_with_most_mistakes() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 60, 2000)
    predicted = np.where((truth < 5) & (rng.random(2000) < 0.5), 59, truth)
    shown = block(diagnosed(truth, np.eye(60)[predicted])["Confusion"], Heatmap)
    assert len(shown.rows) == 25
    assert {"c0", "c1", "c2", "c3", "c4", "c59"} <= set(shown.rows)


def test_perfect_predictions_have_no_mistakes_and_no_findings() -> None:
    truth = np.array([0, 1, 2] * 30)
    sections = diagnosed(truth, np.eye(3)[truth])
    assert sections["Most confident mistakes"].lead == "There is no mistake."
    assert findings(sections) == {}


def test_a_class_without_rows_is_unknown_and_not_bad() -> None:
    sections = diagnosed(np.array([0, 1] * 20), np.eye(3)[[0, 1] * 20])
    assert findings(sections)["class-without-rows"].evidence == "c2"
    assert "Hardest: c0" in sections["Scores per class"].lead


def test_no_rows_make_no_sections() -> None:
    assert diagnosed(np.empty(0, dtype=int), np.empty((0, 2))) == {}


def test_mistakes_come_by_confidence() -> None:
    probs = np.array([[0.4, 0.6], [0.1, 0.9], [0.9, 0.1], [0.2, 0.8]])
    assert mistakes_by_confidence(np.array([0, 0, 0, 0]), probs, 2).tolist() == [1, 3]
