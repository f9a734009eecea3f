"""Learning curves of the folds, what each fit told of itself, and where the training time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from sanmaru.experiments.events import FILE_NAME, learning_curve, read_events
from sanmaru.experiments.runs import Run
from sanmaru.files import read_json
from sanmaru.html.blocks import Block, Grid, Lines, Section, Text
from sanmaru.html.numbers import percent
from sanmaru.metrics.names import NAMES

_NOT_DRAWN = {"step", "seconds"}
_PARTS = {
    "step": "forward, backward and update",
    "augment": "augmenting",
    "plan": "drawing order and augmentations",
    "gather": "gathering the batch",
    "normalise": "normalising",
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
        if event["kind"] == "note"
    ]
    blocks += [Text(note) for note in notes[:10]]
    lead = "Thick: the mean, as far as all folds go; thin: single folds." if charts else ""
    return Section(title="Training", lead=lead, blocks=blocks)


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
    return line + (f" Time went to: {parts}." if parts else "")
