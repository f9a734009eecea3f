"""Where a joint score is lost: each target by itself, and what the score would be if one of them were always right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Heatmap, Section, Text
from sanmaru.metrics.classification import accuracy, confusion, macro_f1, precision_recall_f1
from sanmaru.tables.joint import JointTarget

MOST_CLASSES = 30
"""Targets with more classes get no confusion matrix of their own."""


@dataclass(frozen=True, kw_only=True)
class TargetErrors:
    """What one target costs."""

    name: str
    accuracy: float
    """Of the target alone, by its own (marginal) probabilities; in [0, 1]."""
    macro_f1: float
    wrong: int
    """Rows whose joint class is wrong in this target, whatever else is wrong."""
    only: int
    """Rows whose joint class is wrong in this target and right in all others."""
    joint_accuracy: float
    """Of the joint class, if this target were always right."""
    joint_macro_f1: float


def target_errors(joint: JointTarget, truth: np.ndarray, probs: np.ndarray) -> list[TargetErrors]:
    """Return what each target costs.

    Args:
        joint: The targets.
        truth: Joint codes int64 (n,).
        probs: Joint probabilities float64 (n, n_joint).
    """
    true, chosen = joint.split(truth), joint.split(probs.argmax(axis=1))
    missed = true != chosen
    found = []
    for place, (target, own) in enumerate(zip(joint.targets, joint.marginals(probs), strict=True)):
        told = told_one(joint, probs, place, true[:, place])
        found.append(
            TargetErrors(
                name=target.name,
                accuracy=accuracy(true[:, place], own),
                macro_f1=macro_f1(true[:, place], own),
                wrong=int(missed[:, place].sum()),
                only=int((missed[:, place] & (missed.sum(axis=1) == 1)).sum()),
                joint_accuracy=accuracy(truth, told),
                joint_macro_f1=macro_f1(truth, told),
            )
        )
    return found


def told_one(joint: JointTarget, probs: np.ndarray, place: int, codes: np.ndarray) -> np.ndarray:
    """Return joint probabilities (n, n_joint) given that one target is known: P(joint | target = its true class).

    Where the true class was held to be impossible, the other targets keep their own probabilities.

    Args:
        joint: The targets.
        probs: Joint probabilities (n, n_joint).
        place: Which target is told.
        codes: Its true class, int64 (n,).
    """
    rows = np.arange(len(probs))
    cube = np.moveaxis(probs.reshape(len(probs), *joint.sizes), place + 1, 1)
    slices = cube[rows, codes]
    total = slices.reshape(len(probs), -1).sum(axis=1)
    impossible = total <= 0
    if impossible.any():
        slices = np.where(impossible.reshape(-1, *(1,) * (slices.ndim - 1)), cube.sum(axis=1), slices)
        total = slices.reshape(len(probs), -1).sum(axis=1)
    told = np.zeros_like(cube)
    told[rows, codes] = slices / total.reshape(-1, *(1,) * (slices.ndim - 1))
    return np.ascontiguousarray(np.moveaxis(told, 1, place + 1)).reshape(len(probs), -1)


def diagnose_targets(joint: JointTarget, truth: np.ndarray, probs: np.ndarray) -> Iterator[Section]:
    """Yield the section that attributes the loss, and one with each target's own confusion.

    Args:
        joint: Two targets or more.
        truth: Joint codes int64 (n,).
        probs: Joint probabilities float64 (n, n_joint).
    """
    if not len(truth):
        return
    yield _attribution(joint, truth, probs)
    yield _each(joint, truth, probs)


def _attribution(joint: JointTarget, truth: np.ndarray, probs: np.ndarray) -> Section:
    errors = target_errors(joint, truth, probs)
    now, right = macro_f1(truth, probs), accuracy(truth, probs)
    n_wrong = int((probs.argmax(axis=1) != truth).sum())
    lead = (
        f"The joint class {joint.name} ({' x '.join(joint.names)}) has macro F1 {now:.4f} and accuracy {right:.4f}; "
        f"{n_wrong:,} of {len(truth):,} rows are wrong in at least one target."
    )
    if not n_wrong:
        return Section(title="Where the points are lost", lead=lead)
    rows = [
        (
            one.name,
            round(one.accuracy, 4),
            round(one.macro_f1, 4),
            f"{one.wrong:,} ({one.wrong / n_wrong:.1%})",
            f"{one.only:,} ({one.only / n_wrong:.1%})",
            f"{one.joint_macro_f1:.4f} ({one.joint_macro_f1 - now:+.4f})",
            f"{one.joint_accuracy:.4f} ({one.joint_accuracy - right:+.4f})",
        )
        for one in errors
    ]
    columns = (
        "target",
        "its accuracy",
        "its macro F1",
        "wrong rows with it wrong",
        "with only it wrong",
        "joint macro F1 if it were right",
        "joint accuracy if it were right",
    )
    several = n_wrong - sum(one.only for one in errors)
    gains = [max(one.joint_macro_f1 - now, 0.0) for one in errors]
    blocks: list[Block] = [
        Grid(columns=columns, rows=rows, caption="Where the points are lost"),
        Bars(
            title="Joint macro F1 to be won by a target that is always right",
            labels=[one.name for one in errors],
            series=(("macro F1", [round(gain, 4) for gain in gains]),),
            value_label="macro F1",
        ),
        Text(
            f"{several:,} wrong rows ({several / n_wrong:.1%}) miss two targets or more. To be always right means that "
            "the joint probabilities are taken given the target's true class; the other targets stay as unsure as they "
            "are. Gains do not add up: a row that misses two targets is won only when both are right."
        ),
    ]
    return Section(
        title="Where the points are lost", lead=lead, blocks=blocks, findings=_costliest(errors, now, n_wrong)
    )


def _costliest(errors: list[TargetErrors], now: float, n_wrong: int) -> list[Finding]:
    ranked = sorted(errors, key=lambda one: -one.joint_macro_f1)
    first, second = ranked[:2]
    gain, next_gain = first.joint_macro_f1 - now, second.joint_macro_f1 - now
    if gain < 0.01 or gain < 1.5 * max(next_gain, 0.0):
        return []
    return [
        Finding(
            title=f"Most points are lost in {first.name!r}",
            severity="info",
            evidence=f"If it were always right, the joint macro F1 would rise from {now:.4f} to "
            f"{first.joint_macro_f1:.4f}; the next, {second.name!r}, would bring it to {second.joint_macro_f1:.4f}. "
            f"{first.only:,} of {n_wrong:,} wrong rows miss {first.name!r} alone.",
            advice=f"Work on {first.name!r} first: its labels, its rare classes, finer bins of a number, its weight "
            "among shared heads (data.target: weight), or a network of its own (model.heads: separate).",
            kind="costliest-target",
        )
    ]


def _each(joint: JointTarget, truth: np.ndarray, probs: np.ndarray) -> Section:
    blocks: list[Block] = []
    true = joint.split(truth)
    for place, (target, own) in enumerate(zip(joint.targets, joint.marginals(probs), strict=True)):
        if len(target.classes) > MOST_CLASSES:
            continue
        matrix = confusion(true[:, place], own.argmax(axis=1), len(target.classes))
        blocks.append(
            Heatmap(
                title=target.name,
                row_label="true",
                column_label="predicted",
                rows=list(target.classes),
                columns=list(target.classes),
                values=matrix.astype(int).tolist(),
            )
        )
        scores = precision_recall_f1(matrix)
        rows = [
            (label, int(matrix[code].sum()), *(round(float(values[code]), 4) for values in scores))
            for code, label in enumerate(target.classes)
        ]
        blocks.append(Grid(columns=(target.name, "rows", "precision", "recall", "F1"), rows=rows, bars="F1"))
    lead = "Each by its own probabilities: those of the joint classes, summed over the other targets."
    return Section(title="Each target by itself", lead=lead, blocks=blocks)
