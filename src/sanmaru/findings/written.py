"""How the cells of columns were written, where that is not plain: markers of a missing value, units, separators."""

from __future__ import annotations

from sanmaru.findings.source import Source
from sanmaru.html.blocks import Finding, Grid, Section

_WORDS = frozenset({"none", "NONE", "None", "없음", "해당없음", "해당 없음", "-", "."})
"""Markers that may as well be an answer: no garage, no reason."""
_NAMES = {
    "missing-marker": "marker of a missing value",
    "unit": "unit",
    "thousands": "thousands set off",
    "words": "yes and no",
    "date-format": "format of dates",
}


def written(source: Source) -> Section | None:
    """Show every odd way of writing with its column and cells, or None where all is plain."""
    if not source.oddities:
        return None
    rows = [[one.column, _NAMES[one.kind], one.what, one.cells] for one in source.oddities]
    findings = []
    markers = [one for one in source.oddities if one.kind == "missing-marker"]
    for one in markers:
        if one.what in _WORDS and one.cells >= 0.2 * source.train.height:
            findings.append(
                Finding(
                    title=f"{one.column} holds {one.what!r} in most rows"
                    if one.cells > 0.5 * source.train.height
                    else f"{one.column} often holds {one.what!r}",
                    severity="info",
                    evidence=f"{one.cells:,} of {source.train.height:,} cells; they were taken as no value.",
                    advice="Where it is an answer of its own rather than a gap, nothing is lost: models "
                    "tell missing from present. To keep it as a category, take it out of data.missing.",
                    kind="missing-marker",
                )
            )
    units = [one for one in source.oddities if one.kind == "unit"]
    if units:
        shown = ", ".join(f"{one.column} ({one.what})" for one in units[:10])
        findings.append(
            Finding(
                title=f"{len(units)} column{'' if len(units) == 1 else 's'} of numbers with a unit",
                severity="info",
                evidence=f"{shown}. Cells with another unit are no numbers there; their rows are set aside.",
                advice="Check that one unit is meant throughout. Where such a column holds names (a building, a line), "
                "say so: data.types: {column: category}.",
                kind="unit",
            )
        )
    return Section(
        title="How cells are written",
        lead="What was read otherwise than it stands there. Another reading: data.missing and data.types.",
        blocks=[Grid(columns=["column", "what", "written", "cells"], rows=rows)],
        findings=findings,
    )
