"""A first look at whether test rows are drawn from where the training rows come from, column by column.

For each column the distance between train and test is measured: Kolmogorov and Smirnov's largest gap between the two
distribution functions for numbers and dates, half the sum of absolute differences of shares (total variation) for
categories. What distance means nothing is learned from the data itself: the rows (whole groups, where there is a group
column) are dealt anew to the two sides 200 times, and the largest standardised distance over all columns is kept each
time (Westfall and Young's max-T). A column is reported only when it exceeds the 95 % quantile of that, so that tables
without any shift give a warning in at most about 5 % of cases however many columns they have, *and* when the distance
beyond chance is at least 0.1. P-values alone would call any difference important once the table is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from sanmaru.findings.kinds import described
from sanmaru.findings.sample import sampled
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Histogram, Section
from sanmaru.html.numbers import percent

ROWS = 5_000
"""Rows of each side that are compared."""
DEALS = 200
SMALLEST = 0.1
"""Distance beyond chance, in [0, 1], below which a difference is not worth a word."""
LARGE = 0.3
MOST_VALUES = 50
_BUDGET = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far one column of test lies from the same column of train."""

    column: str
    distance: float
    """In [0, 1]: 0 equal, 1 nothing in common."""
    chance: float
    """The distance that dealing the same rows at random gives on average."""
    shown: bool
    """Whether it exceeds chance by the calibrated threshold and by `SMALLEST`."""
    numeric: bool

    @property
    def effect(self) -> float:
        """Distance beyond chance."""
        return max(0.0, self.distance - self.chance)


def find_shifts(source: Source, *, seed: int = 0) -> list[Shift]:
    """Measure every feature that stands in both tables, the largest effect first."""
    if source.test is None or min(source.test.height, source.train.height) < 20:
        return []
    kinds = described(source.train, source.roles, source.columns)
    names = [name for name in kinds if name in source.test.columns]
    train, test = sampled(source.train, ROWS, seed=seed), sampled(source.test, ROWS, seed=seed + 1)
    if not names:
        return []
    sides = np.r_[np.zeros(train.height, dtype=bool), np.ones(test.height, dtype=bool)]
    deals = max(40, min(DEALS, _BUDGET // (len(sides) * len(names))))
    dealt = _deal(sides, _groups(source, train, test), deals, np.random.default_rng(seed))
    distances, numeric = [], []
    for name in names:
        a, b = train[name], test[name]
        is_number = a.dtype.is_numeric() or a.dtype.is_temporal()
        numeric.append(is_number)
        codes = _codes(a, b, ordered=is_number)
        distances.append(_distances(codes, np.vstack([sides, dealt]), ordered=is_number))
    table = np.array(distances)  # (n_columns, 1 + deals); the first is the truth
    chance, spread = table[:, 1:].mean(axis=1), table[:, 1:].std(axis=1)
    scores = (table - chance[:, None]) / np.where(spread > 0, spread, 1.0)[:, None]
    threshold = float(np.quantile(scores[:, 1:].max(axis=0), 0.95))
    shifts = [
        Shift(
            column=name,
            distance=float(table[i, 0]),
            chance=float(chance[i]),
            shown=bool(scores[i, 0] > threshold and table[i, 0] - chance[i] >= SMALLEST),
            numeric=numeric[i],
        )
        for i, name in enumerate(names)
    ]
    return sorted(shifts, key=lambda shift: -shift.effect)


def shift(source: Source) -> Section | None:
    """Show how train and test differ, column by column; None without a test table of at least 20 rows."""
    shifts = find_shifts(source)
    if not shifts or source.test is None:
        return None
    found = [one for one in shifts if one.shown]
    rows = [[one.column, round(one.distance, 3), round(one.chance, 3), round(one.effect, 3)] for one in shifts]
    grid = Grid(
        columns=["column", "distance", "expected by chance", "beyond chance"],
        rows=rows,
        caption="Distance between train and test (0 equal, 1 nothing in common)",
        bars="beyond chance",
    )
    blocks: list[Block] = [drawn for one in found[:8] if (drawn := _both(source, one)) is not None]
    findings = [_finding(source, one) for one in found[:20]]
    return Section(
        title="Train against test",
        lead=f"{len(found)} of {len(shifts)} columns are spread differently in test. A column is named when it differs "
        f"by at least {SMALLEST} beyond chance; equal tables give a warning in about 5 % of cases.",
        blocks=[*blocks, grid],
        findings=findings,
    )


def _finding(source: Source, one: Shift) -> Finding:
    evidence = f"Distance {one.distance:.2f}, where equal tables of this size would show {one.chance:.2f}."
    if not one.numeric and source.test is not None:
        known = source.train[one.column].unique().implode()
        new = source.test[one.column].cast(source.train.schema[one.column], strict=False).drop_nulls()
        unseen = 1 - float(new.is_in(known).mean() or 0.0) if len(new) else 0.0  # type: ignore[arg-type]
        if unseen > 0:
            evidence += f" {percent(unseen)} of the test values never occur in train."
    is_time = one.column == source.roles.time
    advice = (
        "Test lies at another time than train: validate the same way, with split.kind: time."
        if is_time
        else "Find out why. If test stands for the future, a random split flatters the score; consider a time or "
        "grouped split, or leave the column out and compare."
    )
    if is_time and source.split == "time":
        advice = "The split is by time already, which is right."
    severity = "info" if is_time and source.split == "time" else "warning"
    return Finding(
        title=f"{one.column} is spread {'very ' if one.effect >= LARGE else ''}differently in test",
        severity=severity,  # type: ignore[arg-type]
        evidence=evidence,
        advice=advice,
        kind="shift",
    )


def _groups(source: Source, train: pl.DataFrame, test: pl.DataFrame) -> np.ndarray | None:
    """Codes of the group of each row, train before test; None where groups are not known on both sides."""
    name = source.roles.group
    if name is None or name not in train.columns or name not in test.columns:
        return None
    both = pl.concat([train[name].cast(pl.String), test[name].cast(pl.String)])
    # A missing group is a group of its own for each row.
    codes = both.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    alone = codes == 0
    codes[alone] = codes.max() + 1 + np.arange(int(alone.sum()))
    return np.asarray(np.unique(codes, return_inverse=True)[1])


def _deal(sides: np.ndarray, groups: np.ndarray | None, deals: int, random: np.random.Generator) -> np.ndarray:
    """Deal rows to the two sides at random, `deals` times, keeping groups whole; bool (deals, n_rows), True = test."""
    out = np.empty((deals, len(sides)), dtype=bool)
    if groups is None or groups.max() < 19:  # too few groups to deal: rows it is
        for deal in range(deals):
            out[deal] = random.permutation(sides)
        return out
    sizes = np.bincount(groups)
    wanted = int(sides.sum())
    for deal in range(deals):
        order = random.permutation(len(sizes))
        filled = np.cumsum(sizes[order])
        chosen = np.zeros(len(sizes), dtype=bool)
        chosen[order[: max(1, min(len(sizes) - 1, int(np.searchsorted(filled, wanted)) + 1))]] = True
        out[deal] = chosen[groups]
    return out


def _codes(a: pl.Series, b: pl.Series, *, ordered: bool) -> np.ndarray:
    """Values as codes from 0, train before test. Missing is a value of its own, below all others."""
    if ordered:
        both = pl.concat(
            [a.to_physical().cast(pl.Float64), b.cast(a.dtype, strict=False).to_physical().cast(pl.Float64)]
        )
        return both.fill_nan(None).rank("dense").fill_null(0).to_numpy().astype(np.int64)
    both = pl.concat([a.cast(pl.String), b.cast(pl.String)])
    frequent = both.drop_nulls().value_counts(sort=True, name="n").sort("n", both.name, descending=[True, False])
    kept = {value: code for code, value in enumerate(frequent[both.name].head(MOST_VALUES).to_list(), start=2)}
    return np.array([0 if value is None else kept.get(value, 1) for value in both.to_list()], dtype=np.int64)


def _distances(codes: np.ndarray, sides: np.ndarray, *, ordered: bool) -> np.ndarray:
    """Distance between the two sides for each deal: sides bool (deals, n_rows) -> float64 (deals,)."""
    n_codes = int(codes.max()) + 1
    whole = np.bincount(codes, minlength=n_codes).astype(np.float64)
    out = np.empty(len(sides))
    for deal, side in enumerate(sides):
        theirs = np.bincount(codes[side], minlength=n_codes)
        n_theirs = max(1, int(side.sum()))
        gap = theirs / n_theirs - (whole - theirs) / max(1, len(codes) - n_theirs)
        out[deal] = np.abs(np.cumsum(gap)).max() if ordered else np.abs(gap).sum() / 2
    return out


def _both(source: Source, one: Shift) -> Block | None:
    """Draw a column of both tables, as shares."""
    from sanmaru.findings.distributions import edges_of, usable_numbers

    assert source.test is not None
    a, b = source.train[one.column], source.test[one.column]
    if one.numeric and a.dtype.is_numeric():
        values = [usable_numbers(sampled_series(column)) for column in (a, b)]
        if not all(len(v) for v in values):
            return None
        edges = edges_of(np.concatenate(values))
        series = [
            (name, (np.histogram(v, edges)[0] / len(v)).tolist())
            for name, v in zip(("train", "test"), values, strict=True)
        ]
        return Histogram(title=one.column, x_label=one.column, edges=edges.tolist(), series=series)
    if one.numeric:
        return None
    shares = [c.cast(pl.String).fill_null("(missing)").value_counts(normalize=True, name="share") for c in (a, b)]
    joined = shares[0].join(shares[1], on=a.name, how="full", coalesce=True, suffix="_test").fill_null(0.0)
    top = joined.sort(pl.max_horizontal("share", "share_test"), a.name, descending=[True, False]).head(12)
    return Bars(
        title=one.column,
        labels=top[a.name].to_list(),
        series=[("train", (top["share"] * 100).to_list()), ("test", (top["share_test"] * 100).to_list())],
        value_label="% of rows",
    )


def sampled_series(column: pl.Series) -> pl.Series:
    """Return a column of at most as many rows as charts are drawn from."""
    return sampled(column.to_frame()).to_series()
