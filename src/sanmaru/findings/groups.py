"""Rows that belong together, and ids and groups that stand on both sides."""

from __future__ import annotations

import numpy as np
import polars as pl

from sanmaru.findings.distributions import edges_of
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Block, Finding, Histogram, Section, Tiles
from sanmaru.html.numbers import percent, short
from sanmaru.tables.roles import ROW_ID

_GROUPED = {"grouped", "stratified-grouped", "column", "time"}


def groups(source: Source) -> Section | None:
    """Show the sizes of groups, and groups and ids found in train and test; None where there is nothing to say."""
    findings = _ids(source)
    name = source.roles.group
    if name is None or name not in source.train.columns:
        return Section(title="Groups", lead="No group column is named.", findings=findings) if findings else None
    sizes = source.train[name].drop_nulls().value_counts(name="n")["n"].to_numpy().astype(np.float64)
    if not len(sizes):
        return Section(title="Groups", lead=f"{name} is empty.", findings=findings)
    tiles = [
        ("Groups in train", f"{len(sizes):,}", f"by {name}"),
        ("Rows per group", short(float(np.median(sizes))), f"median; largest {int(sizes.max()):,}"),
    ]
    if sizes.max() > 1 and source.split not in _GROUPED:
        shared = float(sizes[sizes > 1].sum() / source.train.height)
        findings.append(
            Finding(
                title=f"Rows of one {name} may fall on both sides of a fold",
                severity="problem",
                evidence=f"split.kind is {source.split}; {percent(shared)} of the rows share their {name}.",
                advice="Use split.kind: grouped or stratified-grouped, or the score measures how well a model "
                f"recognises its {name}.",
                kind="group-torn",
            )
        )
    if sizes.max() > 0.3 * source.train.height:
        findings.append(
            Finding(
                title=f"One {name} holds {percent(sizes.max() / source.train.height)} of the rows",
                severity="warning",
                evidence=f"The largest group has {int(sizes.max()):,} of {source.train.height:,} rows.",
                advice="Folds cannot be of equal size, and the score depends on where this group falls.",
                kind="group-large",
            )
        )
    overlap = _overlap(source, name)
    if overlap is not None:
        known, rows = overlap
        tiles.append(("Test rows of known groups", percent(rows), f"{known:,} groups stand on both sides"))
        findings += _overlap_findings(source, name, known, rows)
    edges = edges_of(sizes)
    counts = np.histogram(sizes, edges)[0]
    blocks: list[Block] = [Tiles(tiles=tiles)]
    if sizes.max() > 1:
        blocks.append(
            Histogram(
                title="Size of groups (number of groups)",
                x_label="rows in the group",
                edges=edges.tolist(),
                series=[("", counts.tolist())],
            )
        )
    return Section(title="Groups", lead=f"Rows with the same {name} belong together.", blocks=blocks, findings=findings)


def _overlap(source: Source, name: str) -> tuple[int, float] | None:
    """Number of groups in both tables, and the share of test rows that belong to one."""
    if source.test is None or name not in source.test.columns or not source.test.height:
        return None
    known = source.train[name].drop_nulls().cast(pl.String).unique()
    theirs = source.test[name].cast(pl.String)
    both = theirs.is_in(known.implode()).fill_null(False)
    return theirs.filter(both).n_unique(), int(both.sum()) / source.test.height


def _overlap_findings(source: Source, name: str, known: int, rows: float) -> list[Finding]:
    if known and source.split in {"grouped", "stratified-grouped"} and rows > 0.5:
        return [
            Finding(
                title=f"{percent(rows)} of the test rows belong to a {name} known from train",
                severity="warning",
                evidence=f"{known:,} of them stand on both sides, while the grouped split validates on new ones only.",
                advice="The score will be too low for this test set. A random or time split is closer to it, "
                "if such rows are what the model will meet.",
                kind="groups-across",
            )
        ]
    if known and rows <= 0.5:
        return [
            Finding(
                title=f"{known:,} {name} stand in train and test",
                severity="warning",
                evidence=f"{percent(rows)} of the test rows belong to one of them.",
                advice="If test is to stand for new ones, take these rows out of train or of test.",
                kind="groups-across",
            )
        ]
    return []


def _ids(source: Source) -> list[Finding]:
    name = source.roles.id
    if name == ROW_ID or source.test is None or name not in source.test.columns or name not in source.train.columns:
        return []
    ours, theirs = source.train[name].cast(pl.String), source.test[name].cast(pl.String)
    both = theirs.filter(theirs.is_in(ours.unique().implode()))
    if both.is_empty():
        return []
    return [
        Finding(
            title=f"{len(both):,} ids stand in train and test",
            severity="warning",
            evidence=f"{percent(len(both) / len(theirs))} of the test rows have a {name} that train also has.",
            advice="If the id names a case, these are on both sides. If both files merely count from one, all is well.",
            ids=tuple(both.head(20).to_list()),
            kind="ids-across",
        )
    ]
