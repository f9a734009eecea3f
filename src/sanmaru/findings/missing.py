"""Missing values, and columns that are constant or nearly empty."""

from __future__ import annotations

import polars as pl

from sanmaru.findings.source import Source
from sanmaru.html.blocks import Bars, Block, Finding, Section, Text
from sanmaru.html.numbers import percent

MOSTLY_EMPTY = 0.95
NEARLY_CONSTANT = 0.999
MOST_BARS = 40


def missing(source: Source) -> Section:
    """Show the share of missing values per feature, in train and test, and name columns that carry nothing."""
    train, test = source.train, source.test
    names = source.features()
    shares = {name: train[name].null_count() / max(1, train.height) for name in names}
    there = test is not None and test.height > 0
    others = {
        name: test[name].null_count() / test.height if test is not None and there and name in test.columns else None
        for name in names
    }
    holed = sorted((n for n in names if shares[n] or others[n]), key=lambda n: -max(shares[n], others[n] or 0.0))
    blocks: list[Block] = []
    if holed:
        drawn = holed[:MOST_BARS]
        series = [("train", [100 * shares[name] for name in drawn])]
        if there:
            theirs = [others[name] for name in drawn]
            series.append(("test", [float("nan") if share is None else 100 * share for share in theirs]))
        title = (
            "Missing values" if len(holed) <= MOST_BARS else f"Missing values, the worst {MOST_BARS} of {len(holed)}"
        )
        blocks.append(Bars(title=title, labels=drawn, series=series, value_label="% of rows"))
        lead = f"{len(holed)} of {len(names)} features have missing values."
    else:
        lead = f"None of the {len(names)} features has a missing value."
        if source.columns or names:
            blocks.append(Text("Nothing to draw: every cell holds a value."))
    findings = [*_empty(shares, train.height), *_constant(source, names), *_differs(shares, others)]
    return Section(title="Missing and constant", lead=lead, blocks=blocks, findings=findings)


def _empty(shares: dict[str, float], rows: int) -> list[Finding]:
    return [
        Finding(
            title=f"{name} is {'empty' if share == 1 else 'almost empty'}",
            severity="warning",
            evidence=f"{percent(share)} of {rows:,} values are missing.",
            advice=f"Leave it out (data.drop: [{name}]), unless its being there is itself the news.",
            kind="mostly-missing",
        )
        for name, share in shares.items()
        if share >= MOSTLY_EMPTY
    ]


def _constant(source: Source, names: list[str]) -> list[Finding]:
    findings = []
    constant: list[str] = []
    for name in names:
        present = source.train[name].drop_nulls()
        if present.is_empty() or present.dtype == pl.Binary:
            continue
        if present.n_unique() == 1:
            if not source.train[name].null_count():
                constant.append(name)
            continue
        top = int(present.value_counts(name="_n_")["_n_"].max() or 0)  # type: ignore[arg-type]
        if top >= NEARLY_CONSTANT * source.train.height:
            findings.append(
                Finding(
                    title=f"{name} has nearly always the same value",
                    severity="info",
                    evidence=f"{top:,} of {source.train.height:,} rows share one value.",
                    advice="It can help only for the few rows that differ; check that they are right.",
                    kind="nearly-constant",
                )
            )
    if constant:
        shown = ", ".join(constant[:10]) + ("" if len(constant) <= 10 else f" and {len(constant) - 10} more")
        findings.insert(
            0,
            Finding(
                title=f"{shown if len(constant) < 4 else f'{len(constant)} columns'} "
                f"{'is' if len(constant) == 1 else 'are'} constant",
                severity="info" if len(constant) > 3 else "warning",
                evidence=f"Every row holds the same value in: {shown}.",
                advice="A constant tells nothing; leave it out with data.drop.",
                kind="constant-column",
            ),
        )
    return findings


def _differs(shares: dict[str, float], others: dict[str, float | None]) -> list[Finding]:
    findings = []
    for name, share in shares.items():
        other = others[name]
        if other is not None and abs(share - other) >= 0.2:
            findings.append(
                Finding(
                    title=f"{name} is missing far {'more' if other > share else 'less'} often in test",
                    severity="warning",
                    evidence=f"Missing in {percent(share)} of train and {percent(other)} of test.",
                    advice="A model that learns from its being missing will be misled. Find out why, or leave it out.",
                    kind="missing-differs",
                )
            )
    return findings
