"""What the data report shows for a table: the target, what each feature tells of it, and what tells too much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Histogram, Lines, Section, Text, Tiles
from sanmaru.tasks.tabular.schema import Encoded, Feature
from sanmaru.tasks.tabular.strength import SCALES, Scale, bins_of, strengths

if TYPE_CHECKING:
    from sanmaru.tasks.tabular.task import Tabular

MOST_SHOWN = 25
MOST_DRAWN = 12
"""Features whose relation with the target is drawn, strongest first."""
_RARE = 0.05
"""Share of rows below which a class is called rare."""
_CLOCK = 0.03
"""What the hour or the weekday must tell of the target, above nothing, to be named where it is not learned from."""
_UNKNOWN = 0.05
"""Share of test rows with unknown categories from which a finding is made."""


def explore(task: Tabular, table: pl.DataFrame, test: pl.DataFrame | None) -> Iterator[Section]:
    """Yield the sections; `test` rows need no target."""
    truth = task.truth(table)
    output = task.output
    yield _numbers(task, truth) if output.kind == "regression" else _balance(task, truth)
    matrix = task.encoder.encode(table)
    kind = "regression" if output.kind == "regression" else "binary" if len(output.classes) == 2 else "multiclass"
    scale = SCALES[kind]
    found = strengths(matrix, task.schema.encoded, truth, len(output.classes))
    strength = _strength(task, found, scale)
    yield replace(strength, findings=[*strength.findings, *_time_not_learned(task, table, truth, scale)])
    yield _relations(task, matrix, truth, list(found))
    missing = _missing(task, matrix, truth)
    if missing is not None:
        yield missing
    if test is not None:
        unknown = _unknown(task, test)
        if unknown is not None:
            yield unknown


def _balance(task: Tabular, codes: np.ndarray) -> Section:
    output = task.output
    counts = np.bincount(codes, minlength=len(output.classes))
    order = np.argsort(-counts, kind="stable")
    shown = order[:MOST_SHOWN]
    findings = []
    rare = [output.classes[i] for i in order if counts[i] < _RARE * len(codes)]
    if rare:
        names = ", ".join(rare[:5]) + (" …" if len(rare) > 5 else "")
        findings.append(
            Finding(
                title=f"{len(rare)} of {len(counts)} classes are rare",
                severity="warning",
                evidence=f"Under {_RARE:.0%} of {len(codes)} rows each: {names}. The rarest has {counts.min()} rows.",
                advice="Use a stratified split, watch macro F1 or ROC AUC rather than accuracy, and try "
                "model.class_weights: balanced.",
                kind="rare-classes",
            )
        )
    blocks: list[Block] = [
        Tiles(
            tiles=[
                ("rows", f"{len(codes):,}", ""),
                ("classes", str(len(counts)), task.reason),
                ("most frequent", output.classes[order[0]], f"{counts[order[0]] / len(codes):.1%} of rows"),
            ]
        ),
        Bars(
            title=f"Rows per class of {output.name}",
            labels=[output.classes[i] for i in shown],
            series=[("rows", [float(counts[i]) for i in shown])],
            value_label="rows",
        ),
    ]
    if len(order) > len(shown):
        blocks.append(Text(f"{len(order) - len(shown)} less frequent classes are not drawn."))
    lead = f"Always answering {output.classes[order[0]]!r} would be right for {counts.max() / len(codes):.1%} of rows."
    return Section(title=f"Target: {output.name}", lead=lead, blocks=blocks, findings=findings)


def _time_not_learned(task: Tabular, table: pl.DataFrame, truth: np.ndarray, scale: Scale) -> list[Finding]:
    """Name the hour or weekday of the column of time, where it tells of the target and is no feature."""
    name = task.roles.time
    if name is None or name in task.roles.features or name not in table.columns or not table[name].dtype.is_temporal():
        return []
    times = table[name].cast(pl.Datetime("us"))
    parts = {"hour": times.dt.hour(), "weekday": times.dt.weekday()}
    columns = [Encoded(name=part, source=part) for part in parts]
    matrix = np.stack([values.cast(pl.Float64).fill_null(np.nan).to_numpy() for values in parts.values()], axis=1)
    found = strengths(matrix, columns, truth, len(task.output.classes))
    part, strength = next(iter(found.items()))
    if strength < scale.nothing + _CLOCK:
        return []
    return [
        Finding(
            title=f"The {part} of {name} tells of the target and is not learned from",
            severity="warning",
            evidence=f"From the {part} alone, on rows not learned from: {scale.name} {strength:.4f} (1 is perfect, "
            f"{scale.nothing:g} is nothing).",
            advice="The column of time only orders the rows. If it is known when a prediction is made, set "
            "data.learn_time: true.",
            kind="time-not-learned",
        )
    ]


def _numbers(task: Tabular, truth: np.ndarray) -> Section:
    name = task.output.name
    low, middle, high = np.quantile(truth, (0.05, 0.5, 0.95))
    spread = truth.std()
    skew = float((((truth - truth.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
    blocks: list[Block] = [
        Tiles(
            tiles=[
                ("rows", f"{len(truth):,}", task.reason),
                (
                    "mean",
                    f"{truth.mean():,.6g}",
                    f"standard deviation {spread:,.6g}: the RMSE of always saying the mean",
                ),
                ("median", f"{middle:,.6g}", f"5 % to 95 %: {low:,.6g} to {high:,.6g}"),
                ("range", f"{truth.min():,.6g} to {truth.max():,.6g}", f"skewness {skew:.2f}"),
            ]
        ),
        _histogram(truth, f"Distribution of {name}", name),
    ]
    findings = []
    if skew > 2 and truth.min() > 0:
        blocks.append(_histogram(np.log10(truth), f"Distribution of {name}, logarithmic", f"log10 of {name}"))
        findings.append(
            Finding(
                title="The target has a heavy tail",
                severity="info",
                evidence=f"Skewness {skew:.1f}; the largest value is {truth.max() / middle:.0f} times the median.",
                advice="A few rows decide the RMSE. Where relative errors matter, choose metric: rmsle, mape or mae.",
                kind="heavy-tail",
            )
        )
    top = float((truth == truth.max()).mean())
    if top > 0.01 and len(np.unique(truth)) > 50:
        findings.append(
            Finding(
                title="The target seems to be capped",
                severity="info",
                evidence=f"{top:.1%} of the rows hold exactly the largest value, {truth.max():,.6g}.",
                advice="True values beyond the cap are unknown; errors there say little.",
                kind="capped-target",
            )
        )
    return Section(title=f"Target: {name}", blocks=blocks, findings=findings)


def _histogram(values: np.ndarray, title: str, label: str) -> Histogram:
    counts, edges = np.histogram(values, bins=40)
    return Histogram(title=title, x_label=label, edges=edges.tolist(), series=[("rows", counts.astype(float).tolist())])


def _strength(task: Tabular, found: dict[str, float], scale: Scale) -> Section:
    kinds = {feature.name: feature for feature in task.schema.features}
    names = list(found)[:MOST_SHOWN]
    findings = [
        Finding(
            title=f"{name} alone nearly tells the target",
            severity="problem",
            evidence=f"From {name} alone, on rows not learned from: {scale.name} {found[name]:.4f} "
            f"(1 is perfect, {scale.nothing:g} is nothing).",
            advice=f"Ask whether {name} is known when a prediction is made. If it is written after the fact, add it "
            "to data.drop.",
            kind="leak",
        )
        for name in found
        if found[name] >= scale.leak
    ]
    findings += [
        Finding(
            title=f"{name} is not used",
            severity="info",
            evidence=f"{reason[:1].upper()}{reason[1:]}.",
            advice="Nothing to do; or mend the column, if this surprises you.",
            kind="useless-column",
        )
        for name, reason in task.schema.dropped
    ]
    rows = [
        [name, kinds[name].kind, round(found[name], 4), f"{kinds[name].missing_fraction:.1%}", _values(kinds[name])]
        for name in found
    ]
    blocks: list[Block] = [
        Bars(
            title="What one column alone tells",
            labels=names,
            series=[(scale.name, [max(found[name], 0.0) for name in names])],
            value_label=scale.name,
        ),
        Grid(columns=["column", "kind", scale.name, "missing", "values"], rows=rows, bars=scale.name),
    ]
    best = names[0]
    lead = (
        f"Each column alone, cut into bins, on rows it did not learn from. The strongest is {best} ({scale.name} "
        f"{found[best]:.3f}); {scale.nothing:g} tells nothing. A weak column can still matter together with others."
    )
    return Section(title="What each column tells of the target", lead=lead, blocks=blocks, findings=findings)


def _values(feature: Feature) -> str:
    match feature.kind:
        case "number":
            return f"{feature.low:g} to {feature.high:g}"
        case "boolean":
            return "true, false"
        case "date":
            return f"{(feature.reference or '')[:10]} to {str(feature.example)[:10]}"
        case "category":
            return f"{len(feature.categories)} categories"
    return f"{len(feature.categories):,} texts that occur more than once"


def _relations(task: Tabular, matrix: np.ndarray, truth: np.ndarray, order: Sequence[str]) -> Section:
    """Mean of the target, or shares of its classes, over the bins of the strongest features."""
    series = _series(task, truth)
    columns = task.schema.encoded
    places = {name: next(i for i, column in enumerate(columns) if column.source == name) for name in order}
    known = {feature.name: feature.categories for feature in task.schema.features}
    blocks: list[Block] = []
    label = "share of rows" if task.output.kind == "classification" else f"mean {task.output.name}"
    for name in order[:MOST_DRAWN]:
        column, values = columns[places[name]], matrix[:, places[name]]
        if column.n_codes:
            blocks.append(_category_chart(known[name], column, values, series, label))
        else:
            blocks.append(_number_chart(column.name, column, values, series, label))
    lead = "The strongest columns first; numbers are cut into bins of equally many rows."
    return Section(title="Features and target", lead=lead, blocks=blocks)


def _series(task: Tabular, truth: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What is averaged per bin: the target itself, or membership of a class (the most frequent five)."""
    if task.output.kind == "regression":
        return [(f"mean {task.output.name}", truth)]
    classes = task.output.classes
    if len(classes) == 2:
        return [(classes[1], (truth == 1).astype(np.float64))]
    frequent = np.argsort(-np.bincount(truth, minlength=len(classes)), kind="stable")[:5]
    return [(classes[code], (truth == code).astype(np.float64)) for code in frequent]


def _number_chart(
    title: str, column: Encoded, values: np.ndarray, series: Sequence[tuple[str, np.ndarray]], label: str
) -> Lines:
    bins, edges = bins_of(values, column, 20)
    there = bins < len(edges) if len(edges) else np.zeros(len(values), dtype=bool)
    counts = np.bincount(bins[there], minlength=max(len(edges), 1))
    filled = counts > 0
    x = (np.bincount(bins[there], weights=values[there], minlength=len(counts))[filled] / counts[filled]).tolist()
    drawn = []
    for name, target in series:
        sums = np.bincount(bins[there], weights=target[there], minlength=len(counts))
        drawn.append((name, x, (sums[filled] / counts[filled]).tolist()))
    return Lines(title=title, x_label=title, y_label=label, series=drawn)


def _category_chart(
    known: Sequence[str],
    column: Encoded,
    values: np.ndarray,
    series: Sequence[tuple[str, np.ndarray]],
    label: str,
) -> Bars:
    bins, _ = bins_of(values, column)
    counts = np.bincount(bins, minlength=column.n_codes + 2)
    texts = [*known, "(other)", "(missing)"]
    shown = [int(i) for i in np.argsort(-counts, kind="stable")[:MOST_DRAWN] if counts[i]]
    drawn = []
    for title, target in series:
        sums = np.bincount(bins, weights=target, minlength=len(counts))
        drawn.append((title, [float(sums[i] / counts[i]) for i in shown]))
    return Bars(
        title=column.name, labels=[f"{texts[i]} ({counts[i]:,})" for i in shown], series=drawn, value_label=label
    )


def _missing(task: Tabular, matrix: np.ndarray, truth: np.ndarray) -> Section | None:
    """How the target differs where a column is missing."""
    name, target = _series(task, truth)[0]
    rows = []
    seen: set[str] = set()
    for place, column in enumerate(task.schema.encoded):
        gone = np.isnan(matrix[:, place])
        if column.source in seen or not gone.any() or gone.all():
            continue
        seen.add(column.source)
        here, there = float(target[gone].mean()), float(target[~gone].mean())
        rows.append([column.source, int(gone.sum()), f"{gone.mean():.1%}", round(here, 4), round(there, 4)])
    if not rows:
        return None
    what = f"share of {name}" if task.output.kind == "classification" else name
    return Section(
        title="Missing values and the target",
        lead="Where the target differs much between missing and present, missing is itself a message. "
        "Both models use it.",
        blocks=[
            Grid(
                columns=["column", "missing", "share", f"{what} where missing", "where present"],
                rows=sorted(rows, key=lambda row: -int(str(row[1]))),
            )
        ],
    )


def _unknown(task: Tabular, test: pl.DataFrame) -> Section | None:
    """Categories of the test rows that training did not know."""
    present = [feature.name for feature in task.schema.features if feature.name in test.columns]
    if not present or not test.height:
        return None
    matrix = task.encoder.encode(test)
    rows, findings = [], []
    kinds = {feature.name: feature.kind for feature in task.schema.features}
    for place, column in enumerate(task.schema.encoded):
        if not column.n_codes or kinds[column.source] != "category" or column.source not in test.columns:
            continue
        share = float((matrix[:, place] == column.n_codes).mean())
        if share > 0:
            rows.append([column.source, f"{share:.2%}"])
        if share >= _UNKNOWN:
            findings.append(
                Finding(
                    title=f"{column.source} holds values that training never saw",
                    severity="warning",
                    evidence=f"{share:.1%} of {test.height} test rows.",
                    advice="They are predicted from the other columns. Check spelling and whether the split should "
                    "hold such groups apart, so that the score tells of it.",
                    kind="unknown-categories",
                )
            )
    if not rows:
        return None
    grid = Grid(columns=["column", "test rows with an unknown category"], rows=rows)
    return Section(title="Categories new in the test rows", blocks=[grid], findings=findings)
