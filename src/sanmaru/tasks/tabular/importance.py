"""Which columns and feature steps a model leans on, as means and spreads over folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sanmaru.html.blocks import Bars, Block, Grid, Section, Swarm, Text
from sanmaru.metrics.base import find_metric

MOST_SHOWN = 25
MOST_SWARMS = 12
"""Columns whose single rows are drawn."""

_VERDICTS = {
    "refit": ("helps", "no gain shown", "hurts"),
    "permute": ("leaned on", "no use shown", "misleads"),
}
"""Words for an interval above 0, one that holds 0, and one below."""

Details = Sequence[Mapping[str, Any]]


def importance_sections(details: Details) -> list[Section]:
    """Make the sections: what each feature step gains, and the importance of columns.

    Args:
        details: What is kept of each fold; folds that tell nothing are left out.
    """
    found = [steps_section(details), importance_section(details)]
    return [section for section in found if section is not None]


def importance_section(details: Details) -> Section | None:
    """Make a section of each fold's feature importance, as the model tells it and as shuffled held rows do.

    Returns:
        None where no fold has told any.
    """
    blocks: list[Block] = []
    lead = []
    shuffled = _shuffled(details)
    if shuffled is not None:
        first, drawn = shuffled
        blocks += drawn
        lead.append(first)
    blocks += _contributions(details)
    told = _told(details)
    if told is not None:
        first, drawn = told
        blocks += drawn
        lead.append(first)
    if not blocks:
        return None
    lead.append("Importance says what the model uses, not what causes the target; columns that tell the same share it.")
    return Section(title="Feature importance", lead=" ".join(lead), blocks=blocks)


def steps_section(details: Details) -> Section | None:
    """Make a section of what each feature step gains, or None where there are no steps."""
    told = [fold["examined"] for fold in details if fold.get("examined", {}).get("steps")]
    if not told:
        return None
    metric = find_metric(told[0]["metric"])
    how = told[0]["steps"][0]["how"]
    rows: list[list[object]] = []
    labels, means, intervals, shown = [], [], [], []
    for place, step in enumerate(told[0]["steps"]):
        losses = np.array([np.mean(fold["steps"][place]["losses"]) for fold in told])
        mean, low, high = _interval(losses)
        verdict = _VERDICTS[how][0 if low > 0 else 2 if high < 0 else 1]
        columns = sorted({name for fold in told for name in fold["steps"][place]["columns"]})
        listed = ", ".join(columns[:6]) + (f" and {len(columns) - 6} more" if len(columns) > 6 else "")
        rows.append([step["step"], listed or "none", _signed(mean), f"{_signed(low)} to {_signed(high)}", verdict])
        labels.append(step["step"])
        means.append(mean)
        intervals.append((low, high))
        shown.append(verdict)
    measured = "Gain" if how == "refit" else "Use"
    what = "its columns are shuffled among the fold's validation rows"
    if how == "refit":
        what = "the model is fitted again without it"
    best = [label for label, verdict in zip(labels, shown, strict=True) if verdict == _VERDICTS[how][0]]
    lead = (
        f"What {metric.title} loses when {what}. The interval is that of the mean over {len(told)} folds (95 %, "
        f"Student's t). " + (f"{_VERDICTS[how][0].capitalize()}: {', '.join(best)}." if best else "")
    )
    note = (
        "Shuffling says how much this model leans on a step, not what the step gains: a model fitted without it may "
        "find the same in other columns. features_gain: refit tells, at the price of one more fit per step."
    )
    return Section(
        title="Feature steps",
        lead=lead.strip(),
        blocks=[
            Bars(
                title=f"{measured} of each step in {metric.title}",
                labels=[f"{place}. {label}" for place, label in enumerate(labels, 1)],
                series=[("mean over folds", means)],
                value_label=f"{measured.lower()} in {metric.title}",
                intervals=intervals,
                dots=True,
            ),
            Grid(columns=["step", "makes", f"{measured.lower()} in {metric.title}", "interval", "verdict"], rows=rows),
            *([] if how == "refit" else [Text(note)]),
        ],
    )


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % interval over folds; the whole line where there is one fold."""
    from scipy.stats import t

    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values.mean()) if len(values) else float("nan")), -np.inf, np.inf
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    mean = float(values.mean())
    return mean, mean - half, mean + half


def _shuffled(details: Details) -> tuple[str, list[Block]] | None:
    """Loss of score when a column is shuffled, with its spread over folds and repeats."""
    told = [fold["examined"] for fold in details if fold.get("examined", {}).get("permutation")]
    if not told:
        return None
    metric = find_metric(told[0]["metric"])
    names = list(dict.fromkeys(name for fold in told for name in fold["permutation"]))
    losses = {name: np.array([v for fold in told for v in fold["permutation"].get(name, ())]) for name in names}
    means = {name: float(np.mean(one)) for name, one in losses.items() if np.isfinite(one).all() and len(one)}
    if not means:
        return None
    top = sorted(means, key=lambda name: -means[name])[:MOST_SHOWN]
    spread = {name: float(losses[name].std(ddof=1)) if len(losses[name]) > 1 else 0.0 for name in top}
    repeats = len(told[0]["permutation"][top[0]])
    rows = sum(int(fold["rows"]) for fold in told)
    bars = Bars(
        title=f"Loss of {metric.title} when a column is shuffled",
        labels=top,
        series=[("mean over folds and repeats", [means[name] for name in top])],
        value_label=f"loss of {metric.title} ± one standard deviation",
        intervals=[(means[name] - spread[name], means[name] + spread[name]) for name in top],
    )
    lead = (
        f"Shuffled among {rows:,} validation rows, {top[0]} costs most {metric.title} ({_signed(means[top[0]])}), as "
        f"the mean of {len(told)} folds with {repeats} repeats each."
    )
    return lead, [bars]


def _told(details: Details) -> tuple[str, list[Block]] | None:
    """The importance that the models themselves tell."""
    told = [fold for fold in details if fold.get("importance")]
    if not told:
        return None
    names = list(dict.fromkeys(name for fold in told for name in fold["importance"]))
    shares = np.array([[float(fold["importance"].get(name, 0.0)) for name in names] for fold in told])
    mean, low, high = shares.mean(axis=0), shares.min(axis=0), shares.max(axis=0)
    order = np.argsort(-mean, kind="stable")
    top = [int(place) for place in order[:MOST_SHOWN]]
    kind = str(told[0].get("importance_kind", "importance"))
    folds = "one fit" if len(told) == 1 else f"{len(told)} folds"
    unused = [names[int(place)] for place in order if mean[place] == 0.0]
    blocks: list[Block] = [
        Bars(
            title="Feature importance",
            labels=[names[place] for place in top],
            series=[("mean over folds", [float(mean[place]) for place in top])],
            value_label=kind,
            intervals=[(float(low[place]), float(high[place])) for place in top] if len(told) > 1 else None,
        ),
        Grid(
            columns=["column", "mean", "smallest", "largest"],
            rows=[[names[i], round(float(mean[i]), 4), round(float(low[i]), 4), round(float(high[i]), 4)] for i in top],
            caption=f"{kind[:1].upper()}{kind[1:]}, {folds}.",
            bars="mean",
        ),
    ]
    if unused:
        shown = ", ".join(unused[:20]) + (" …" if len(unused) > 20 else "")
        blocks.append(Text(f"Not used by any fold ({len(unused)}): {shown}."))
    return f"The model leans most on {names[top[0]]} ({mean[top[0]]:.0%}).", blocks


def _contributions(details: Details) -> list[Block]:
    """What columns add to the prediction of single rows: a swarm of one score, else the means over classes."""
    told = [fold["examined"]["contributions"] for fold in details if fold.get("examined", {}).get("contributions")]
    if not told:
        return []
    names = list(dict.fromkeys(name for fold in told for name in fold["mean"]))
    means = {name: float(np.mean([fold["mean"].get(name, 0.0) for fold in told])) for name in names}
    top = sorted(means, key=lambda name: -means[name])
    if not all("points" in fold for fold in told):
        shown = top[:MOST_SHOWN]
        bars = Bars(
            title="What columns add to the scores of single rows (SHAP)",
            labels=shown,
            series=[("mean size, summed over classes", [means[name] for name in shown])],
            value_label="mean size of what is added to a row's raw scores",
        )
        return [bars]
    rows = []
    for name in top[:MOST_SWARMS]:
        parts = [fold["points"][name] for fold in told if name in fold["points"]]
        values = [value for part in parts for value in part[0]]
        rows.append((name, values, [shade for part in parts for shade in part[1]]))
    swarm = Swarm(
        title="What columns add to the predictions of single rows (SHAP)",
        x_label="added to the raw score of a row",
        rows=rows,
    )
    return [swarm]


def _signed(value: float) -> str:
    if not np.isfinite(value):
        return "?"
    if value == 0:
        return "0"
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.4g}"
