"""The first screen of a data report: how much there is, and what role every column plays."""

from __future__ import annotations

import polars as pl

from sanmaru.findings.kinds import column_kinds
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Finding, Grid, Section, Tiles
from sanmaru.html.numbers import percent, size

FEW_ROWS = 200


def overview(source: Source) -> Section:
    """Count rows, columns, bytes, missing cells and rows set aside, and list the columns."""
    train, test, roles = source.train, source.test, source.roles
    used = [name for name in train.columns if name in {*roles.features, *roles.targets}]
    cells = train.height * len(used)
    missing = sum(train[name].null_count() for name in used)
    tiles = [
        ("Rows", f"{train.height:,}", "" if test is None else f"and {test.height:,} to predict"),
        _features(source),
        ("In memory", size(train.estimated_size()), ""),
        ("Missing", percent(missing / cells) if cells else "0 %", "of all cells"),
        ("Set aside", f"{len(source.quarantine):,}", "rows that could not be used"),
    ]
    if roles.group and roles.group in train.columns:
        tiles.insert(1, ("Groups", f"{train[roles.group].n_unique():,}", f"by {roles.group}"))
    findings = []
    if 0 < train.height < FEW_ROWS:
        findings.append(
            Finding(
                title=f"Only {train.height:,} rows to learn from",
                severity="warning",
                evidence=f"With {train.height:,} rows a score has a wide interval and small gains do not show.",
                advice="Prefer simple models, more folds, and compare runs by their paired verdict only.",
                kind="few-rows",
            )
        )
    return Section(
        title="Overview",
        lead=source.about,
        blocks=[Tiles(tiles=tiles), _columns(source)],
        findings=findings,
    )


def _features(source: Source) -> tuple[str, str, str]:
    n = len(source.features())
    if source.roles.image:
        return ("Features", f"{n:,} and a picture" if n else "a picture", "")
    return ("Features", f"{n:,}", "")


def _columns(source: Source) -> Grid:
    train, roles = source.train, source.roles
    named = {roles.id: "id", roles.group: "group", roles.time: "time", roles.image: "image"}
    named |= dict.fromkeys(roles.parts, "part of the target")
    named |= dict.fromkeys(roles.targets, "target")
    kinds = column_kinds(train, source.columns)
    if roles.image:
        kinds[roles.image] = "image"
    rows = []
    for name in train.columns:
        column = train[name]
        present = column.drop_nulls()
        example = "" if present.is_empty() or column.dtype == pl.Binary else str(present[0])[:60]
        if name == roles.image:
            example = example.replace("\\", "/").rsplit("/", 1)[-1]
        role = named.get(name, "feature" if name in roles.features else "not used")
        distinct = None if column.dtype == pl.Binary else present.n_unique()
        rows.append(
            [name, role, kinds[name], distinct, round(100 * column.null_count() / max(1, train.height), 2), example]
        )
    return Grid(
        columns=["column", "role", "kind", "different values", "missing %", "example"],
        rows=rows,
        caption=f"Columns of {source.train_name}",
        bars="missing %",
    )
