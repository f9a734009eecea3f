"""Where a model errs most: the values of single features whose rows have clearly larger errors than the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Grid, Section
from sanmaru.html.numbers import short
from sanmaru.tables.match import align
from sanmaru.tasks.tabular.strength import bins_of

if TYPE_CHECKING:
    from sanmaru.tasks.tabular.schema import Encoded
    from sanmaru.tasks.tabular.task import Tabular

FEWEST_ROWS = 30
MOST_SHOWN = 12
CLEAR = 4.0
"""Standard errors by which a segment's mean error lies above that of all other rows; some hundred are looked at."""
_BINS = 5


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Rows that share a value, or a range of values, of one feature."""

    feature: str
    values: str
    rows: int
    error: float
    """Mean error of its rows."""
    rest: float
    """Mean error of all other rows."""


def segments(task: Tabular, matrix: np.ndarray, errors: np.ndarray) -> list[Segment]:
    """Find segments, of at most half the rows, with clearly larger errors; those first that cost most.

    Args:
        task: Names the features and their categories.
        matrix: Encoded rows, float64 (n, n_columns).
        errors: Each row's error, float64 (n,), 0 for a perfect prediction.
    """
    n, total = len(errors), float(errors.sum())
    spread = float(errors.std())
    costs: list[tuple[float, Segment]] = []
    known = {feature.name: feature.categories for feature in task.schema.features}
    seen: set[str] = set()
    for place, column in enumerate(task.schema.encoded):
        if column.source in seen:
            continue  # a feature's first column speaks for it
        seen.add(column.source)
        bins, edges = bins_of(matrix[:, place], column, _BINS)
        counts = np.bincount(bins)
        sums = np.bincount(bins, weights=errors)
        for code in np.flatnonzero((counts >= FEWEST_ROWS) & (counts <= n / 2)).tolist():
            rows = int(counts[code])
            error, rest = float(sums[code]) / rows, (total - float(sums[code])) / (n - rows)
            noise = spread * np.sqrt(1 / rows + 1 / (n - rows))
            if noise > 0 and error - rest > CLEAR * noise:
                values = _values(column, known[column.source], code, matrix[bins == code, place], edges)
                found = Segment(feature=column.name, values=values, rows=rows, error=error, rest=rest)
                costs.append(((error - rest) * rows, found))
    costs.sort(key=lambda pair: -pair[0])
    return [found for _, found in costs[:MOST_SHOWN]]


def segments_section(task: Tabular, table: pl.DataFrame, predictions: pl.DataFrame) -> Iterator[Section]:
    """Yield a section of the segments, or nothing where none stands out. Rows without a prediction are left out."""
    ids = predictions[task.roles.id]
    places = align(ids, table[task.roles.id], left_name="the predictions", right_name="the table", subset=True)
    rows = table[places]
    truth, scored = task.truth(rows), task.scored(predictions)
    regression = task.output.kind == "regression"
    errors = np.abs(truth - scored) if regression else (scored.argmax(axis=1) != truth).astype(np.float64)
    found = segments(task, task.encoder.encode(rows), errors)
    if not found:
        return
    name = "mean absolute error" if regression else "share wrong"
    first = found[0]
    yield Section(
        title="Where it errs most",
        lead=f"Rows with {first.feature} {first.values} have a {name} of {_shown(first.error, regression)}, all others "
        f"{_shown(first.rest, regression)}. Segments overlap; those that cost most come first.",
        blocks=[
            Grid(
                columns=["feature", "values", "rows", name, "of all other rows"],
                rows=[
                    [one.feature, one.values, one.rows, _shown(one.error, regression), _shown(one.rest, regression)]
                    for one in found
                ],
            )
        ],
    )


def _values(column: Encoded, known: Sequence[str], code: int, values: np.ndarray, edges: np.ndarray) -> str:
    if column.n_codes:
        return "(missing)" if code > len(known) else "(other)" if code == len(known) else f"= {known[code]}"
    if code == len(edges):
        return "(missing)"
    low, high = float(values.min()), float(values.max())
    return f"= {short(low)}" if low == high else f"{short(low)} to {short(high)}"


def _shown(value: float, regression: bool) -> str:
    if not regression:
        return f"{value:.1%}"
    return short(value)
