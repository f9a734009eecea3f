"""Faults put into real rows on purpose, with labels: what is to be found is then known.

Kinds: `spike`, a single value far off; `stuck`, a sensor that repeats its value; `drift`, a value that leaves slowly;
`missing`, a block without values, of one column or all; `swapped`, two columns that hold each other's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sanmaru.errors import DataError, nearest
from sanmaru.tasks.anomalies.reference import robust_spread
from sanmaru.tasks.anomalies.series import DAY_S, Floats, Indexes, series_rows

KINDS = ("spike", "stuck", "drift", "missing", "swapped")
LENGTHS = {"spike": (1, 1), "stuck": (12, 48), "drift": (48, 120), "missing": (3, 24), "swapped": (6, 24)}
"""Rows of an event, for tables with several rows a day."""
DAILY_LENGTHS = {"spike": (1, 1), "stuck": (4, 10), "drift": (14, 30), "missing": (2, 7), "swapped": (2, 7)}
SPIKE = (3.0, 6.0)
"""Height of a spike, in robust standard deviations of the column."""
DRIFT = (2.0, 4.0)
"""How far a drift has come at its end, likewise."""
_APART = 6
"""Rows between events, at least."""
_MOVES = 0.5
"""Columns of which one value makes up more than this fraction are left alone: no one could tell that they are stuck."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Injected:
    """A table with faults."""

    table: pl.DataFrame
    event: Indexes
    """Number of the event of each row of the table, -1 outside, (n,)."""
    columns: tuple[tuple[str, ...], ...]
    """Columns that each event changed."""
    lasts: Indexes
    """Rows of each event."""


def inject(
    table: pl.DataFrame,
    kind: str,
    columns: Sequence[str],
    *,
    events: int,
    seed: int,
    among: NDArray[np.bool_] | None = None,
) -> Injected:
    """Put faults of one kind into a copy of a long table.

    Args:
        table: With `series`, `time` and the columns.
        kind: One of `KINDS`.
        columns: Columns that may be changed; those that hardly move are left alone.
        events: How many faults; fewer where they do not fit.
        seed: Of places, lengths and heights.
        among: Rows (n,) that may be changed; all where absent.

    Raises:
        DataError: for an unknown kind, or when no column can carry it, or not one event fits.
    """
    if kind not in KINDS:
        raise DataError(f"unknown kind of anomaly {kind!r}. {nearest(kind, KINDS)}")
    rows = series_rows(table, columns)
    values = rows.values
    steps = rows.steps_s()
    daily = bool(np.nanmedian(steps) > DAY_S / 2) if np.isfinite(steps).any() else True
    moving = [place for place in range(len(columns)) if _moves(values[:, place])]
    if len(moving) < (2 if kind == "swapped" else 1):
        raise DataError(f"too few of the columns {', '.join(columns)} move enough to carry the fault {kind!r}.")
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    low, high = (DAILY_LENGTHS if daily else LENGTHS)[kind]
    lengths = generator.integers(low, high + 1, size=events)
    allowed = np.ones(len(rows), dtype=bool) if among is None else among[rows.order]
    starts = _places(rows.code, allowed, lengths, generator)
    if not len(starts):
        raise DataError(f"no fault {kind!r} of up to {high} rows fits into the {int(allowed.sum())} rows.")
    spread, changed = robust_spread(values), values.copy()
    event = np.full(len(rows), -1, dtype=np.int64)
    named = []
    for number, (start, length) in enumerate(zip(starts, lengths, strict=False)):
        where = slice(start, start + length)
        touched = _apply(kind, changed, where, moving=moving, spread=spread, generator=generator)
        event[where] = number
        named.append(tuple(columns[place] for place in touched))
    back = np.argsort(rows.order)
    # A column that nothing touched keeps its type.
    new = {
        name: pl.Series(name, changed[back, place]).fill_nan(None)
        for place, name in enumerate(columns)
        if any(name in one for one in named)
    }
    return Injected(
        table=table.with_columns(**new), event=event[back], columns=tuple(named), lasts=lengths[: len(starts)]
    )


def _apply(
    kind: str, values: Floats, where: slice, *, moving: list[int], spread: Floats, generator: np.random.Generator
) -> list[int]:
    """Change rows in place; return the places of the columns changed."""
    column = int(generator.choice(moving))
    now = values[where, column]
    match kind:
        case "spike":
            up = float(np.nanmin(values[:, column])) >= 0 or generator.random() < 0.5  # an amount has no negative
            height = generator.uniform(*SPIKE) * spread[column] * (1 if up else -1)
            before = now if np.isfinite(now).all() else np.nanmedian(values[:, column])
            values[where, column] = _rounded(before + height, values[:, column])
        case "stuck":
            known = now[np.isfinite(now)]
            values[where, column] = known[0] if len(known) else np.nanmedian(values[:, column])
        case "drift":
            ramp = np.linspace(0, generator.uniform(*DRIFT), len(now) + 1)[1:] * spread[column]
            values[where, column] = _rounded(now + ramp, values[:, column])
        case "missing":
            touched = list(range(values.shape[1])) if generator.random() < 0.5 else [column]
            values[where, touched] = np.nan
            return touched
        case _:
            other = int(generator.choice([place for place in moving if place != column]))
            values[where, [column, other]] = values[where, [other, column]]
            return [column, other]
    return [column]


def _moves(values: Floats) -> bool:
    there = values[np.isfinite(values)]
    if not len(there):
        return False
    counts = np.unique(there, return_counts=True)[1]
    return bool(counts.max() <= _MOVES * len(there))


def _rounded(values: Floats, column: Floats) -> Floats:
    """To the column's own resolution: a fault has no more digits than the sensor."""
    distinct = np.unique(column[np.isfinite(column)])
    if len(distinct) < 2:
        return values
    resolution = max(float(np.quantile(np.diff(distinct), 0.1)), 1e-9)
    digits = max(0, int(np.ceil(-np.log10(resolution) - 1e-6)))
    return np.asarray(np.round(values, digits))


def _places(code: Indexes, allowed: NDArray[np.bool_], lengths: Indexes, generator: np.random.Generator) -> Indexes:
    """First rows of events that lie apart, each in one series and among the allowed rows."""
    free = allowed.copy()
    starts = []
    for length in lengths:
        span = int(length) + 2 * _APART
        blocked = np.concatenate([[0], np.cumsum(~free)])
        begins = np.arange(max(0, len(free) - span + 1))
        fits = (blocked[begins + span] == blocked[begins]) & (
            code[begins] == code[np.minimum(begins + span - 1, len(code) - 1)]
        )
        possible = begins[fits]
        if not len(possible):
            break
        begin = int(generator.choice(possible))
        starts.append(begin + _APART)
        free[begin : begin + span] = False
    return np.array(starts, dtype=np.int64)
