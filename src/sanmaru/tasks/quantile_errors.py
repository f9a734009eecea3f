"""Are predicted quantiles what they say? Coverage and pinball loss of a regression's quantiles, as a report section."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sanmaru.html.blocks import Block, Finding, Grid, Lines, Section
from sanmaru.tasks.base import Output


def pinball_loss(truth: np.ndarray, predicted: np.ndarray, level: float) -> float:
    """Return the mean pinball loss of one quantile, which the true quantile minimises (Koenker & Bassett, 1978).

    Args:
        truth: float64 (n,).
        predicted: float64 (n,).
        level: In (0, 1). A truth above the prediction costs `level` per unit, one below it `1 - level`.
    """
    error = truth - predicted
    return float(np.maximum(level * error, (level - 1) * error).mean())


def quantile_section(output: Output, truth: np.ndarray, quantiles: np.ndarray) -> Section:
    """Compare the share of rows below each quantile with its level, and its loss with that of a constant.

    Args:
        output: The predicted column.
        truth: float64 (n,).
        quantiles: float (n, n_quantiles), in the order of `output.quantiles`.
    """
    levels = output.quantiles
    below = (truth[:, None] <= quantiles).mean(axis=0)
    rows = []
    for place, (name, level) in enumerate(zip(output.quantile_names, levels, strict=True)):
        loss = pinball_loss(truth, quantiles[:, place], level)
        # The best constant, chosen on these very rows: a bar that is a little too high rather than too low.
        constant = pinball_loss(truth, np.full(len(truth), np.quantile(truth, level)), level)
        saved = 1 - loss / constant if constant > 0 else 0.0
        rows.append((name, level, round(float(below[place]), 4), float(f"{loss:.5g}"), round(saved, 4)))
    spans = list(_spans(levels, truth, quantiles))
    worst = int(np.abs(below - np.array(levels)).argmax())
    lead = "Of rows with such a prediction, the named share should lie below each quantile; these are out of fold. "
    if spans:
        low, high, wanted, found, _ = spans[0]
        lead += f"Between the {low:.10g} and {high:.10g} quantiles lie {found:.1%} of the rows, {wanted:.1%} should."
    columns = ("quantile", "level", "share of rows below", "pinball loss", "loss less than a constant's")
    blocks: list[Block] = [
        Grid(columns=columns, rows=rows),
        Lines(
            title="Share of rows below each quantile",
            x_label="level",
            y_label="share of rows below",
            series=(("quantiles", list(levels), below.tolist()),),
            diagonal=True,
            points=len(levels) < 3,
        ),
    ]
    if spans:
        blocks.insert(
            1,
            Grid(
                columns=("interval", "should hold", "holds", f"mean width ({output.name})"),
                rows=[
                    (f"{low:.10g} to {high:.10g}", round(wanted, 4), round(found, 4), float(f"{width:.5g}"))
                    for low, high, wanted, found, width in spans
                ],
            ),
        )
    return Section(
        title="Quantiles",
        lead=lead,
        blocks=tuple(blocks),
        findings=tuple(_off(levels[worst], float(below[worst]), len(truth))),
    )


def _spans(
    levels: tuple[float, ...], truth: np.ndarray, quantiles: np.ndarray
) -> Iterator[tuple[float, float, float, float, float]]:
    """Yield (low, high, wanted share, share found, mean width) of intervals, the widest first."""
    for place in range(len(levels) // 2):
        other = len(levels) - 1 - place
        low, high = quantiles[:, place], quantiles[:, other]
        inside = float(((truth > low) & (truth <= high)).mean())
        yield levels[place], levels[other], levels[other] - levels[place], inside, float((high - low).mean())


def _off(level: float, below: float, n: int) -> Iterator[Finding]:
    """A finding where coverage is off by more than chance (four standard errors) and by three hundredths."""
    if abs(below - level) > max(0.03, 4 * np.sqrt(level * (1 - level) / n)):
        yield Finding(
            title="Quantiles do not hold the share of rows they name",
            severity="warning",
            evidence=f"{below:.1%} of {n} rows lie below the {level:.10g} quantile.",
            advice="Compare with another model kind; with few rows a smaller model (fewer leaves, more rows per leaf) "
            "follows single rows less closely. Where rows are ordered in time, the target may have drifted.",
            kind="quantile-coverage",
        )
