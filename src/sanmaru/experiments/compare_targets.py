"""Two runs of several targets, target by target: in which of them the one is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sanmaru.experiments.matching import differences, scored_on, validated
from sanmaru.experiments.runs import Run


@dataclass(frozen=True, kw_only=True)
class TargetDifference:
    """One target in two runs A and B."""

    name: str
    a: float
    """Accuracy of A on this target alone, by its own (marginal) probabilities."""
    b: float
    low: float
    """Lower end of the 95 % interval of A - B."""
    high: float
    better: str | None
    """The run that is shown to be better; None where no difference is shown."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def compare_targets(a: Run, b: Run) -> tuple[TargetDifference, ...]:
    """Compare the accuracy of two runs on each of the targets that make their joint class.

    Args:
        a: One run.
        b: The other.

    Returns:
        One per target, in their order; none where the runs have one target, other targets, or other rows or folds.
    """
    joint, other = a.task().roles.joint, b.task().roles.joint
    if joint is None or other is None or len(joint.targets) < 2:
        return ()
    same = [(t.name, t.classes) for t in joint.targets] == [(t.name, t.classes) for t in other.targets]
    if not same or differences(a, b):
        return ()
    from sanmaru.metrics.base import find_metric
    from sanmaru.metrics.bootstrap import paired

    task, metric = a.task(), find_metric("accuracy")
    common = validated(a, task)
    truth = joint.split(common.truth)
    ours = joint.marginals(scored_on(a, task, common.rows))
    theirs = joint.marginals(scored_on(b, b.task(), common.rows))
    found = []
    for place, target in enumerate(joint.targets):
        own = truth[:, place]
        result = paired(metric, own, ours[place], theirs[place], groups=common.groups, folds=common.folds)
        found.append(
            TargetDifference(
                name=target.name,
                a=metric(own, ours[place]),
                b=metric(own, theirs[place]),
                low=result.low,
                high=result.high,
                better=None if result.none else (a.id if result.a_better else b.id),
            )
        )
    return tuple(found)


def sentence(found: Sequence[TargetDifference]) -> str:
    """Say in which targets a difference is shown.

    >>> sentence([TargetDifference(name="mask", a=0.9, b=0.8, low=0.05, high=0.15, better="x")])
    'a difference is shown in mask'
    """
    shown = [one.name for one in found if one.better is not None]
    return f"a difference is shown in {', '.join(shown)}" if shown else "no difference is shown in any single target"
