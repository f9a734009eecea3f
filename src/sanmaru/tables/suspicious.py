"""Columns that a person should look at before learning from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from sanmaru.tables.profile import Profile

_MOSTLY_EMPTY = 0.5
_COPY = 0.995
_SAMPLE = 50_000


@dataclass(frozen=True)
class Remark:
    """Something odd about a column, and whether it is proposed to leave the column out."""

    column: str
    text: str
    drop: bool


def remarks(
    columns: Mapping[str, Profile], features: Sequence[str], target: str, *, classes: bool, test: Sequence[str] | None
) -> list[Remark]:
    """Look at every feature: absent from the test table, constant, empty, ids, copies of others or of the target."""
    out = []
    seen: dict[tuple[str, int, int], list[str]] = {}
    for name in features:
        column = columns[name]
        remark = _remark(column, columns[target], classes, test)
        if remark is None:
            key = (column.kind, column.distinct, column.missing)
            twin = next((other for other in seen.get(key, ()) if _equal(columns[other], column)), None)
            if twin is not None and column.distinct > 2:
                remark = Remark(name, f"says the same as {twin} in every row", drop=True)
            seen.setdefault(key, []).append(name)
        if remark is not None:
            out.append(remark)
        if column.odd_rows:
            shown = ", ".join(repr(cell) for cell in column.odd)
            what = {"date": "dates", "boolean": "booleans"}.get(column.kind, "numbers")
            out.append(
                Remark(
                    name,
                    f"{column.odd_rows:,} cells are no {what} ({shown}); their rows are set aside. Add them to "
                    'data.missing if they mean "no value"',
                    drop=False,
                )
            )
    return out


def _remark(column: Profile, target: Profile, classes: bool, test: Sequence[str] | None) -> Remark | None:
    name = column.name
    if test is not None and name not in test:
        return Remark(name, "the test table has no such column", drop=True)
    if column.distinct == 0:
        return Remark(name, "is empty in every row", drop=True)
    if column.distinct == 1 and column.missing == 0:
        return Remark(name, f"holds {column.values.drop_nulls()[0]!r} in every row", drop=True)
    copied = told_alone(column, target, classes)
    if copied >= _COPY:
        text = f"alone tells {target.name} ({_percent(copied)}): a leak unless it is known before {target.name} is"
        return Remark(name, text, drop=True)
    if column.kind == "category" and column.distinct > 0.9 * (column.rows - column.missing) > 20:
        return Remark(name, "is a different text in nearly every row, so it names rows rather than tells of them", True)
    if column.missing_share >= _MOSTLY_EMPTY:
        filled = column.rows - column.missing
        return Remark(name, f"is empty in {_percent(column.missing_share)} of rows ({filled:,} are filled)", drop=False)
    if column.kind == "integer" and column.unique and column.rows > 20:
        return Remark(name, "is a different whole number in every row; is it an id?", drop=False)
    return None


def told_alone(column: Profile, target: Profile, classes: bool) -> float:
    """Return how much of the target a column tells all by itself, in [0, 1]: 1 for a copy, about 0 for chance.

    For classes the fraction of errors of always guessing the commonest class that vanishes when the column's value
    (or one of its hundred quantile bins) is known; for numbers the explained variance. Columns with many different
    texts tell everything of the rows they are seen in and are left out (0).
    """
    frame = pl.DataFrame({"x": column.values, "y": target.values}).drop_nulls()
    if len(frame) > _SAMPLE:
        frame = frame.gather_every(len(frame) // _SAMPLE + 1)
    if len(frame) < 20 or frame["y"].n_unique() < 2 or len(frame) < 0.5 * column.rows / max(1, column.rows // _SAMPLE):
        return 0.0
    x, y = frame["x"], frame["y"]
    if x.dtype in (pl.Datetime, pl.Binary):
        return 0.0
    if not classes and x.dtype.is_numeric():
        ranks = np.corrcoef(x.rank().to_numpy(), y.cast(pl.Float64).rank().to_numpy())[0, 1]
        plain = np.corrcoef(x.cast(pl.Float64).to_numpy(), y.cast(pl.Float64).to_numpy())[0, 1]
        return float(np.nan_to_num(max(ranks**4, plain**2)))
    if x.n_unique() > 100:
        if not x.dtype.is_numeric():
            return 0.0
        x = (x.rank("average") * 100 // len(x)).cast(pl.Int64)
        frame = frame.with_columns(x.alias("x"))
    if len(frame) < 5 * x.n_unique():
        return 0.0
    if classes:
        right = frame.group_by("x", "y").len().group_by("x").agg(pl.col("len").max())["len"].sum()
        usual = int(frame.group_by("y").len()["len"].max())  # type: ignore[arg-type]
        return float((right - usual) / (len(frame) - usual))
    numbers = frame.with_columns(pl.col("y").cast(pl.Float64))
    total = float(numbers["y"].var(ddof=0))  # type: ignore[arg-type]
    within = numbers.select(((pl.col("y") - pl.col("y").mean().over("x")) ** 2).mean()).item()
    return 1.0 - within / total if total else 0.0


def _equal(a: Profile, b: Profile) -> bool:
    return a.values.dtype == b.values.dtype and bool(a.values.alias("").equals(b.values.alias("")))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")
