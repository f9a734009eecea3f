"""Unequal classes: how unequal, what the project does about it, and what it costs the rare ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Section
from sanmaru.html.numbers import percent
from sanmaru.tasks.base import Output

UNEQUAL = 1.5
"""Classes whose sizes differ by less are called equal."""
HEAVY = 5.0
"""From this ratio of the largest class to the smallest on, doing nothing about it is a finding."""
COSTLY = 2.0
"""As `HEAVY`, where the rare classes are found clearly less often than the frequent ones."""
FEW = 5
"""With fewer rows than this in a fold, a class's score there swings with each of them."""
MOST_ROWS = 100
MOST_BARS = 12


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What a project does for rare classes, and what it could."""

    sampling: Literal["natural", "balanced"] = "natural"
    class_weights: Literal["none", "balanced", "effective"] = "none"
    beta: float = 0.999
    """Of effective weights."""
    loss: str = ""
    """Name of the loss, where it treats classes alike by itself; else empty."""
    per_head: bool = False
    """Whether weights are those of each target's own classes and not of the joint ones."""
    per_network: bool = False
    """Whether rows are drawn for each target's network by itself, by its own classes."""
    advice: str
    """Which keys to set where nothing is done."""

    @property
    def done(self) -> tuple[str, ...]:
        """What is done, in the project file's words."""
        told = []
        if self.sampling == "balanced":
            told.append("train.sampling: balanced")
        if self.class_weights != "none":
            told.append(f"class_weights: {self.class_weights}")
        if self.loss:
            told.append(f"loss: {self.loss}")
        return tuple(told)

    def seen(self, counts: np.ndarray) -> np.ndarray | None:
        """Return how often each row of a class is drawn per epoch on average, float64 (k,); None where it is once.

        Args:
            counts: Rows of each class (k,), > 0.
        """
        if self.sampling == "natural" or self.per_network:
            return None
        return np.asarray(counts.sum() / (len(counts) * counts.astype(np.float64)))

    def weights(self, counts: np.ndarray) -> np.ndarray | None:
        """Return the weight of each class in the loss, float64 (k,), or None where they are all 1."""
        if self.class_weights == "none" or self.per_head:
            return None
        if self.class_weights == "balanced":
            return np.asarray(counts.sum() / (len(counts) * counts.astype(np.float64)))
        raw = (1 - self.beta) / (1 - self.beta ** counts.astype(np.float64))
        return np.asarray(raw * counts.sum() / (raw * counts).sum())


def imbalance_section(
    output: Output, truth: np.ndarray, folds: np.ndarray, remedy: Remedy, predicted: np.ndarray | None = None
) -> Section | None:
    """Show how often each class occurs, is seen and, where there are predictions, is found; None for equal classes.

    Args:
        output: The classes.
        truth: int64 codes (n,).
        folds: int64 (n,), the fold in which each row is validated; -1 for never.
        remedy: What the project does about it.
        predicted: int64 codes (n,), -1 where a row has no prediction.
    """
    counts = np.bincount(truth, minlength=len(output.classes))
    present = np.flatnonzero(counts)
    order = present[np.argsort(counts[present], kind="stable")]
    if len(order) < 2:
        return None
    ratio = counts[order[-1]] / counts[order[0]]
    if ratio < UNEQUAL and not remedy.done:
        return None
    per_fold = np.array([np.bincount(truth[folds == f], minlength=len(counts)) for f in np.unique(folds[folds >= 0])])
    recall = None if predicted is None else recalls(truth, predicted, len(counts))
    rarest, largest = output.classes[order[0]], output.classes[order[-1]]
    lead = f"{largest} has {counts[order[-1]]:,} rows, {rarest} has {counts[order[0]]:,}: {_ratio(ratio)}. "
    lead += f"Done about it: {', '.join(remedy.done)}." if remedy.done else "Nothing is done about it."
    by_target = (remedy.per_network and remedy.sampling == "balanced") or (
        remedy.per_head and (remedy.class_weights != "none" or bool(remedy.loss))
    )
    if by_target:
        lead += " The classes of each target count there, not the joint ones shown here."
    blocks: list[Block] = [_table(output, order, counts, per_fold, remedy=remedy, recall=recall)]
    if recall is not None:
        blocks.insert(0, _by_size(output, order, counts, recall))
    findings = [*_untreated(output, order, counts, remedy, recall), *_thin(output, order, counts, per_fold)]
    return Section(title="Imbalance", lead=lead, blocks=blocks, findings=findings)


def recalls(truth: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the share of each class's rows that are found, float64 (n_classes,), NaN for a class without scored rows.

    Args:
        truth: int64 codes (n,).
        predicted: int64 codes (n,), -1 where there is no prediction.
        n_classes: Number of classes.
    """
    scored = predicted >= 0
    rows = np.bincount(truth[scored], minlength=n_classes)
    found = np.bincount(truth[scored & (truth == predicted)], minlength=n_classes)
    return np.asarray(np.divide(found, rows, out=np.full(n_classes, np.nan), where=rows > 0))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of n rows (Wilson, 1927), which stays in [0, 1] and is wide for few rows.

    >>> [round(value, 3) for value in wilson(0.5, 10)]
    [0.237, 0.763]
    """
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - half), min(1.0, middle + half)


def _ratio(ratio: float) -> str:
    return f"{ratio:.0f} to 1" if ratio >= 3 else f"{ratio:.1f} to 1"


def _table(
    output: Output,
    order: np.ndarray,
    counts: np.ndarray,
    per_fold: np.ndarray,
    *,
    remedy: Remedy,
    recall: np.ndarray | None,
) -> Grid:
    """The rarest classes first."""
    seen, weights = remedy.seen(counts[order]), remedy.weights(counts[order])
    columns = ["class", "rows", "share", "fewest in a fold", "most in a fold"]
    if seen is not None:
        columns += ["each row seen per epoch", "share of an epoch"]
    if weights is not None:
        columns.append("weight in the loss")
    if recall is not None:
        columns.append("recall")
    rows = []
    for place, code in enumerate(order[:MOST_ROWS].tolist()):
        mine = per_fold[:, code] if len(per_fold) else np.zeros(1, np.int64)
        row: list[object] = [
            output.classes[code], int(counts[code]), percent(counts[code] / counts.sum()), int(mine.min()),
            int(mine.max()),
        ]  # fmt: skip
        if seen is not None:
            row += [round(float(seen[place]), 2), percent(1 / len(order))]
        if weights is not None:
            row.append(round(float(weights[place]), 3))
        if recall is not None:
            row.append(None if np.isnan(recall[code]) else round(float(recall[code]), 4))
        rows.append(row)
    caption = "Rarest first" if len(order) <= MOST_ROWS else f"The {MOST_ROWS} rarest of {len(order)}"
    return Grid(columns=columns, rows=rows, caption=caption, bars="rows")


def _by_size(output: Output, order: np.ndarray, counts: np.ndarray, recall: np.ndarray) -> Bars:
    """Recall of each class, or of groups of classes of like size where there are many, the rarest first."""
    groups = [order[place : place + 1] for place in range(len(order))]
    names = [f"{output.classes[code]} ({counts[code]:,})" for code in order]
    if len(order) > MOST_BARS:
        groups = [part for part in np.array_split(order, 5) if len(part)]
        names = [f"{len(g)} classes, {counts[g[0]]:,} to {counts[g[-1]]:,} rows" for g in groups]
    values, intervals = [], []
    for group in groups:
        known = group[~np.isnan(recall[group])]
        rows = float(counts[known].sum())
        # Of all rows of the group together: a mean over classes would hide how few rows it rests on.
        share = float((recall[known] * counts[known]).sum() / rows) if rows else float("nan")
        values.append(share)
        intervals.append(wilson(share, rows) if rows else (float("nan"), float("nan")))
    return Bars(
        title="Recall by class size, with 95 % intervals" if len(order) <= MOST_BARS else "Recall by class size",
        labels=names,
        series=[("", values)],
        value_label="share of the class's rows that are found",
        intervals=intervals,
        dots=True,
    )


def _untreated(
    output: Output, order: np.ndarray, counts: np.ndarray, remedy: Remedy, recall: np.ndarray | None
) -> Sequence[Finding]:
    ratio = counts[order[-1]] / counts[order[0]]
    if ratio < COSTLY or remedy.done:
        return []
    third = max(1, len(order) // 3)
    evidence = f"The smallest of {len(order)} classes has {counts[order[0]]:,} rows, the largest "
    evidence += f"{counts[order[-1]]:,} ({_ratio(ratio)}); every row counts the same and is seen once per epoch."
    costs = False
    if recall is not None and not np.isnan(recall[order[:third]]).all() and not np.isnan(recall[order[-third:]]).all():
        rare, frequent = (float(np.nanmean(recall[part])) for part in (order[:third], order[-third:]))
        costs = rare < frequent - 0.1
        evidence += (
            f" Recall of the rarest {_classes(third)} is {rare:.3f} on average, of the largest {_classes(third)} "
            f"{frequent:.3f}."
        )
    if ratio < HEAVY and not costs:
        return []
    return [
        Finding(
            title="Classes are unequal and nothing is done about it",
            severity="warning" if ratio >= 20 or costs else "info",
            evidence=evidence,
            advice=remedy.advice,
            kind="imbalance-untreated",
        )
    ]


def _thin(output: Output, order: np.ndarray, counts: np.ndarray, per_fold: np.ndarray) -> Sequence[Finding]:
    if not len(per_fold):
        return []
    thin = [code for code in order.tolist() if per_fold[:, code].min() < FEW]
    if not thin:
        return []
    named = ", ".join(f"{output.classes[code]} ({per_fold[:, code].min()} of {counts[code]:,})" for code in thin[:8])
    more = " …" if len(thin) > 8 else ""
    absent = any(per_fold[:, code].min() == 0 for code in thin)
    return [
        Finding(
            title=f"{len(thin)} class{'' if len(thin) == 1 else 'es'} with fewer than {FEW} rows in a fold",
            severity="warning" if absent else "info",
            evidence=f"Fewest rows in any fold: {named}{more}.",
            advice="Their scores per fold swing with single rows. Split stratified, take fewer folds, collect more of "
            "them, or merge them with a neighbour (for a number in bands: move the cut).",
            kind="thin-class",
        )
    ]


def _classes(n: int) -> str:
    return "class" if n == 1 else f"{n} classes"
