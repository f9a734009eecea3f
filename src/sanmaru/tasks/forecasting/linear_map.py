"""Ridge regression in closed form, its penalty chosen on blocks left out, which also gives errors not learned from.

Sums of products are kept per block of rows, so that leaving a block out is a subtraction and a penalty a division: all
penalties of a block cost one eigendecomposition. Blocks are contiguous in time, for neighbouring windows share most of
their numbers, and errors of shuffled rows would flatter.

n rows, D numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 5
PENALTIES = np.logspace(-5, 2, 15)
"""Tried, relative to the number of rows, on standardised numbers."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One linear map to one number."""

    weights: NDArray[np.float64]
    """(D,)."""
    intercept: float
    penalty: float
    error: float
    """Mean squared error on the blocks left out."""
    held_out: NDArray[np.float64]
    """Predictions of every row by the map that was learned without its block, (n,)."""


def fit_ridge(
    matrix: NDArray[np.float32], truth: NDArray[np.float32], blocks: NDArray[np.int64], penalty: float | None = None
) -> Fit:
    """Fit weights by least squares with an L2 penalty.

    Args:
        matrix: Standardised numbers, no NaN, (n, D).
        truth: (n,); rows where it is NaN are not learned from, yet predicted.
        blocks: The block of each row, (n,), 0 ... BLOCKS - 1.
        penalty: Relative to the number of rows; None chooses that of the least squared error on blocks left out.

    Raises:
        ValueError: when no row has a truth.
    """
    known = ~np.isnan(truth)
    if not known.any():
        raise ValueError("no row has a truth to learn from")
    parts = [_Sums.of(matrix[rows], truth[rows]) for rows in (known & (blocks == block) for block in range(BLOCKS))]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    grid = PENALTIES if penalty is None else np.array([penalty])
    held_out = np.zeros((len(truth), len(grid)))
    for block, part in enumerate(parts):
        rest = whole - part
        left_out = blocks == block
        weights, intercepts = (rest if rest.rows else whole).solve(grid)
        held_out[left_out] = matrix[left_out] @ weights + intercepts
    errors = np.square(held_out[known] - truth[known, None]).mean(axis=0)
    best = int(np.argmin(errors))
    weights, intercepts = whole.solve(grid[best : best + 1])
    return Fit(
        weights=weights[:, 0],
        intercept=float(intercepts[0]),
        penalty=float(grid[best]),
        error=float(errors[best]),
        held_out=held_out[:, best],
    )


@dataclass(frozen=True)
class _Sums:
    """Sums over rows of products of what is regressed."""

    rows: float
    products: NDArray[np.float64]
    """(D, D)."""
    sums: NDArray[np.float64]
    """(D,)."""
    cross: NDArray[np.float64]
    """Numbers times truth, (D,)."""
    total: float
    """Of the truth."""

    @classmethod
    def of(cls, matrix: NDArray[np.float32], truth: NDArray[np.float32]) -> _Sums:
        exact, wanted = matrix.astype(np.float64), truth.astype(np.float64)
        return cls(float(len(exact)), exact.T @ exact, exact.sum(axis=0), exact.T @ wanted, float(wanted.sum()))

    def __add__(self, other: _Sums) -> _Sums:
        return self._with(other, 1.0)

    def __sub__(self, other: _Sums) -> _Sums:
        return self._with(other, -1.0)

    def _with(self, other: _Sums, sign: float) -> _Sums:
        return _Sums(
            self.rows + sign * other.rows,
            self.products + sign * other.products,
            self.sums + sign * other.sums,
            self.cross + sign * other.cross,
            self.total + sign * other.total,
        )

    def solve(self, penalties: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights (D, P) and intercepts (P,), one for each penalty; intercepts are not penalised."""
        mean, middle = self.sums / self.rows, self.total / self.rows
        covariance = self.products / self.rows - np.outer(mean, mean)
        values, vectors = np.linalg.eigh(covariance)
        turned = vectors.T @ (self.cross / self.rows - mean * middle)
        weights = vectors @ (turned[:, None] / (np.maximum(values, 0.0)[:, None] + penalties))
        return weights, middle - mean @ weights
