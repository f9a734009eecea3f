"""Numbers that move together."""

from __future__ import annotations

import numpy as np
import polars as pl

from sanmaru.findings.kinds import column_kinds, is_numeric
from sanmaru.findings.sample import sampled
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Finding, Heatmap, Section

ROWS = 20_000
MOST_DRAWN = 24
NEARLY_EQUAL = 0.99


def correlation(source: Source) -> Section | None:
    """Show Spearman's rank correlation among numeric features and with numeric targets; None below two columns."""
    kinds = column_kinds(source.train, source.columns)
    targets = [name for name in source.roles.targets if name in source.train.columns]
    candidates = [*targets, *source.features()] if not source.target_is_class() else source.features()
    table = sampled(source.train, ROWS)
    names = [
        name
        for name in dict.fromkeys(candidates)
        if is_numeric(kinds[name]) and table[name].dtype.is_numeric() and table[name].drop_nulls().n_unique() > 1
    ]
    if len(names) < 2:
        return None
    matrix = spearman(table, names)
    findings = _twins(matrix, names, set(targets))
    order = _drawn(matrix, names, targets)
    heatmap = Heatmap(
        title="Rank correlation" if len(order) == len(names) else f"Rank correlation, the {len(order)} most correlated",
        row_label="",
        column_label="",
        rows=[names[i] for i in order],
        columns=[names[i] for i in order],
        values=[[round(float(matrix[i, j]), 3) for j in order] for i in order],
        per_row=False,
    )
    lead = (
        "Spearman's rank correlation: 1 means that two columns always rise together, "
        "−1 that one falls as the other rises."
    )
    if source.train.height > ROWS:
        lead += f" From a fixed random sample of {ROWS:,} rows."
    return Section(title="Correlation", lead=lead, blocks=[heatmap], findings=findings)


def spearman(table: pl.DataFrame, names: list[str]) -> np.ndarray:
    """Return Spearman's rank correlation of each pair of columns, ties ranked by their mean.

    A missing value takes its column's middle rank, so that every pair is seen on all rows and the matrix stays
    consistent; columns with many missing values are drawn towards 0.

    Returns:
        (n_columns, n_columns), float64, in [-1, 1]; 0 where a column does not vary.
    """
    ranks = table.select(pl.col(name).cast(pl.Float64).fill_nan(None).rank("average") for name in names)
    values = ranks.to_numpy().astype(np.float64)
    middle = np.nanmean(np.where(np.isnan(values), np.nan, values), axis=0)
    values = np.where(np.isnan(values), middle, values) - middle
    length = np.sqrt((values**2).sum(axis=0))
    scaled = values / np.where(length > 0, length, 1.0)
    return np.asarray(np.clip(scaled.T @ scaled, -1.0, 1.0))


def _drawn(matrix: np.ndarray, names: list[str], targets: list[str]) -> list[int]:
    """Which columns are drawn: targets first, then those with the strongest correlation to another, in table order."""
    if len(names) <= MOST_DRAWN:
        return list(range(len(names)))
    strength = np.abs(matrix - np.eye(len(names))).max(axis=1)
    strength[[i for i, name in enumerate(names) if name in targets]] = np.inf
    return sorted(np.argsort(-strength, kind="stable")[:MOST_DRAWN].tolist())


def _twins(matrix: np.ndarray, names: list[str], targets: set[str]) -> list[Finding]:
    pairs = [
        (abs(float(matrix[i, j])), names[i], names[j], float(matrix[i, j]))
        for i in range(len(names))
        for j in range(i)
        if abs(matrix[i, j]) >= NEARLY_EQUAL and not {names[i], names[j]} & targets
    ]
    if not pairs:
        return []
    pairs.sort(reverse=True)
    shown = "; ".join(f"{b} and {a} ({value:.3f})" for _, a, b, value in pairs[:6])
    more = f" and {len(pairs) - 6} more" if len(pairs) > 6 else ""
    return [
        Finding(
            title=f"{len(pairs)} pair{'s' if len(pairs) > 1 else ''} of columns say nearly the same",
            severity="info",
            evidence=f"Rank correlation of at least {NEARLY_EQUAL}: {shown}{more}.",
            advice="Keeping both costs little in trees but splits their importance; a linear model wants one of each.",
            kind="twin-columns",
        )
    ]
