"""Verdicts in words."""

from __future__ import annotations

import pytest

from sanmaru.experiments.verdict import Verdict, shown, verdict
from sanmaru.metrics.base import find_metric
from sanmaru.metrics.bootstrap import Paired


def said(difference: float, low: float, high: float, *, greater: bool = True) -> str:
    paired = Paired(difference=difference, low=low, high=high, greater_is_better=greater)
    return Verdict(a="A", b="B", metric="accuracy", paired=paired).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (said(0.012, 0.004, 0.020), "A is better by 0.012 accuracy, 95 % interval 0.004 to 0.020"),
        (said(-0.012, -0.020, -0.004), "B is better by 0.012 accuracy, 95 % interval 0.004 to 0.020"),
        (said(-0.012, -0.020, -0.004, greater=False), "A is better by 0.012 accuracy, 95 % interval 0.004 to 0.020"),
        (
            said(0.001, -0.004, 0.006),
            "no difference shown: A minus B is 0.001 accuracy, 95 % interval -0.004 to 0.006",
        ),
        (said(float("nan"), 0, 0), "no verdict: accuracy is not defined on these rows"),
        (said(0.0, 0.0, 0.0), "no difference shown: A minus B is 0 accuracy, 95 % interval 0 to 0"),
    ],
)
def test_a_verdict_is_one_sentence(text: str, expected: str) -> None:
    assert text == expected


def test_numbers_have_the_digits_that_the_interval_deserves() -> None:
    wide = Paired(difference=0, low=-500, high=700, greater_is_better=False)
    assert shown(123.456, wide) == "123"
    narrow = Paired(difference=0, low=0.00011, high=0.00034, greater_is_better=False)
    assert shown(0.000219, narrow) == "0.00022"


def test_the_folds_widen_the_verdict_on_two_runs(written_runs) -> None:
    made = written_runs("regression", 300)
    found = verdict(made.run(0.3, 1), made.run(0.6, 2), find_metric("rmse")).paired
    assert found is not None
    assert found.widened >= 1.0
    assert found.difference < 0
