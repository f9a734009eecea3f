"""How far a score, or the difference of two, could have come out otherwise: the bootstrap (Efron, 1979).

Rows, or whole groups where rows of one entity belong together (cluster bootstrap), are drawn with replacement; a draw
is a vector of counts, and a metric under these counts is the metric with sample weights. Nothing is recomputed row by
row: `metrics.contributions` brings a metric to sums over units, so that a block of rounds is one matrix product.

More than 20,000 units are first put together at random into 20,000 bundles, which are then drawn (the random groups
method; Wolter, 2007, chapter 2): the spread of sums stays the same in expectation and the time stays bounded.

What the row bootstrap cannot see is that another training run, with another seed, would have given other models: it
calls the same recipe with two seeds "better" in 22 % of pairs, where 5 % would be right. `paired` therefore adds what
the folds differ, where it is told the folds, which makes that 3 %. `docs/stages/compare.md` has the figures,
`benchmarks/verdict.py` makes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sanmaru.metrics.base import Metric
from sanmaru.metrics.contributions import evaluator

LEVEL = 0.95
MOST_UNITS = 20_000
_CELLS = 2_000_000
"""Weights held at once: rounds are done in blocks of about this many."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The difference A - B of a metric on the same rows, with its 95 % interval, in the metric's own unit."""

    difference: float
    low: float
    high: float
    greater_is_better: bool
    widened: float = 1.0
    """By how much the spread between folds stretched the interval of the rows; 1 is not at all."""

    @property
    def a_better(self) -> bool:
        """Whether A is shown to be better: the whole interval lies on its side of 0."""
        return self.low > 0 if self.greater_is_better else self.high < 0

    @property
    def b_better(self) -> bool:
        """Whether B is shown to be better."""
        return self.high < 0 if self.greater_is_better else self.low > 0

    @property
    def none(self) -> bool:
        """Whether no difference is shown."""
        return not (self.a_better or self.b_better)


def interval(
    metric: Metric,
    truth: np.ndarray,
    scored: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    rounds: int = 1000,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a metric.

    Args:
        metric: The metric.
        truth: What `Task.truth` gives, (n,).
        scored: What `Task.scored` gives, (n,) or (n, n_classes).
        groups: An entity per row, (n,), whose rows are drawn together; any type that `numpy.unique` sorts.
        seed: Of the draws; the same seed gives the same interval.
        rounds: Number of draws. 1000 put the ends within about a tenth of the standard error.

    Returns:
        (low, high); nan where the metric is nan in every draw, as ROC AUC is for one class.
    """
    units, n_units = _units(len(truth), groups, seed)
    evaluate = evaluator(metric, truth, scored, units, n_units)
    values = np.concatenate([evaluate(weights) for weights in _draws(n_units, seed, rounds)])
    return _ends(values)


def paired(
    metric: Metric,
    truth: np.ndarray,
    scored_a: np.ndarray,
    scored_b: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    folds: np.ndarray | None = None,
    seed: int = 0,
    rounds: int = 2000,
) -> Paired:
    """Return the difference A - B of a metric with its 95 % interval, both scored on the same rows.

    Args:
        metric: The metric.
        truth: What `Task.truth` gives, (n,).
        scored_a: What `Task.scored` gives for A, rows in the order of `truth`.
        scored_b: The same for B.
        groups: An entity per row, (n,), whose rows are drawn together.
        folds: The fold in which each row was validated, int (n,). Where given, the verdict is on the two ways to train
            (would A win again with other seeds?) and the interval is widened for it. Where absent, it is on
            these very models (as when two packages are compared on frozen rows).
        seed: Of the draws.
        rounds: Number of draws.

    Returns:
        The difference on all rows and its interval.

    The widening: let v be the bootstrap variance of the difference, w_k the share of rows in fold k, D the difference
    and D_-k the difference without fold k. The jackknife's pseudo-value p_k = (D - (1 - w_k) D_-k) / w_k is what fold k
    says of the difference; for a mean over rows it is the fold's own difference, and it also sees a fold whose
    scores lie on another scale than the others', which spoils a pooled ROC AUC though each fold's own is fine.
    The variance of the difference is then taken as v + var(p_k) sum(w_k²). The second term is the jackknife's variance
    over folds and holds the scatter of rows once more; taking only what it has beyond that finds a few more real
    differences, but so few folds tell it so badly that 8 % of equal recipes are called different.
    """
    units, n_units = _units(len(truth), groups, seed)
    a, b = (evaluator(metric, truth, scored, units, n_units) for scored in (scored_a, scored_b))
    values = np.concatenate([a(weights) - b(weights) for weights in _draws(n_units, seed, rounds)])
    difference = metric(truth, scored_a) - metric(truth, scored_b)
    low, high = _ends(values)
    widened = 1.0
    if folds is not None:
        pseudo_values, shares = _jackknife(metric, truth, scored_a, scored_b, folds=folds)
        widened = _widening(pseudo_values, shares, _variance(values))
    return Paired(
        difference=difference,
        low=difference - widened * (difference - low),
        high=difference + widened * (high - difference),
        greater_is_better=metric.greater_is_better,
        widened=widened,
    )


def _jackknife(
    metric: Metric, truth: np.ndarray, scored_a: np.ndarray, scored_b: np.ndarray, *, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pseudo-values of the folds and their shares of the rows; folds without which there is no value are left out."""
    whole = metric(truth, scored_a) - metric(truth, scored_b)
    pseudo_values, shares = [], []
    for fold in np.unique(folds):
        rest = folds != fold
        share = 1.0 - float(rest.mean())
        without = metric(truth[rest], scored_a[rest]) - metric(truth[rest], scored_b[rest])
        if np.isfinite(without):
            pseudo_values.append((whole - (1.0 - share) * without) / share)
            shares.append(share)
    return np.array(pseudo_values), np.array(shares)


def _widening(pseudo_values: np.ndarray, shares: np.ndarray, variance: float) -> float:
    """How much longer the interval becomes by what folds differ (see `paired`)."""
    if len(pseudo_values) < 2 or not variance > 0:
        return 1.0
    return float(np.sqrt(1.0 + float(pseudo_values.var(ddof=1)) * float((shares**2).sum()) / variance))


def _units(n_rows: int, groups: np.ndarray | None, seed: int) -> tuple[np.ndarray, int]:
    """Return the unit of each row, int64 (n_rows,), and the number of units: groups, or rows, at most MOST_UNITS."""
    if groups is None:
        units, n_units = np.arange(n_rows), n_rows
    else:
        names, units = np.unique(groups, return_inverse=True)
        n_units = len(names)
    if n_units > MOST_UNITS:
        bundle = np.random.default_rng([seed, 1]).permutation(n_units) % MOST_UNITS
        units, n_units = bundle[units], MOST_UNITS
    return units, n_units


def _draws(n_units: int, seed: int, rounds: int) -> Iterator[np.ndarray]:
    """Yield blocks of draws with replacement: how often each unit was drawn, float64 (rounds of the block, n_units)."""
    rng = np.random.default_rng([seed, 0])
    block = max(1, _CELLS // max(n_units, 1))
    for start in range(0, rounds, block):
        n_rounds = min(block, rounds - start)
        drawn = rng.integers(0, n_units, size=(n_rounds, n_units))
        drawn += np.arange(n_rounds)[:, None] * n_units
        yield np.bincount(drawn.ravel(), minlength=n_rounds * n_units).reshape(n_rounds, n_units).astype(np.float64)


def _variance(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.var()) if len(known) else 0.0


def _ends(values: np.ndarray) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
