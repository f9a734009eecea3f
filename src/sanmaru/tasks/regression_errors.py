"""Error analysis of regression: predicted against true, residuals, error by size, worst rows, as report sections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from sanmaru.html.blocks import Bars, Finding, Grid, Histogram, Lines, Section
from sanmaru.html.numbers import short
from sanmaru.tasks.base import Output

MOST_POINTS = 1500
"""Scatter plots of more rows show a sample of this size, drawn with a fixed seed."""


def diagnose_regression(output: Output, ids: pl.Series, truth: np.ndarray, predicted: np.ndarray) -> Iterator[Section]:
    """Yield the sections.

    Args:
        output: The predicted column.
        ids: Row ids (n,).
        truth: float64 (n,).
        predicted: float64 (n,).
    """
    if len(truth) == 0:
        return
    yield predicted_against_true(output, truth, predicted)
    yield residuals(output, ids, truth, predicted)
    yield error_by_size(output, truth, predicted)
    yield worst_rows(output, ids, truth, predicted)


def predicted_against_true(output: Output, truth: np.ndarray, predicted: np.ndarray) -> Section:
    """Show rows as points, and per tenth of the predictions the mean of both; name a bias and impossible values."""
    places = np.arange(len(truth))
    if len(truth) > MOST_POINTS:
        places = np.sort(np.random.default_rng(0).choice(len(truth), MOST_POINTS, replace=False))
    tenths = np.array_split(np.argsort(predicted, kind="stable"), min(10, len(truth)))
    means = [(float(predicted[part].mean()), float(truth[part].mean())) for part in tenths]
    shown = f" ({len(places)} of {len(truth)} rows, drawn at random)" if len(places) < len(truth) else ""
    return Section(
        title="Predicted against true",
        lead="Points on the diagonal are predicted exactly. In the second chart each point is a tenth of the rows, "
        "ordered by prediction: off the diagonal, predictions of that size mislead on average.",
        blocks=(
            Lines(
                title=f"Rows{shown}",
                x_label=f"true {output.name}",
                y_label=f"predicted {output.name}",
                series=(("rows", truth[places].tolist(), predicted[places].tolist()),),
                diagonal=True,
                points=True,
            ),
            Lines(
                title="Tenths of the predictions",
                x_label=f"mean predicted {output.name}",
                y_label=f"mean true {output.name}",
                series=(("tenths", [mean[0] for mean in means], [mean[1] for mean in means]),),
                diagonal=True,
            ),
        ),
        findings=tuple(_biases(output, truth, predicted)),
    )


def _biases(output: Output, truth: np.ndarray, predicted: np.ndarray) -> Iterator[Finding]:
    error = predicted - truth
    mean, spread = float(error.mean()), float(error.std())
    # Noticeable and not chance: a tenth of the errors' own spread, and four standard errors.
    if abs(mean) > max(0.1 * spread, 4 * spread / np.sqrt(len(error))):
        way = "high" if mean > 0 else "low"
        yield Finding(
            title=f"Predictions are too {way} on average",
            severity="warning",
            evidence=f"Mean error {'+' if mean > 0 else ''}{short(mean)} with a standard deviation of {short(spread)} "
            f"over {len(error)} rows.",
            advice="Check whether training and validation rows come from the same time and source, and whether the "
            "loss fits the metric (a median-seeking loss is biased on skewed targets).",
            kind="biased-predictions",
        )
    if truth.min() >= 0 and (predicted < 0).any():
        below = int((predicted < 0).sum())
        yield Finding(
            title=f"{below} predictions lie below 0 though the target never does",
            severity="warning",
            evidence=f"Smallest prediction {short(predicted.min())}, smallest target {short(truth.min())}.",
            advice="Clip predictions at 0, or learn the logarithm of the target.",
            kind="impossible-negative-predictions",
        )


def residuals(output: Output, ids: pl.Series, truth: np.ndarray, predicted: np.ndarray) -> Section:
    """Show how errors are spread; say when a few rows hold most of the squared error."""
    error = predicted - truth
    low, high = np.quantile(error, [0.005, 0.995])
    if low == high:
        low, high = error.min() - 0.5, error.max() + 0.5
    counts, edges = np.histogram(np.clip(error, low, high), bins=40, range=(low, high))
    quantiles = np.quantile(np.abs(error), [0.5, 0.9, 0.99])
    order = np.argsort(-np.abs(error), kind="stable")
    worst = order[: max(1, len(error) // 100)]
    squared = error**2
    share = float(squared[worst].sum() / squared.sum()) if squared.sum() > 0 else 0.0
    findings = []
    # Normal errors: the worst hundredth holds about 8.5 % of the squared error.
    if share > 0.3 and len(error) >= 200:
        findings.append(
            Finding(
                title="A few rows make most of the error",
                severity="warning",
                evidence=f"The worst {len(worst)} rows (1 %) hold {share:.0%} of the squared error; with normally "
                f"spread errors they would hold about 9 %. Largest error {short(abs(error[order[0]]))}, median "
                f"{short(quantiles[0])}.",
                advice="Look at the worst rows for wrong targets. If they are right, learn the logarithm of the "
                "target, or choose mae as the metric when large errors should not rule.",
                ids=tuple(str(ids[int(place)]) for place in order[:20]),
                kind="heavy-tailed-errors",
            )
        )
    return Section(
        title="Residuals",
        lead=f"Half of the rows are off by less than {short(quantiles[0])}, nine in ten by less than "
        f"{short(quantiles[1])}, 99 of 100 by less than {short(quantiles[2])}.",
        blocks=(
            Histogram(
                title="Errors (outermost hundredth gathered at the ends)",
                x_label=f"predicted - true {output.name}",
                edges=edges.tolist(),
                series=(("rows", counts.tolist()),),
            ),
        ),
        findings=tuple(findings),
    )


def error_by_size(output: Output, truth: np.ndarray, predicted: np.ndarray) -> Section:
    """Show the mean absolute error per tenth of the target."""
    parts = [part for part in np.array_split(np.argsort(truth, kind="stable"), min(10, len(truth))) if len(part)]
    labels = [f"{short(truth[part].min())} to {short(truth[part].max())}" for part in parts]
    absolute = [float(np.abs(predicted[part] - truth[part]).mean()) for part in parts]
    signed = [float((predicted[part] - truth[part]).mean()) for part in parts]
    return Section(
        title="Error by size of the target",
        lead="Rows in tenths of the true value. Small values are usually predicted somewhat too high and large ones "
        "too low: what cannot be known is predicted near the mean.",
        blocks=(
            Bars(
                title="Mean absolute error",
                labels=labels,
                series=(("mean absolute error", absolute),),
                value_label=output.name,
            ),
            Grid(
                columns=(f"true {output.name}", "rows", "MAE", "mean error"),
                rows=[
                    (label, len(part), float(f"{a:.4g}"), float(f"{s:.4g}"))
                    for label, part, a, s in zip(labels, parts, absolute, signed, strict=True)
                ],
            ),
        ),
    )


def worst_rows(output: Output, ids: pl.Series, truth: np.ndarray, predicted: np.ndarray, limit: int = 20) -> Section:
    """Show the rows with the largest absolute errors."""
    error = predicted - truth
    rows = [
        (str(ids[int(place)]), *(float(f"{values[place]:.6g}") for values in (truth, predicted, error)))
        for place in np.argsort(-np.abs(error), kind="stable")[:limit]
    ]
    columns = (ids.name, f"true {output.name}", "predicted", "error")
    return Section(
        title="Worst rows",
        lead="Rows with the largest errors. Wrong targets and odd rows gather here.",
        blocks=(Grid(columns=columns, rows=rows),),
    )
