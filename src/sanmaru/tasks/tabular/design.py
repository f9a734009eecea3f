"""The matrix that a linear model sees: standardised numbers, marks of missing ones, one column per category.

A column of codes becomes one *level* per known category , one for all others and one for
missing. Levels that a fold never saw keep the weight 0, and so a row with an unknown category is predicted from its
other columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sanmaru.tasks.tabular.schema import Encoded


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which encoded columns are numbers, which are levels, and how the numbers are scaled."""

    numbers: np.ndarray
    """Places of the numbers in the encoded matrix, int64 (n_numbers,)."""
    median: np.ndarray
    """What a missing number is replaced by, float64 (n_numbers,)."""
    mean: np.ndarray
    scale: np.ndarray
    """Standard deviation; 1 where a number is constant in training."""
    leveled: np.ndarray
    """Places of the columns of levels, int64 (n_leveled,)."""
    sizes: np.ndarray
    """Levels of each, with those for other and missing, int64 (n_leveled,)."""

    def fill(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Split an encoded matrix into filled numbers, marks of missing ones, and levels.

        Returns:
            Numbers float64 (n, n_numbers) not yet scaled, marks bool of the same shape, levels int64 (n, n_leveled)
            counted on through all columns.
        """
        numbers = matrix[:, self.numbers]
        marks = np.isnan(numbers)
        numbers = np.where(marks, self.median, numbers)
        codes = matrix[:, self.leveled]
        # The last level is missing, the one before it everything that has no level of its own.
        levels = np.where(np.isnan(codes), self.sizes - 1, np.minimum(np.nan_to_num(codes), self.sizes - 2))
        starts = np.cumsum(self.sizes) - self.sizes
        return numbers, marks, levels.astype(np.int64) + starts

    def design(self, matrix: np.ndarray) -> sparse.csr_matrix:
        """Return the design float64 (n, width) of an encoded matrix."""
        numbers, marks, levels = self.fill(matrix)
        n = len(matrix)
        width = int(self.sizes.sum())
        starts = np.arange(n + 1) * levels.shape[1]
        hot = sparse.csr_matrix((np.ones(levels.size), levels.ravel(), starts), shape=(n, width))
        scaled = sparse.csr_matrix((numbers - self.mean) / self.scale)
        return sparse.csr_matrix(sparse.hstack([scaled, sparse.csr_matrix(marks.astype(np.float64)), hot]))


def learn_layout(matrix: np.ndarray, columns: Sequence[Encoded]) -> Layout:
    """Learn medians and scales from a fold's training rows, float64 (n, n_columns)."""
    kinds = [_levels(column) for column in columns]
    numbers = np.array([place for place, size in enumerate(kinds) if not size], dtype=np.int64)
    leveled = np.array([place for place, size in enumerate(kinds) if size], dtype=np.int64)
    values = matrix[:, numbers]
    median = np.array(
        [np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0.0 for column in values.T]
    )
    filled = np.where(np.isnan(values), median, values)
    scale = filled.std(axis=0)
    # A constant column has a spread of rounding errors at most.
    constant = scale <= 1e-12 * np.maximum(np.abs(filled).max(axis=0, initial=0.0), 1e-300)
    return Layout(
        numbers=numbers,
        median=median.reshape(len(numbers)),
        mean=filled.mean(axis=0),
        scale=np.where(constant, 1.0, scale),
        leveled=leveled,
        sizes=np.array([size for size in kinds if size], dtype=np.int64),
    )


def _levels(column: Encoded) -> int:
    """Levels of an encoded column, 0 for a number."""
    if column.n_codes:
        return column.n_codes + 2
    return column.cycle + 3 if column.cycle else 0  # hours count from 0, months from 1
