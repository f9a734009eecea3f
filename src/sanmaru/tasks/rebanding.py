"""Numbers cut into bands: where the cuts stand, how many rows each band holds, and cuts that share them better."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sanmaru.html.blocks import Bars, Block, Finding, Grid, Histogram, Section
from sanmaru.html.numbers import percent, short
from sanmaru.tables.joint import Target, band_labels

THIN = 0.05
"""A band that holds a smaller share of the rows is a finding."""
BINS = 48


def bands_section(target: Target, numbers: np.ndarray) -> Section:
    """Show a banded target, and propose other cuts where a band is thin.

    Args:
        target: With its `cuts`.
        numbers: Finite float64 (n,), n > 0.
    """
    cuts = target.cuts
    counts = band_counts(numbers, cuts)
    shares = counts / counts.sum()
    blocks: list[Block] = [
        histogram(target, numbers),
        Bars(
            title="Rows per band",
            labels=list(target.classes),
            series=[("", counts.astype(float).tolist())],
            value_label="rows",
        ),
    ]
    findings = []
    thin = np.flatnonzero(shares < THIN)
    whole = bool(np.all(numbers == np.floor(numbers)))
    if len(thin):
        proposed = proposals(numbers, cuts, whole=whole)
        rows = [
            [name, _cuts(new), *(f"{n:,} ({percent(n / counts.sum())})" for n in band_counts(numbers, new))]
            for name, new in [("as they are", cuts), *proposed]
        ]
        columns = ["cuts", "bands", *(f"band {number + 1}" for number in range(len(counts)))]
        blocks.append(Grid(columns=columns, rows=rows, caption="Rows per band, with other cuts"))
        named = ", ".join(f"{target.classes[band]} ({counts[band]:,} rows, {percent(shares[band])})" for band in thin)
        advice = "If the bands are given, learn finer ones (data.target: finer) or weigh classes (train.sampling: "
        advice += "balanced)."
        if proposed:
            _, new = proposed[0]
            labels = ", ".join(band_labels(new, whole=whole))
            advice = f"If the bands are yours to choose, {_cuts(new)} ({labels}) is nearest that helps. " + advice
        findings.append(
            Finding(
                title=f"{len(thin)} band{'' if len(thin) == 1 else 's'} of {target.name} with few rows",
                severity="warning",
                evidence=f"Under {THIN:.0%} of {len(numbers):,} rows: {named}.",
                advice=advice,
                kind="thin-band",
            )
        )
    low, high = float(numbers.min()), float(numbers.max())
    lead = f"{target.name} runs from {short(low)} to {short(high)} and is cut at {', '.join(map(short, cuts))}."
    if target.fine:
        lead += f" It is learnt in {target.n_learnt} finer bins."
    return Section(title=f"Bands of {target.name}", lead=lead, blocks=blocks, findings=findings)


def histogram(target: Target, numbers: np.ndarray) -> Histogram:
    """Return a histogram with one series per band, so that the colours change at the cuts."""
    edges = _edges(numbers, target.cuts)
    bands = np.searchsorted(np.asarray(target.cuts), numbers, side="right")
    series = []
    for band, label in enumerate(target.classes):
        counts = np.histogram(numbers[bands == band], bins=edges)[0].astype(float)
        series.append((label, [count if count else math.nan for count in counts.tolist()]))
    return Histogram(title=f"{target.name}, by band", x_label=target.name, edges=edges.tolist(), series=series)


def band_counts(numbers: np.ndarray, cuts: Sequence[float]) -> np.ndarray:
    """Return the rows in each band, int64 (len(cuts) + 1,); a number on a cut belongs to the band above it."""
    return np.bincount(np.searchsorted(np.asarray(cuts), numbers, side="right"), minlength=len(cuts) + 1)


def proposals(numbers: np.ndarray, cuts: Sequence[float], *, whole: bool) -> list[tuple[str, tuple[float, ...]]]:
    """Propose cuts with more even counts: the nearest ones that leave no band thin, and the most even ones.

    Args:
        numbers: float64 (n,).
        cuts: As they are, rising.
        whole: Whether cuts should be whole numbers.

    Returns:
        (in words, cuts), nearest first; none where no other cuts make the smallest band larger.
    """
    smallest = band_counts(numbers, cuts).min()
    found: list[tuple[str, tuple[float, ...]]] = []
    for name, new in (("moved as little as needed", moved(numbers, cuts)), ("most even", even(numbers, len(cuts)))):
        rounded = tuple(_rounded(numbers, cut, whole=whole) for cut in new)
        if len(set(rounded)) < len(rounded) or rounded in [cuts for _, cuts in found]:
            continue
        if band_counts(numbers, rounded).min() > smallest:
            found.append((name, rounded))
    return found


def moved(numbers: np.ndarray, cuts: Sequence[float], share: float = 2 * THIN) -> tuple[float, ...]:
    """Move each cut just so far that every band holds `share` of the rows, or an even share if that is less.

    In ranks: cut i must leave i + 1 times the share below it and the same for the bands above it; ranks are raised
    from the left, then lowered from the right.
    """
    ordered = np.sort(numbers)
    n, need = len(ordered), min(share, 1 / (len(cuts) + 1)) * len(ordered)
    ranks = np.searchsorted(ordered, np.asarray(cuts), side="left").astype(float)
    below = 0.0
    for place in range(len(cuts)):
        ranks[place] = max(ranks[place], below + need)
        below = ranks[place]
    above = float(n)
    for place in reversed(range(len(cuts))):
        ranks[place] = min(ranks[place], above - need)
        above = ranks[place]
    before = np.searchsorted(ordered, np.asarray(cuts), side="left")
    return tuple(
        float(cut) if rank == old else float(ordered[min(n - 1, max(0, math.floor(rank)))])
        for cut, rank, old in zip(cuts, ranks, before, strict=True)
    )


def even(numbers: np.ndarray, n_cuts: int) -> tuple[float, ...]:
    """Return the quantiles that share the rows evenly."""
    return tuple(float(value) for value in np.quantile(numbers, np.arange(1, n_cuts + 1) / (n_cuts + 1)))


def _rounded(numbers: np.ndarray, cut: float, *, whole: bool) -> float:
    """To a whole number, or to three digits of the spread."""
    if whole:
        return float(round(cut))
    spread = float(np.ptp(numbers)) or 1.0
    return round(cut, max(0, 2 - math.floor(math.log10(spread))))


def _edges(numbers: np.ndarray, cuts: Sequence[float]) -> np.ndarray:
    """Edges of equal width, about `BINS` of them, with every cut on an edge where one step fits all of them."""
    low, high = float(min(numbers.min(), cuts[0])), float(max(numbers.max(), cuts[-1]))
    rough = max((high - low) / BINS, 1e-12)
    scale = 10.0 ** math.floor(math.log10(rough))
    steps = [factor * scale for factor in (1, 2, 5, 10)]
    wide = [step for step in steps if step >= rough] or steps[-1:]
    fitting = [step for step in wide if all(abs(cut / step - round(cut / step)) < 1e-9 for cut in cuts)]
    step = (fitting or wide)[0]
    if np.all(numbers == np.floor(numbers)):
        step = max(1.0, step)
    return np.arange(math.floor(low / step), math.floor(high / step) + 2) * step


def _cuts(cuts: Sequence[float]) -> str:
    return f"[{', '.join(f'{cut:g}' for cut in cuts)}]"
