"""Learning curves of the folds, what each fit told of itself, and where the training time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from sanmaru.experiments.events import FILE_NAME, learning_curve, read_events
from sanmaru.experiments.runs import Run
from sanmaru.files import read_json
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Lines, Section, Text
from sanmaru.html.numbers import percent
from sanmaru.metrics.names import NAMES

_NOT_DRAWN = {"step", "seconds"}
_PARTS = {
    "step": "forward, backward and update",
    "augment": "augmenting",
    "plan": "drawing order and augmentations",
    "gather": "gathering the batch",
    "normalise": "normalising",
    "decode": "reading pictures into the cache",
    "evaluation": "evaluating after each epoch",
    "measuring": "measuring the bare step",
    "logging": "curves and checkpoints",
}
_SHORT = {
    "step": "the step itself",
    "plan": "drawing",
    "decode": "reading pictures",
    "measuring": "bare steps",
    "logging": "curves, saving",
}
"""As `_PARTS`, for the margin of a chart."""
SLOW = 0.9
"""Below this honest fraction the report says what to do."""
_FASTER = {
    "augment": "Augmentation holds the network up: leave out what the contact sheet shows to be of no use, "
    "blur, noise and JPEG first.",
    "gather": "Pictures do not lie where batches are made: a smaller model.image_size keeps them in memory.",
}


def read_details(run: Run) -> list[dict[str, Any]]:
    """Return what each fold's estimator said of itself."""
    paths = [folder / "details.json" for folder in run.fold_folders()]
    return [dict(read_json(path)) for path in paths if path.is_file()]


def read_done(run: Run) -> list[dict[str, Any]]:
    """Return the result of each finished fold."""
    paths = [folder / "done.json" for folder in run.fold_folders()]
    return [dict(read_json(path)) for path in paths if path.is_file()]


def curves_section(run: Run, details: Sequence[Mapping[str, Any]]) -> Section | None:
    """Show the learning curves, what the fits took, and the honest fraction; None for a run without fits."""
    done = read_done(run)
    if not done:
        return None
    folds = [learning_curve(folder / FILE_NAME) for folder in run.fold_folders()]
    charts = draw_curves(folds, "epoch" if any("epochs" in one for one in details) else "step")
    blocks: list[Block] = [*charts]
    if not charts:
        blocks.append(Text("The folds told no learning curve: this model is fitted in one step."))
    bars = time_bars(details)
    if bars is not None:
        blocks.append(bars)
    honest = honest_line(details)
    if honest:
        blocks.append(Text(honest))
    best = {place: one.get("best_epoch") for place, one in enumerate(details)}
    rows = [
        [
            f"fold {fold['fold']}",
            fold["fit_rows"],
            fold["selection_rows"],
            fold["rows"],
            fold.get("best_step") or best.get(fold["fold"]),
            fold["seconds"].get("fit"),
            fold["seconds"].get("total"),
        ]
        for fold in done
    ]
    columns = ["", "rows to fit", "rows to select", "rows to score", "best step", "fit (s)", "whole fold (s)"]
    blocks.append(Grid(columns=columns, rows=rows, caption="The fits"))
    notes = [
        f"Fold {number}: {event['text']}"
        for number, folder in enumerate(run.fold_folders())
        for event in read_events(folder / FILE_NAME)[0]
        if event["kind"] == "note" and not event["text"].startswith("bottleneck:")  # the chart tells it
    ]
    blocks += [Text(note) for note in notes[:10]]
    lead = "Thick: the mean, as far as all folds go; thin: single folds." if charts else ""
    return Section(title="Training", lead=lead, blocks=blocks, findings=_held_up(details))


def draw_curves(folds: Sequence[Sequence[Mapping[str, Any]]], x_label: str) -> list[Lines]:
    """Make one chart per quantity: `train_loss` and `valid_loss` share one, the learning rate has its own.

    The mean is taken only where every fold has a point, so that a fold that stopped early cannot bend it.

    Args:
        folds: The learning curve of each fold, as `events.learning_curve` gives it.
        x_label: What a step is.
    """
    from sanmaru.metrics.base import find_metric

    names = list(dict.fromkeys(n for fold in folds for point in fold for n in point if n not in _NOT_DRAWN))
    quantities: dict[str, list[str]] = {}
    for name in names:
        prefix, _, rest = name.partition("_")
        quantities.setdefault(rest if prefix in {"train", "valid"} and rest else name, []).append(name)
    charts = []
    for quantity, members in quantities.items():
        series, background = [], []
        for name in members:
            label = name.partition("_")[0] if name != quantity else quantity.replace("_", " ")
            label = {"valid": "selection rows", "train": "training rows"}.get(label, label)
            lines = [[(point["step"], point[name]) for point in fold if name in point] for fold in folds]
            lines = [line for line in lines if line]
            shared = [dict(line) for line in lines]
            steps = sorted(set.intersection(*(set(line) for line in shared)))
            if len(steps) < 2 and len(lines) > 1 and max(len(line) for line in lines) < 2:
                continue  # one point per fold is no curve
            series.append(
                (label, [float(step) for step in steps], [mean(line[step] for line in shared) for step in steps])
            )
            if len(lines) > 1:
                background += [(label, [float(x) for x, _ in line], [float(y) for _, y in line]) for line in lines]
        if any(len(x) > 1 for _, x, _ in (*series, *background)):
            title = find_metric(quantity).title if quantity in NAMES else quantity.replace("_", " ")
            charts.append(
                Lines(
                    title=title[:1].upper() + title[1:],
                    x_label=x_label,
                    y_label=title,
                    series=series,
                    background=background,
                )
            )
    return charts


def honest_line(details: Sequence[Mapping[str, Any]]) -> str:
    """Say what share of the training time was the bare step, and what held the rest; empty where nobody measured.

    >>> honest_line([{"honest_fraction": 0.96, "shares": {"step": 0.97, "augment": 0.03}}])
    'Honest fraction 96 %: of the time of a training step, so much is forward, backward and update alone on a batch \
that lies ready. Time went to: forward, backward and update 97 %, augmenting 3 %.'
    """
    told = [one for one in details if one.get("honest_fraction") is not None]
    if not told:
        return ""
    fraction = median(float(one["honest_fraction"]) for one in told)
    names = list(dict.fromkeys(name for one in told for name in one.get("shares", {})))
    shares = {name: mean(float(one.get("shares", {}).get(name, 0.0)) for one in told) for name in names}
    parts = ", ".join(
        f"{_PARTS.get(name, name)} {percent(share)}"
        for name, share in sorted(shares.items(), key=lambda p: -p[1])
        if share > 0
    )
    line = (
        f"Honest fraction {percent(fraction)}: of the time of a training step, so much is forward, backward and update "
        "alone on a batch that lies ready."
    )
    rates = [float(one["samples_per_s"]) for one in told if one.get("samples_per_s")]
    if rates:
        line += f" {median(rates):,.0f} samples per second."
    return line + (f" Time went to: {parts}." if parts and not any(one.get("time_shares") for one in told) else "")


def time_bars(details: Sequence[Mapping[str, Any]]) -> Bars | None:
    """Draw what the time of the fits went into, from the largest part; None where nobody measured."""
    told = [one["time_shares"] for one in details if one.get("time_shares")]
    if not told:
        return None
    names = list(dict.fromkeys(name for shares in told for name in shares))
    shares = {name: mean(float(one.get(name, 0.0)) for one in told) for name in names}
    shown = [(name, share) for name, share in sorted(shares.items(), key=lambda part: -part[1]) if share >= 0.005]
    return Bars(
        title="Where the time of a fit went",
        labels=[_SHORT.get(name, name) for name, _ in shown],
        series=[("", [round(100 * share, 1) for _, share in shown])],
        value_label="% of the time",
    )


def _held_up(details: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Say what to do where the network waits for its pictures."""
    told = [one for one in details if one.get("honest_fraction") is not None]
    if not told:
        return []
    fraction = median(float(one["honest_fraction"]) for one in told)
    if fraction >= SLOW:
        return []
    names = list(dict.fromkeys(name for one in told for name in one.get("shares", {}) if name != "step"))
    held = {name: mean(float(one.get("shares", {}).get(name, 0.0)) for one in told) for name in names}
    worst = max(held, key=lambda name: held[name], default="")
    if held.get(worst, 0.0) < 0.05:
        return []  # the steps themselves went slower than the bare ones: other work on the same cores
    lines = [str(one["bottleneck"]) for one in told if one.get("bottleneck")]
    return [
        Finding(
            title="The network waits for its pictures",
            severity="info",
            evidence=f"Honest fraction {percent(fraction)}; besides the step, most of the time goes to "
            f"{_PARTS.get(worst, worst)} ({percent(held[worst])})." + (f" First fold: {lines[0]}." if lines else ""),
            advice=_FASTER.get(worst, "Measure on a quiet machine: other work on the same cores shows here too."),
            kind="network-waits",
        )
    ]
