"""Rows that stand twice: inside train, inside test, and on both sides; with one target or with conflicting ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from sanmaru.findings.source import Source
from sanmaru.html.blocks import Finding, Grid, Section
from sanmaru.html.numbers import percent

_HASH, _GROUP, _N = "__hash__", "__group__", "__n__"


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Rows with equal features. All figures count rows, not pairs."""

    repeated: int
    """Training rows that equal an earlier one in features and target."""
    conflicting: int
    """Training rows whose equals in every feature have another target."""
    inside_test: int
    """Test rows that equal an earlier test row."""
    across: int
    """Test rows that equal a training row in every feature."""
    repeated_ids: tuple[str, ...] = ()
    conflicting_ids: tuple[str, ...] = ()
    across_ids: tuple[str, ...] = ()
    """Of the test rows."""


def find_duplicates(source: Source) -> Duplicates | None:
    """Compare rows by a 64-bit hash of their features (pictures and ids are not compared).

    Two different rows among a million share a hash with a chance of about 3 in 10^8. Missing equals missing.

    Returns:
        None where there are no features to compare.
    """
    names = source.features()
    if not names or not source.train.height:
        return None
    hashes = _hashes(source.train, names)
    targets = [name for name in source.roles.targets if name in source.train.columns]
    with_target = pl.struct(_HASH, *targets) if targets else pl.col(_HASH)
    frame = source.train.select(source.roles.id, *targets).with_columns(hashes.alias(_HASH))
    frame = frame.with_columns(
        pl.len().over(_HASH).alias(_N),
        pl.int_range(pl.len()).over([_HASH, *targets]).alias(_GROUP),
        (with_target.n_unique().over(_HASH) > 1).alias("__conflict__")
        if targets
        else pl.lit(False).alias("__conflict__"),
    )
    repeated = frame.filter(pl.col(_GROUP) > 0)
    conflicting = frame.filter(pl.col("__conflict__")).sort(_HASH, maintain_order=True)
    across_ids: tuple[str, ...] = ()
    n_across = inside = 0
    if source.test is not None and source.test.height and all(name in source.test.columns for name in names):
        theirs = _hashes(_like(source.test, source.train, names), names)
        both = theirs.is_in(hashes.unique().implode())
        n_across, inside = int(both.sum()), source.test.height - theirs.n_unique()
        across_ids = _ids(source.test.filter(both), source.roles.id)
    return Duplicates(
        repeated=repeated.height,
        conflicting=conflicting.height,
        inside_test=inside,
        across=n_across,
        repeated_ids=_ids(repeated, source.roles.id),
        conflicting_ids=_ids(conflicting, source.roles.id),
        across_ids=across_ids,
    )


def duplicates(source: Source) -> Section | None:
    """Show equal rows; None where the table has no features to compare."""
    found = find_duplicates(source)
    if found is None:
        return None
    n, n_test = source.train.height, 0 if source.test is None else source.test.height
    rows: list[Sequence[object]] = [
        ["in train, same target", found.repeated, percent(found.repeated / n)],
        ["in train, other target", found.conflicting, percent(found.conflicting / n)],
    ]
    if n_test:
        rows.append(["inside test", found.inside_test, percent(found.inside_test / n_test)])
        rows.append(["test row also in train", found.across, percent(found.across / n_test)])
    total = found.repeated + found.conflicting + found.inside_test + found.across
    lead = "No two rows are equal in every feature." if not total else "Rows that are equal in every feature."
    return Section(
        title="Duplicate rows",
        lead=lead,
        blocks=[Grid(columns=["where", "rows", "share"], rows=rows)] if total else [],
        findings=_findings(found, source, n, n_test),
    )


def _findings(found: Duplicates, source: Source, n: int, n_test: int) -> list[Finding]:
    findings = []
    if found.across:
        findings.append(
            Finding(
                title=f"{found.across:,} test row{_s(found.across)} also stand{_s(found.across, 's', '')} in train",
                severity="problem" if found.across > 0.01 * n_test else "warning",
                evidence=f"{percent(found.across / n_test)} of {n_test:,} test rows equal a training row.",
                advice="A score on these rows measures memory. Find out how they came to be on both sides; take them "
                "out of train when the test set stands for new cases.",
                ids=found.across_ids,
                kind="duplicates-across",
            )
        )
    if found.conflicting:
        findings.append(
            Finding(
                title=f"{found.conflicting:,} rows are equal but for their target",
                severity="warning" if found.conflicting > 0.001 * n else "info",
                evidence=f"{percent(found.conflicting / n)} of {n:,} training rows have a twin with another target.",
                advice="No model can tell them apart: either a label is wrong, or a telling feature is missing.",
                ids=found.conflicting_ids,
                kind="conflicting-targets",
            )
        )
    if found.repeated:
        grouped = source.split in {"grouped", "stratified-grouped"}
        findings.append(
            Finding(
                title=f"{found.repeated:,} row{_s(found.repeated)} repeat{_s(found.repeated, 's', '')} an earlier one",
                severity="warning" if found.repeated > 0.01 * n and not grouped else "info",
                evidence=f"{percent(found.repeated / n)} of {n:,} rows equal an earlier one, target included.",
                advice="When the twins fall into different folds, the score is a little too good. Drop the repeats, "
                "unless they are different cases that happen to look the same.",
                ids=found.repeated_ids,
                kind="duplicate-rows",
            )
        )
    return findings


def _hashes(table: pl.DataFrame, names: list[str]) -> pl.Series:
    return table.select(names).hash_rows(seed=1)


def _like(test: pl.DataFrame, train: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Equal values of different types have different hashes: give the test columns the types of train."""
    return test.select(pl.col(name).cast(train.schema[name], strict=False) for name in names)


def _ids(table: pl.DataFrame, name: str) -> tuple[str, ...]:
    return tuple(table[name].head(20).cast(pl.String).to_list()) if name in table.columns else ()


def _s(count: int, one: str = "", many: str = "s") -> str:
    return one if count == 1 else many
