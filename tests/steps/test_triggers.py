"""When to train again, and that every decision can be read later."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.database import open_engine
from sanmaru.steps.decisions import Decisions
from sanmaru.steps.triggers import Decision, Figures, RetrainConfig, decide

NOW = datetime(2026, 11, 21, tzinfo=UTC)
ALL = RetrainConfig(every_days=30, new_rows=1000, new_fraction=0.5, worse_by=0.2, drift=0.3, anomaly_rate=0.05)


def figures(**changes: Any) -> Figures:
    calm = {
        "now": NOW, "champion_trained": NOW - timedelta(days=5), "champion_rows": 5000, "new_rows": 100,
        "champion_error": 10.0, "rolling_error": 11.0, "rolling_rows": 500, "drift": 0.1, "anomaly_rate": 0.01,
    }  # fmt: skip
    return Figures(**{**calm, **changes})


def test_where_nothing_happened_nothing_is_trained() -> None:
    decision = decide(ALL, figures())
    assert (decision.yes, decision.trigger, decision.reason) == (False, "", "no trigger fired")
    assert len(decision.verdicts) == 8


@pytest.mark.parametrize(
    ("change", "trigger", "reason"),
    [
        ({"requests": ("new station",)}, "request", "asked for: new station"),
        ({"champion_trained": None}, "first", "there is no champion yet"),
        ({"champion_trained": NOW - timedelta(days=30)}, "schedule", "30.0 days since the last training: reaches 30"),
        ({"new_rows": 1000}, "rows", "1,000 new rows: reaches 1000"),
        ({"new_rows": 999, "champion_rows": 1800}, "volume", "999 new rows beside 1,800 trained on (56%): reaches 0.5"),
        ({"rolling_error": 12.5}, "metric", "error 12.5, at its evaluation 10 (+25%): reaches 0.2"),
        ({"drift": 0.4}, "drift", "40.0% of the watched columns drift: reaches 0.3"),
        ({"anomaly_rate": 0.05}, "anomalies", "5.0% of the recent rows are anomalous: reaches 0.05"),
    ],
)
def test_each_trigger_fires_at_its_threshold(change: dict[str, Any], trigger: str, reason: str) -> None:
    decision = decide(ALL, figures(**change))
    assert (decision.yes, decision.trigger, decision.reason) == (True, trigger, reason)


def test_what_is_not_known_or_not_configured_decides_nothing() -> None:
    unknown = Figures(now=NOW, champion_trained=NOW - timedelta(days=1))
    assert not decide(ALL, unknown).yes
    assert not decide(RetrainConfig(), figures(drift=1.0, new_rows=10**6, rolling_error=1e9)).yes
    few = decide(ALL, figures(rolling_error=99.0, rolling_rows=99))
    assert not few.yes
    metric = next(one for one in few.verdicts if one.trigger == "metric")
    assert metric.reason == "the rolling error is made of 99 rows, fewer than 100"


def test_after_a_training_only_a_request_starts_another() -> None:
    rested = figures(drift=0.9, last_training=NOW - timedelta(days=1))
    fresh = figures(drift=0.9, last_training=NOW - timedelta(hours=6))
    assert decide(ALL, rested).trigger == "drift"
    held = decide(ALL, fresh)
    assert (held.yes, held.trigger) == (False, "cooldown")
    assert held.reason.endswith("but the last training was 0.2 days ago, and 1 are to lie between two")
    asked = decide(ALL, figures(drift=0.9, last_training=NOW - timedelta(hours=6), requests=("now",)))
    assert (asked.yes, asked.trigger) == (True, "request")


@given(
    drift=st.none() | st.floats(0, 1),
    rate=st.none() | st.floats(0, 1),
    rows=st.none() | st.integers(0, 10**6),
    rested_days=st.none() | st.floats(0, 100),
    threshold=st.floats(0.01, 1),
)
def test_a_decision_agrees_with_its_verdicts(
    drift: float | None, rate: float | None, rows: int | None, rested_days: float | None, threshold: float
) -> None:
    last = None if rested_days is None else NOW - timedelta(days=rested_days)
    config = RetrainConfig(new_rows=1000, drift=threshold, anomaly_rate=threshold)
    decision = decide(config, figures(drift=drift, anomaly_rate=rate, new_rows=rows, last_training=last))
    fired = any(one.fired for one in decision.verdicts)
    resting = rested_days is not None and last is not None and NOW - last < timedelta(days=1)
    assert decision.yes == (fired and not resting)
    for one in decision.verdicts:
        assert not one.fired or one.threshold is None or (one.figure or 0) >= one.threshold


def test_decisions_are_kept_and_a_request_is_taken_up_once(database_url: str, tmp_path: Path) -> None:
    engine = open_engine(database_url, tmp_path)
    kept = Decisions(engine, "air")
    kept.request("retrain", "측정소를 옮겼다")

    def make(asked: Any) -> Decision:
        return decide(ALL, figures(requests=tuple(asked)))

    first = kept.decide("retrain", "2026-11-21T00:00Z", make)
    assert first.trigger == "request"
    assert kept.decide("retrain", "2026-11-21T01:00Z", make).yes is False  # it was taken up
    assert kept.decide("retrain", "2026-11-21T00:00Z", make) == first  # made again after a crash
    assert kept.open_requests("retrain") == []
    newest = kept.newest()
    assert [(one.interval, one.yes, one.trigger) for one in newest] == [
        ("2026-11-21T01:00Z", False, ""), ("2026-11-21T00:00Z", True, "request")
    ]  # fmt: skip
    assert newest[1].figures["requests"] == ["측정소를 옮겼다"]
    assert newest[0].figures["drift"] == 0.1
    assert {one["trigger"]: one["threshold"] for one in newest[0].verdicts}["drift"] == 0.3
    assert Decisions(engine, "other").newest() == []
    engine.dispose()
