"""Whether one of two runs is really better: their out-of-fold predictions on the same rows, compared in pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sanmaru.experiments.matching import differences, scored_on, validated
from sanmaru.experiments.runs import Run
from sanmaru.metrics.base import Metric
from sanmaru.metrics.bootstrap import Paired, paired


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of two runs."""

    a: str
    b: str
    metric: str
    """As people write it."""
    paired: Paired | None
    """The difference A - B with its interval; None where the runs cannot be compared."""
    refusal: str = ""
    """Why not, with counts."""

    @property
    def text(self) -> str:
        """One sentence."""
        if self.paired is None:
            return f"no verdict: {self.refusal}"
        found = self.paired
        if not math.isfinite(found.difference + found.low + found.high):
            return f"no verdict: {self.metric} is not defined on these rows"
        if found.none:
            ends = f"{shown(found.low, found)} to {shown(found.high, found)}"
            return (
                f"no difference shown: {self.a} minus {self.b} is {shown(found.difference, found)} {self.metric}, "
                f"95 % interval {ends}"
            )
        winner = self.a if found.a_better else self.b
        near, far = sorted((abs(found.low), abs(found.high)))
        return (
            f"{winner} is better by {shown(abs(found.difference), found)} {self.metric}, 95 % interval "
            f"{shown(near, found)} to {shown(far, found)}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        found = self.paired
        better = None if found is None or found.none else (self.a if found.a_better else self.b)
        numbers = {} if found is None else {"difference": found.difference, "low": found.low, "high": found.high}
        return {"a": self.a, "b": self.b, "metric": self.metric, "better": better, **numbers, "text": self.text}


def verdict(a: Run, b: Run, metric: Metric, *, seed: int = 0) -> Verdict:
    """Compare two runs on the rows both validated, or say with counts why that cannot be done.

    The verdict is on the two ways to train: its interval counts rows and what training alone makes different
    (`metrics.bootstrap.paired`).
    """
    found = differences(a, b)
    if found:
        return Verdict(a=a.id, b=b.id, metric=metric.title, paired=None, refusal=found.text(a.id, b.id))
    task = a.task()
    common = validated(a, task)
    result = paired(
        metric,
        common.truth,
        scored_on(a, task, common.rows),
        scored_on(b, b.task(), common.rows),
        groups=common.groups,
        folds=common.folds,
        seed=seed,
    )
    return Verdict(a=a.id, b=b.id, metric=metric.title, paired=result)


def shown(value: float, beside: Paired) -> str:
    """Write a number with as many digits as the interval around it deserves: two of its width."""
    width = abs(beside.high - beside.low)
    if not width > 0 or not math.isfinite(width):
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(width)))
    return f"{value:,.{min(digits, 12)}f}"
