"""Exact copies of pictures, told by the hash of their files: inside the training rows, and across to the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Block, Finding, Grid, Section
from sanmaru.images.read import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray


def exact_copies(
    classes: Sequence[str],
    ids: pl.Series,
    codes: NDArray[np.int64],
    measured: Sequence[Measured | None],
    test: tuple[pl.Series, Sequence[Measured | None]] | None,
) -> Section:
    """Show which pictures occur more than once, and under which labels.

    Args:
        classes: Labels by code.
        ids: Ids of the training rows (n,).
        codes: Class codes (n,).
        measured: Fingerprints (n,), None where a picture cannot be read.
        test: Ids and fingerprints of the test rows.
    """
    places: dict[str, list[int]] = {}
    for place, m in enumerate(measured):
        if m is not None:
            places.setdefault(m.digest, []).append(place)
    groups = [rows for rows in places.values() if len(rows) > 1]
    torn = [rows for rows in groups if len({int(codes[row]) for row in rows}) > 1]
    findings = []
    if torn:
        findings.append(
            Finding(
                title="The same picture stands under different labels",
                severity="problem",
                evidence=f"{len(torn)} pictures, {sum(map(len, torn))} rows; for example "
                + ", ".join(f"{ids[row]} as {classes[codes[row]]!r}" for row in torn[0][:4])
                + ".",
                advice="At most one of these labels can be right: mend or remove them before training.",
                ids=_ids(ids, torn),
                kind="copies-with-other-labels",
            )
        )
    if groups:
        extra = sum(map(len, groups)) - len(groups)
        findings.append(
            Finding(
                title="Pictures occur more than once",
                severity="warning",
                evidence=f"{len(groups)} pictures fill {sum(map(len, groups))} rows; {extra} "
                f"({extra / len(measured):.1%} of all) could go.",
                advice="Copies that fall into different folds flatter the score. Remove them, or give copies one "
                "group (data.group) and split grouped.",
                ids=_ids(ids, groups),
                kind="copies-in-training",
            )
        )
    blocks: list[Block] = []
    if groups:
        largest = sorted(groups, key=len, reverse=True)[:10]
        rows = [
            (len(r), ", ".join(sorted({classes[codes[row]] for row in r})), ", ".join(str(ids[row]) for row in r[:5]))
            for r in largest
        ]
        blocks.append(Grid(columns=("rows", "labels", "ids"), rows=rows, caption="Most frequent copies"))
    lead = f"{len(places):,} different pictures in {len(measured):,} training rows."
    if test is not None:
        other_ids, others = test
        both = [place for place, m in enumerate(others) if m is not None and m.digest in places]
        lead += f" {len(both):,} of {len(others):,} test rows show a picture of the training rows."
        if both:
            findings.append(
                Finding(
                    title="Test pictures stand in the training rows",
                    severity="warning",
                    evidence=f"{len(both)} of {len(others)} test rows ({len(both) / len(others):.1%}); for example "
                    + ", ".join(str(other_ids[place]) for place in both[:4])
                    + ".",
                    advice="A score on the test set will be too good. Leave these rows out of one of the two.",
                    ids=tuple(str(other_ids[place]) for place in both[:20]),
                    kind="copies-in-test",
                )
            )
    return Section(title="Exact copies", lead=lead, blocks=tuple(blocks), findings=tuple(findings))


def _ids(ids: pl.Series, groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    return tuple(str(ids[row]) for rows in groups for row in rows)[:20]
