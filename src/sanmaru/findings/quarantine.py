"""Rows that could not be used: how many, why, and what stood there."""

from __future__ import annotations

from sanmaru.findings.source import Source
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Section
from sanmaru.html.numbers import percent
from sanmaru.tables.contract import Quarantine

MANY = 0.05
"""Share of rows set aside from which it is a problem."""
EXAMPLES_PER_RULE = 5


def quarantined(source: Source) -> Section | None:
    """Count the rows set aside by rule, with examples of each; None where every row could be used."""
    sides = [("train", source.quarantine, source.train.height)]
    if source.test is not None:
        sides.append(("test", source.test_quarantine, source.test.height))
    total = sum(len(quarantine) for _, quarantine, _ in sides)
    if not total:
        return None
    rules = sorted({rule for _, quarantine, _ in sides for rule in quarantine.counts()})
    series = [(name, [float(q.counts().get(rule, 0)) for rule in rules]) for name, q, _ in sides if len(q)]
    blocks: list[Block] = [Bars(title="Why rows were set aside", labels=rules, series=series, value_label="violations")]
    blocks.append(examples(sides[0][1] + sides[1][1] if len(sides) > 1 else sides[0][1]))
    findings = [_finding(*side) for side in sides if len(side[1])]
    return Section(
        title="Rows set aside",
        lead="These rows are neither trained on nor scored. Nothing is dropped without being counted here.",
        blocks=blocks,
        findings=findings,
    )


def examples(quarantine: Quarantine) -> Grid:
    """List a few violations of each rule."""
    seen: dict[str, int] = {}
    rows = []
    for one in quarantine.violations:
        seen[one.rule] = seen.get(one.rule, 0) + 1
        if seen[one.rule] <= EXAMPLES_PER_RULE:
            rows.append([one.row, one.id, one.column, one.value, one.rule, one.reason])
    return Grid(
        columns=["row", "id", "column", "value", "rule", "reason"],
        rows=rows,
        caption=f"Examples, at most {EXAMPLES_PER_RULE} per rule",
    )


def _finding(name: str, quarantine: Quarantine, usable: int) -> Finding:
    n = len(quarantine)
    share = n / max(1, n + usable)
    counts = ", ".join(f"{rule} {count:,}" for rule, count in quarantine.counts().items())
    return Finding(
        title=f"{n:,} row{'' if n == 1 else 's'} of {name} could not be used",
        severity="problem" if share > MANY else "warning",
        evidence=f"{percent(share)} of the rows were set aside: {counts}.",
        advice="Look at the examples below and mend the source; what cannot be read is not learned from.",
        ids=tuple(dict.fromkeys(str(v.id) for v in quarantine.violations if v.id is not None))[:20],
        kind="quarantine",
    )
