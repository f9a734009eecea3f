import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.tasks.anomalies.config import Budget
from sanmaru.tasks.anomalies.threshold import TOGETHER, Scored, budget_rate, count_alarms, set_threshold


def scored(scores, first=None):
    n = len(scores)
    return Scored(
        scores=np.asarray(scores, dtype=float),
        place=np.arange(n),
        first=np.zeros(n, dtype=np.int64) if first is None else np.asarray(first),
    )


def slow_count(scores, first, threshold):
    alarms, last = 0, None
    for place, (score, series) in enumerate(zip(scores, first, strict=True)):
        if score > threshold:
            if last is None or place - last[0] > TOGETHER + 1 or last[1] != series:
                alarms += 1
            last = (place, series)
    return alarms


CASES = st.lists(st.integers(0, 8), min_size=20, max_size=80)


@given(CASES, st.integers(1, 79), st.integers(0, 8))
def test_alarms_are_counted_by_series_and_nearness(scores, border, threshold):
    first = [0 if place < border else border for place in range(len(scores))]
    assert count_alarms(scored(scores, first), threshold) == slow_count(scores, first, threshold)


@given(CASES, st.floats(1, 400))
def test_the_threshold_is_the_lowest_that_keeps_to_the_budget(scores, alarms):
    found = set_threshold(Budget(alarms=alarms), 3600.0, scored(scores), scored(scores))
    allowed = int(min(1.0, alarms / 1000) * len(scores))
    assert count_alarms(scored(scores), found.value) <= allowed
    assert found.threshold_rate <= alarms / 1000
    lower = [score for score in set(scores) if score < found.value]
    if lower:  # flagging the next score too would break it
        assert slow_count(scores, [0] * len(scores), max(lower)) > allowed


def test_a_day_without_movement_is_one_alarm():
    scores = np.zeros(1000)
    scores[100:124] = 5  # a stuck sensor
    scores[500] = 4
    found = set_threshold(Budget(alarms=1), 3600.0, scored(scores), scored(scores))
    assert found.value == 4  # the day may be flagged, the single row may not: one alarm in 1,000 rows
    assert found.check_rate == 1 / 1000
    assert found.check_flagged == 24 / 1000


@pytest.mark.parametrize(
    ("budget", "every_s", "rate"),
    [
        (Budget(), 3600, 1 / 1000),
        (Budget(alarms=2, per="week"), 3600, 2 / 168),
        (Budget(alarms=1, per="month"), 86400, 1 / 30),
        (Budget(alarms=5, per="day"), 86400, 1.0),  # never more than every row
    ],
)
def test_budget_per_row(budget, every_s, rate):
    assert budget_rate(budget, every_s) == pytest.approx(rate)
