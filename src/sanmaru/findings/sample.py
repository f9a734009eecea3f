"""Which rows charts and first looks are computed on, and saying so."""

from __future__ import annotations

import polars as pl

CHART_ROWS = 200_000
"""Tables up to this size are drawn whole."""


def sampled(table: pl.DataFrame, rows: int = CHART_ROWS, *, seed: int = 0) -> pl.DataFrame:
    """Return the table, or `rows` of it drawn without replacement in their old order; the same rows every time."""
    if table.height <= rows:
        return table
    import numpy as np

    chosen = np.random.default_rng(seed).choice(table.height, size=rows, replace=False)
    chosen.sort()
    return table[chosen]


def said(table: pl.DataFrame, rows: int = CHART_ROWS) -> str:
    """Return the sentence that tells the reader of a sample, or nothing."""
    if table.height <= rows:
        return ""
    return f" Charts show a fixed random sample of {rows:,} of the {table.height:,} rows."
