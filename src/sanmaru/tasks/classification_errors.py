"""Error analysis of classification: per class, confusion, calibration, confident mistakes, as sections of a report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from sanmaru.html.blocks import Block, Finding, Grid, Heatmap, Histogram, Lines, Section, Tiles
from sanmaru.metrics.calibration import class_reliability
from sanmaru.metrics.classification import confusion, precision_recall_f1
from sanmaru.tasks.base import Output

MOST_CELLS = 25
"""Confusion matrices of more classes show only those with most mistakes."""


def diagnose_classification(output: Output, ids: pl.Series, truth: np.ndarray, probs: np.ndarray) -> Iterator[Section]:
    """Yield the sections.

    Args:
        output: The predicted column with its classes.
        ids: Row ids (n,).
        truth: int64 codes (n,).
        probs: float64 (n, n_classes).
    """
    if len(truth) == 0:
        return
    matrix = confusion(truth, probs.argmax(axis=1), len(output.classes))
    yield per_class(output, ids, truth, matrix)
    yield confusions(output, ids, truth, probs, matrix)
    yield calibration(truth, probs)
    yield confident_mistakes(output, ids, truth, probs)


def mistakes_by_confidence(truth: np.ndarray, probs: np.ndarray, limit: int) -> np.ndarray:
    """Return the positions of wrongly classified rows, the most confident first, int64 (at most limit,)."""
    wrong = np.flatnonzero(probs.argmax(axis=1) != truth)
    order = np.argsort(-probs[wrong].max(axis=1), kind="stable")
    return wrong[order[:limit]]


def per_class(output: Output, ids: pl.Series, truth: np.ndarray, matrix: np.ndarray) -> Section:
    """Show support, precision, recall and F1 of each class; name classes that are never or hardly found."""
    precision, recall, f1 = precision_recall_f1(matrix)
    support = matrix.sum(axis=1).astype(int)
    rows = [
        (label, int(support[code]), *(round(float(values[code]), 4) for values in (precision, recall, f1)))
        for code, label in enumerate(output.classes)
    ]
    findings = []
    for code in np.flatnonzero((support > 0) & (recall == 0)):
        chosen = np.argsort(-matrix[code], kind="stable")[0]
        findings.append(
            Finding(
                title=f"No row of class {output.classes[code]!r} is recognised",
                severity="problem",
                evidence=f"{support[code]} rows ({support[code] / len(truth):.1%} of all), recall 0; "
                f"most are taken for {output.classes[chosen]!r}.",
                advice="Collect more rows of it, weigh classes (class_weights: balanced), or merge it with a "
                "neighbour if the difference does not matter.",
                ids=_ids(ids, np.flatnonzero(truth == code)),
                kind="class-never-found",
            )
        )
    absent = [label for code, label in enumerate(output.classes) if support[code] == 0]
    if absent:
        findings.append(
            Finding(
                title=f"{len(absent)} classes have no scored row",
                severity="info",
                evidence=", ".join(absent[:10]),
                advice="Their scores are unknown, not zero. A stratified split puts every class into every fold.",
                kind="class-without-rows",
            )
        )
    grid = Grid(columns=("class", "rows", "precision", "recall", "F1"), rows=rows, bars="F1")
    best, worst = int(np.argmax(f1)), int(np.argmin(np.where(support > 0, f1, np.inf)))
    lead = f"Best: {output.classes[best]} (F1 {f1[best]:.3f}). Hardest: {output.classes[worst]} (F1 {f1[worst]:.3f})."
    return Section(title="Scores per class", lead=lead, blocks=(grid,), findings=tuple(findings))


def confusions(output: Output, ids: pl.Series, truth: np.ndarray, probs: np.ndarray, matrix: np.ndarray) -> Section:
    """Show the confusion matrix and the commonest mistakes; name pairs of classes taken for each other."""
    n_classes = len(output.classes)
    wrong = matrix - np.diag(np.diag(matrix))
    shown = np.arange(n_classes)
    if n_classes > MOST_CELLS:
        shown = np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MOST_CELLS])
    names = [output.classes[code] for code in shown]
    blocks: list[Block] = [
        Heatmap(
            title="Confusion matrix" if n_classes <= MOST_CELLS else f"The {MOST_CELLS} classes with most mistakes",
            row_label="true",
            column_label="predicted",
            rows=names,
            columns=names,
            values=matrix[np.ix_(shown, shown)].astype(int).tolist(),
        )
    ]
    pairs = [divmod(int(cell), n_classes) for cell in np.argsort(-wrong, axis=None, kind="stable")[:10]]
    support = matrix.sum(axis=1)
    common = [
        (output.classes[a], output.classes[b], int(wrong[a, b]), f"{wrong[a, b] / support[a]:.1%}")
        for a, b in pairs
        if wrong[a, b] > 0
    ]
    if n_classes > 2 and common:
        blocks.append(
            Grid(
                columns=("true", "predicted as", "rows", "share of the true class"),
                rows=common,
                caption="Commonest mistakes",
            )
        )
    n_wrong = int(wrong.sum())
    return Section(
        title="Confusion",
        lead=f"{n_wrong} of {len(truth)} rows are given a wrong class ({n_wrong / len(truth):.1%}).",
        blocks=tuple(blocks),
        findings=tuple(_confused_pairs(output, ids, truth, probs.argmax(axis=1), wrong)),
    )


def _confused_pairs(
    output: Output, ids: pl.Series, truth: np.ndarray, predicted: np.ndarray, wrong: np.ndarray
) -> Iterator[Finding]:
    if len(output.classes) == 2:
        return  # two classes can only be taken for each other; the matrix says it all
    both, support = wrong + wrong.T, np.bincount(truth, minlength=len(output.classes))
    share = both / np.maximum(support[:, None] + support[None, :], 1)
    share[np.tril_indices(len(support))] = 0
    found = 0
    for cell in np.argsort(-share, axis=None, kind="stable")[:50]:
        a, b = divmod(int(cell), len(support))
        if share[a, b] < 0.15 or found == 3:
            return
        if both[a, b] < 10 or min(wrong[a, b], wrong[b, a]) < 0.1 * both[a, b]:
            continue  # too few to speak of, or one-way: then the smaller class is simply missed
        found += 1
        rows = ((truth == a) & (predicted == b)) | ((truth == b) & (predicted == a))
        yield Finding(
            title=f"{output.classes[a]!r} and {output.classes[b]!r} are taken for each other",
            severity="warning",
            evidence=f"{int(wrong[a, b])} {output.classes[a]!r} as {output.classes[b]!r}, {int(wrong[b, a])} the other "
            f"way: {share[a, b]:.0%} of the rows of the two.",
            advice="Look at these rows: labels may be mixed up, or the features may not tell the two apart.",
            ids=_ids(ids, np.flatnonzero(rows)),
            kind="classes-confused",
        )


def calibration(truth: np.ndarray, probs: np.ndarray) -> Section:
    """Show predicted against observed frequency and the spread of confidence; say when probabilities mislead."""
    bins = class_reliability(truth, probs)
    error, chance = bins.expected_error, bins.error_by_chance
    binary = probs.shape[1] == 2
    right = probs.argmax(axis=1) == truth
    confidence = probs.max(axis=1)
    edges = np.linspace(1 / probs.shape[1], 1.0, 21)
    counts = [np.histogram(np.clip(confidence[mask], edges[0], 1.0), bins=edges)[0] for mask in (right, ~right)]
    findings = []
    if error > 0.03 + 2 * chance:
        surer = confidence.mean() - right.mean()
        way = "surer than they should be" if surer > 0 else "less sure than they could be"
        findings.append(
            Finding(
                title="Predicted probabilities are off",
                severity="warning",
                evidence=f"Expected calibration error {error:.3f} (chance alone would give about {chance:.3f}); "
                f"predictions are {way}: mean confidence {confidence.mean():.3f}, accuracy {right.mean():.3f}.",
                advice="Do not read the probabilities as chances or set thresholds by them as they are. Label "
                "smoothing, fewer epochs or an ensemble usually help.",
                kind="poor-calibration",
            )
        )
    what = "probability of the second class" if binary else "probability of the chosen class"
    return Section(
        title="Calibration",
        lead=f"Expected calibration error {error:.3f}; on the diagonal, what is predicted with 80 % happens in 80 %.",
        blocks=(
            Tiles(tiles=(("expected calibration error", f"{error:.3f}", f"chance alone about {chance:.3f}"),)),
            Lines(
                title="Predicted against observed",
                x_label=f"predicted {what}",
                y_label="observed share",
                series=(("rows", bins.predicted.tolist(), bins.observed.tolist()),),
                diagonal=True,
            ),
            Histogram(
                title="Confidence",
                x_label="probability of the chosen class",
                edges=edges.tolist(),
                series=(("right", counts[0].tolist()), ("wrong", counts[1].tolist())),
            ),
        ),
        findings=tuple(findings),
    )


def confident_mistakes(
    output: Output, ids: pl.Series, truth: np.ndarray, probs: np.ndarray, limit: int = 20
) -> Section:
    """Show the wrong rows of which the model was surest: label mistakes and odd rows gather here."""
    places = mistakes_by_confidence(truth, probs, limit)
    predicted = probs.argmax(axis=1)
    rows = [
        (
            str(ids[int(place)]),
            output.classes[truth[place]],
            output.classes[predicted[place]],
            round(float(probs[place, predicted[place]]), 4),
            round(float(probs[place, truth[place]]), 4),
        )
        for place in places
    ]
    lead = "Wrong rows of which the model was surest. Wrong labels gather here: check them first."
    grid = Grid(columns=(ids.name, "true", "predicted", "its probability", "probability of the true class"), rows=rows)
    if not rows:
        return Section(title="Most confident mistakes", lead="There is no mistake.")
    return Section(title="Most confident mistakes", lead=lead, blocks=(grid,))


def _ids(ids: pl.Series, places: np.ndarray) -> tuple[str, ...]:
    return tuple(str(ids[int(place)]) for place in places[:20])
