"""How the values of each column are spread, and columns that say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from sanmaru.findings.kinds import described, is_numeric
from sanmaru.findings.sample import said, sampled
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Bars, Block, Finding, Grid, Histogram, Section
from sanmaru.html.charts.scale import LARGEST
from sanmaru.html.numbers import percent, short

MOST_CHARTS = 40
"""Columns drawn; the tables list all of them."""
TOP_VALUES = 10


def distributions(source: Source) -> list[Section]:
    """Describe numbers, categories, dates and texts: one section for each kind that is there."""
    kinds = described(source.train, source.roles, source.columns)
    shown = sampled(source.train)
    note = said(source.train)
    numbers = [name for name, kind in kinds.items() if is_numeric(kind) and source.train[name].dtype.is_numeric()]
    dates = [name for name, kind in kinds.items() if kind == "date" and source.train[name].dtype.is_temporal()]
    texts = [name for name, kind in kinds.items() if kind == "text" and source.train[name].dtype == pl.String]
    words = [name for name in kinds if name not in {*numbers, *dates, *texts}]
    sections = []
    if numbers:
        sections.append(_numbers(source, numbers, shown, note))
    if words:
        sections.append(_categories(source, words))
    if dates:
        sections.append(_dates(source, dates, shown, note))
    if texts:
        sections.append(_texts(source, texts, shown, note))
    return sections


def _lead(names: Sequence[str], what: str, note: str) -> str:
    more = f" The first {MOST_CHARTS} are drawn; the table lists all." if len(names) > MOST_CHARTS else ""
    return f"{len(names):,} {what}{'' if len(names) == 1 else 's'}.{more}{note}"


def usable_numbers(column: pl.Series) -> np.ndarray:
    """Return the values that can be computed with, float64: not missing, not NaN, and within ±1e300."""
    present = column.cast(pl.Float64).drop_nulls().drop_nans()
    return present.filter(present.abs() <= LARGEST).to_numpy()


def outlier_share(values: np.ndarray) -> float:
    """Return the share of values further than three interquartile ranges outside the quartiles (Tukey's far out)."""
    if not len(values):
        return 0.0
    q1, q3 = np.quantile(values, [0.25, 0.75])
    reach = 3 * (q3 - q1)
    return float(np.mean((values < q1 - reach) | (values > q3 + reach))) if reach > 0 else 0.0


def edges_of(values: np.ndarray, most: int = 40) -> np.ndarray:
    """Return edges of equal width for a histogram; whole numbers with few values get one bin each.

    A long tail is cut at the 99.5 % quantile when it would otherwise squeeze the body into a fifth of the width.
    """
    low, high = float(values.min()), float(values.max())
    body_low, body_high = (float(v) for v in np.quantile(values, [0.005, 0.995]))
    if body_high > body_low and (high - low) > 5 * (body_high - body_low):
        low, high = body_low, body_high
    whole = bool(np.all(values == np.floor(values)))
    if whole and high - low <= most:
        return np.arange(low - 0.5, high + 1)
    if low == high:
        return np.array([low - 0.5, high + 0.5])
    edges = np.linspace(low, high, most + 1)
    return edges if np.all(np.diff(edges) > 0) else np.array([low, high])


def _numbers(source: Source, names: list[str], shown: pl.DataFrame, note: str) -> Section:
    rows: list[list[Any]] = []
    charts: list[Block] = []
    findings: list[Finding] = []
    for name in names:
        whole = source.train[name].cast(pl.Float64)
        values = usable_numbers(whole)
        n_infinite = len(whole.drop_nulls().drop_nans()) - len(values)
        if n_infinite:
            findings.append(_infinite(name, n_infinite, source.train.height))
        if not len(values):
            rows.append([name, *[None] * 8])
            continue
        quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        far = outlier_share(values)
        zero = float(np.mean(values == 0))
        rows.append([name, *(float(q) for q in quantiles), float(values.mean()), zero, far])
        if len(charts) < MOST_CHARTS:
            drawn = usable_numbers(shown[name])
            if len(drawn):
                charts.append(_histogram(name, drawn))
    columns = ["column", "lowest", "25 %", "median", "75 %", "highest", "mean", "share of zeros", "far out"]
    grid = Grid(columns=columns, rows=rows, caption="Numbers (far out: beyond three interquartile ranges)")
    far_out = sorted(((row[8], row[0]) for row in rows if (row[8] or 0) > 0.01), reverse=True)
    if far_out:
        worst = ", ".join(f"{name} ({percent(share)})" for share, name in far_out[:5])
        findings.append(
            Finding(
                title=f"{len(far_out)} column{'' if len(far_out) == 1 else 's'} with a long tail",
                severity="info",
                evidence=f"More than 1 % of the values lie beyond three interquartile ranges: {worst}.",
                advice="Look at the highest and lowest rows for wrong units or entries. Trees do not mind; "
                "a linear model or a squared error does, and a logarithm often helps.",
                kind="long-tail",
            )
        )
    return Section(
        title="Numbers", lead=_lead(names, "numeric column", note), blocks=[*charts, grid], findings=findings
    )


def _infinite(name: str, count: int, rows: int) -> Finding:
    return Finding(
        title=f"{name} holds infinite values",
        severity="problem",
        evidence=f"{count:,} of {rows:,} values are infinite or beyond ±1e300.",
        advice="They usually come from a division by zero: mend the source or make them missing.",
        kind="infinite-values",
    )


def _histogram(name: str, values: np.ndarray) -> Histogram:
    edges = edges_of(values)
    counts = np.histogram(values, edges)[0]
    beyond = len(values) - int(counts.sum())
    label = f"{name} ({percent(beyond / len(values))} lie outside the drawing)" if beyond else name
    return Histogram(title=name, x_label=label, edges=edges.tolist(), series=[("", counts.tolist())])


def _categories(source: Source, names: list[str]) -> Section:
    rows: list[list[Any]] = []
    charts: list[Block] = []
    for name in names:
        counts = source.train[name].drop_nulls().cast(pl.String).value_counts(sort=True, name="n")
        counts = counts.sort("n", name, descending=[True, False])
        total = int(counts["n"].sum()) if counts.height else 0
        if not total:
            rows.append([name, 0, None, None, None])
            continue
        once = int((counts["n"] == 1).sum())
        rows.append([name, counts.height, counts[name][0], counts["n"][0] / total, once / total])
        if len(charts) >= MOST_CHARTS or counts["n"][0] == 1:
            continue
        top = counts.head(TOP_VALUES)
        labels, values = top[name].to_list(), top["n"].to_list()
        if counts.height > TOP_VALUES:
            labels.append(f"{counts.height - TOP_VALUES:,} others")
            values.append(total - sum(values))
        title = name if counts.height <= TOP_VALUES else f"{name} ({counts.height:,} different values)"
        charts.append(Bars(title=title, labels=labels, series=[("", values)], value_label="rows"))
    grid = Grid(
        columns=["column", "different values", "most frequent", "its share", "share seen once"],
        rows=rows,
        caption="Categories",
        bars="its share",
    )
    return Section(
        title="Categories", lead=_lead(names, "column", "") + " Counts are over all rows.", blocks=[*charts, grid]
    )


def _dates(source: Source, names: list[str], shown: pl.DataFrame, note: str) -> Section:
    rows: list[list[Any]] = []
    charts: list[Block] = []
    for name in names:
        present = source.train[name].drop_nulls().cast(pl.Datetime("us")).unique().sort()
        if present.is_empty():
            rows.append([name, *[None] * 6])
            continue
        steps = present.diff().drop_nulls()
        usual: Any = steps.median() if len(steps) else None
        largest: Any = steps.max() if len(steps) else None
        at = present[int(steps.arg_max() or 0)] if len(steps) else None
        rows.append(
            [name, _moment(present[0]), _moment(present[-1]), len(present), *map(_span, (usual, largest)), _moment(at)]
        )
        if len(charts) < MOST_CHARTS:
            years = _years(shown[name])
            if len(years):
                edges = edges_of(years) if np.ptp(years) else np.array([years[0] - 0.5, years[0] + 0.5])
                counts = np.histogram(years, edges)[0]
                charts.append(
                    Histogram(title=name, x_label="year", edges=edges.tolist(), series=[("", counts.tolist())])
                )
    grid = Grid(
        columns=["column", "first", "last", "different moments", "usual step", "largest gap", "gap begins"],
        rows=rows,
        caption="Dates",
    )
    return Section(title="Dates", lead=_lead(names, "column", note), blocks=[*charts, grid])


def _years(column: pl.Series) -> np.ndarray:
    micros = column.drop_nulls().cast(pl.Datetime("us")).to_physical().to_numpy()
    return np.asarray(1970 + micros / (365.2425 * 86_400e6), dtype=np.float64)


def _moment(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value.isoformat(sep=" ", timespec="minutes"))
    return text.removesuffix(" 00:00")


def _span(value: Any) -> str | None:
    if value is None:
        return None
    days = value.total_seconds() / 86_400
    if days >= 1:
        return f"{short(days, 3)} days" if days != 1 else "1 day"
    return f"{short(days * 24, 3)} h" if days * 24 >= 1 else f"{short(days * 1440, 3)} min"


def _texts(source: Source, names: list[str], shown: pl.DataFrame, note: str) -> Section:
    rows: list[list[Any]] = []
    charts: list[Block] = []
    for name in names:
        lengths = source.train[name].drop_nulls().str.len_chars().to_numpy()
        if not len(lengths):
            rows.append([name, *[None] * 5])
            continue
        quantiles = np.quantile(lengths, [0, 0.5, 0.95, 1])
        rows.append([name, *(float(q) for q in quantiles), float(np.mean(lengths == 0))])
        if len(charts) < MOST_CHARTS:
            drawn = shown[name].drop_nulls().str.len_chars().to_numpy().astype(np.float64)
            if len(drawn):
                edges = edges_of(drawn)
                counts = np.histogram(drawn, edges)[0]
                charts.append(
                    Histogram(
                        title=f"{name}: length",
                        x_label="characters",
                        edges=edges.tolist(),
                        series=[("", counts.tolist())],
                    )
                )
    columns = ["column", "shortest", "median", "95 %", "longest", "share empty"]
    grid = Grid(columns=columns, rows=rows, caption="Length of texts in characters")
    return Section(title="Texts", lead=_lead(names, "text column", note), blocks=[*charts, grid])
