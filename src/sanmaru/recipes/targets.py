"""Which target loses the points, on the rows kept aside."""

from __future__ import annotations

from sanmaru.recipes.course import Table, Walked, predict_aside
from sanmaru.recipes.readme import number


def per_target(walked: Walked) -> Table:
    """Return each variant's macro F1 per target and on the joint classes, on the rows kept aside."""
    from sanmaru.metrics.base import find_metric

    metric = find_metric("macro_f1")
    rows: list[tuple[str, ...]] = []
    header: tuple[str, ...] = ()
    for name, run in walked.runs.items():
        task, table, predictions = predict_aside(run)
        joint, truth, scored = task.roles.joint, task.truth(table), task.scored(predictions)
        assert joint is not None, "per_target is for recipes of several targets"
        header = ("variant", *joint.names, "joint")
        parts = zip(joint.split(truth).T, joint.marginals(scored), strict=True)
        values = [*(metric(own, probs) for own, probs in parts), metric(truth, scored)]
        rows.append((name, *(number(value) for value in values)))
    return Table(title="Macro F1 of each target alone, on the rows kept aside", header=header, rows=tuple(rows))
