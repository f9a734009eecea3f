"""Ridge regression in closed form, its penalty chosen on blocks left out, which also gives errors not learned from.

Sums of products are kept per block of rows, so that leaving a block out is a subtraction. Blocks are contiguous in
time, for neighbouring windows share most of their numbers, and errors of shuffled rows would flatter.

Many maps share most of their numbers: those of a window are the same for each step ahead, and a step adds a few of its
own. The covariance of the shared ones is therefore decomposed once for each block left out, which serves all penalties,
and the few are eliminated against it. A truth that is missing in some rows has a covariance of its own to decompose.

n rows, B shared numbers, S own, D = B + S, K truths, P penalties, V = BLOCKS + 1 choices of rows: each block left out,
and none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCKS = 5
PENALTIES = np.logspace(-5, 2, 15)
"""Tried, relative to the number of rows, on standardised numbers."""
Exact = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One linear map to one number."""

    weights: Exact
    """(D,), of the shared numbers and then of the own."""
    intercept: float
    penalty: float
    error: float
    """Mean squared error on the blocks left out."""
    held_out: Floats
    """Predictions of every row by the map that was learned without its block, (n,)."""


class Maps:
    """Linear maps from numbers that they share, and a few of their own.

    Args:
        shared: Standardised numbers, no NaN, (n, B).
        blocks: The block of each row, (n,), 0 ... BLOCKS - 1.
    """

    def __init__(self, shared: Floats, blocks: NDArray[np.int64]) -> None:
        self._shared = shared
        self._blocks = [np.flatnonzero(blocks == block) for block in range(BLOCKS)]
        self._sums = _Sums.of([shared[rows].astype(np.float64) for rows in self._blocks])
        self._values, self._vectors = np.linalg.eigh(self._sums.choices().covariance())

    def fit(self, own: Floats, truths: Floats, penalty: float | None = None) -> list[Fit]:
        """Fit weights by least squares with an L2 penalty, one map for each truth.

        Args:
            own: Standardised numbers of these maps alone, no NaN, (n, S).
            truths: (n, K); rows where one is NaN are not learned from, yet predicted.
            penalty: Relative to the number of rows; None chooses that of the least squared error on blocks left out.

        Raises:
            ValueError: when a truth is known of no row.
        """
        known = ~np.isnan(truths)
        if not known.any(axis=0).all():
            raise ValueError("no row has a truth to learn from")
        grid = PENALTIES if penalty is None else np.array([penalty])
        # Centred, so that sums of squares lose no digits to a level that is large beside its changes.
        level = np.asarray(np.nanmean(truths, axis=0, dtype=np.float64))
        centred = np.where(known, truths - level, 0.0)
        sums, cross = self._with_own(own, centred)
        inverse: _Eliminated | _Decomposed = _Eliminated(self._values, self._vectors, sums.choices().covariance(), grid)
        fits: list[Fit | None] = [None] * truths.shape[1]
        patterns: dict[bytes, list[int]] = {}
        for column in range(truths.shape[1]):
            patterns.setdefault(known[:, column].tobytes(), []).append(column)
        for columns in patterns.values():
            there, wanted = known[:, columns[0]], centred[:, columns]
            missing = [self._rows(own, rows[~there[rows]]) for rows in self._blocks]
            of_known = sums if there.all() else sums.without(missing)
            found = _fit_alike(
                of_known,
                _Truths.of([wanted[rows] for rows in self._blocks], cross[:, :, columns]),
                inverse if there.all() else _Decomposed(of_known.choices().covariance(), grid),
            )
            best = found.errors.argmin(axis=0)
            for place, column in enumerate(columns):
                weights = found.weights[:, :, best[place], place]
                intercepts = found.intercepts[:, best[place], place] + level[column]
                fits[column] = Fit(
                    weights=weights[-1],
                    intercept=float(intercepts[-1]),
                    penalty=float(grid[best[place]]),
                    error=float(found.errors[best[place], place] / there.sum()),
                    held_out=self._held_out(own, weights, intercepts),
                )
        return [fit for fit in fits if fit is not None]

    def _rows(self, own: Floats, rows: NDArray[np.int64]) -> Exact:
        return np.concatenate([self._shared[rows], own[rows]], axis=1).astype(np.float64)

    def _with_own(self, own: Floats, truths: Exact) -> tuple[_Sums, Exact]:
        """Return the sums of all numbers, and their products with truths (BLOCKS, D, K), with nothing left out."""
        n_shared, n_all = self._shared.shape[1], self._shared.shape[1] + own.shape[1]
        products, sums = np.empty((BLOCKS, n_all, n_all)), np.empty((BLOCKS, n_all))
        cross = np.empty((BLOCKS, n_all, truths.shape[1]))
        products[:, :n_shared, :n_shared], sums[:, :n_shared] = self._sums.products, self._sums.sums
        for block, rows in enumerate(self._blocks):
            few = np.concatenate([own[rows], truths[rows]], axis=1).astype(np.float64)
            mixed = self._shared[rows].astype(np.float64).T @ few
            among = few[:, : own.shape[1]].T @ few
            products[block, :n_shared, n_shared:] = mixed[:, : own.shape[1]]
            products[block, n_shared:, :n_shared] = mixed[:, : own.shape[1]].T
            products[block, n_shared:, n_shared:] = among[:, : own.shape[1]]
            sums[block, n_shared:] = few[:, : own.shape[1]].sum(axis=0)
            cross[block] = np.concatenate([mixed, among])[:, own.shape[1] :]
        return _Sums(self._sums.rows, sums, products), cross

    def _held_out(self, own: Floats, weights: Exact, intercepts: Exact) -> Floats:
        """Predict each block by the map that was learned without it; weights (V, D), intercepts (V,)."""
        n_shared, given = self._shared.shape[1], weights.astype(np.float32)
        out = np.empty(len(own), dtype=np.float32)
        for block, rows in enumerate(self._blocks):
            said = self._shared[rows] @ given[block, :n_shared] + own[rows] @ given[block, n_shared:]
            out[rows] = said + intercepts[block]
        return out


@dataclass(frozen=True)
class _Sums:
    """Sums over the rows of each block, or of each choice of rows, of products of what is regressed."""

    rows: Exact
    """How many, (V,)."""
    sums: Exact
    """(V, D)."""
    products: Exact
    """(V, D, D)."""

    @classmethod
    def of(cls, parts: list[Exact]) -> _Sums:
        rows = np.array([float(len(part)) for part in parts])
        sums = np.stack([part.sum(axis=0) for part in parts])
        return cls(rows, sums, np.stack([part.T @ part for part in parts]))

    def without(self, parts: list[Exact]) -> _Sums:
        """Take rows away, of each block."""
        less = _Sums.of(parts)
        return _Sums(self.rows - less.rows, self.sums - less.sums, self.products - less.products)

    def choices(self) -> _Sums:
        """From sums of blocks to those of all but one, and of all."""
        return _Sums(*(_choices(one, self.rows) for one in (self.rows, self.sums, self.products)))

    def covariance(self) -> Exact:
        """Return (V, D, D)."""
        mean = self.sums / self.rows[:, None]
        return self.products / self.rows[:, None, None] - mean[:, :, None] * mean[:, None, :]


def _choices(blocks: Exact, rows: Exact) -> Exact:
    """Sums of blocks (BLOCKS, ...) to those of all but one, and of all, (V, ...); of all where one block is all."""
    whole = blocks.sum(axis=0)
    alone = rows == rows.sum()
    return np.stack([*(whole - (0.0 if only else block) for block, only in zip(blocks, alone, strict=True)), whole])


@dataclass(frozen=True)
class _Truths:
    """Sums over the rows of each block of what is to be learned; it is 0 where missing."""

    cross: Exact
    """Products with the numbers, (BLOCKS, D, K)."""
    totals: Exact
    """(BLOCKS, K)."""
    squares: Exact
    """(BLOCKS, K)."""

    @classmethod
    def of(cls, parts: list[Exact], cross: Exact) -> _Truths:
        totals = np.stack([part.sum(axis=0) for part in parts])
        return cls(cross, totals, np.stack([np.square(part).sum(axis=0) for part in parts]))


@dataclass(frozen=True)
class _Found:
    weights: Exact
    """(V, D, P, K)."""
    intercepts: Exact
    """(V, P, K)."""
    errors: Exact
    """Sum of squares over the blocks left out, (P, K)."""


def _fit_alike(sums: _Sums, truths: _Truths, inverse: _Eliminated | _Decomposed) -> _Found:
    """Fit truths that are known of the same rows."""
    choices = sums.choices()
    rows = choices.rows[:, None]
    mean, middle = choices.sums / rows, _choices(truths.totals, sums.rows) / rows
    right = _choices(truths.cross, sums.rows) / rows[:, None] - mean[:, :, None] * middle[:, None]
    weights = inverse(right)
    intercepts = middle[:, None] - np.einsum("vd,vdpk->vpk", mean, weights)
    # Of each block by the map without it: |y - Xw - i|² = y'y - 2 y'(Xw + i) + w'X'Xw + 2 i 1'Xw + n i².
    flat, i = weights[:-1], intercepts[:-1]
    turned = _times(sums.products, flat)
    errors = truths.squares[:, None] - 2 * i * truths.totals[:, None] + sums.rows[:, None, None] * i**2
    errors = errors + (flat * (turned - 2 * truths.cross[:, :, None])).sum(axis=1)
    errors = errors + 2 * i * np.einsum("vd,vdpk->vpk", sums.sums, flat)
    return _Found(weights, intercepts, errors.sum(axis=0))


class _Decomposed:
    """The inverse of covariance and penalty by a decomposition of its own.

    Args:
        covariance: (V, D, D).
        grid: Penalties, (P,).
    """

    def __init__(self, covariance: Exact, grid: Exact) -> None:
        values, self._vectors = np.linalg.eigh(covariance)
        self._scale = _scale(values, grid)

    def __call__(self, right: Exact) -> Exact:
        """Return (V, D, P, K) of right-hand sides (V, D, K)."""
        turned = self._vectors.transpose(0, 2, 1) @ right
        return _times(self._vectors, turned[:, :, None] * self._scale)


class _Eliminated:
    """The inverse of covariance and penalty from the decomposition of the shared numbers' part.

    With A = V diag(l) V' + p among the shared numbers, C between them and the own, and E + p among the own, the own are
    solved for first, by E + p - C'A⁻¹C, and then the shared.

    Args:
        values: l, (V, B).
        vectors: V, (V, B, B).
        covariance: Of all numbers, (V, D, D).
        grid: Penalties, (P,).
    """

    def __init__(self, values: Exact, vectors: Exact, covariance: Exact, grid: Exact) -> None:
        n_shared = values.shape[1]
        self._vectors, self._scale = vectors, _scale(values, grid)
        self._turned = vectors.transpose(0, 2, 1) @ covariance[:, :n_shared, n_shared:]  # (V, B, S)
        scaled = self._scale.transpose(0, 2, 1, 3) * self._turned[:, None]  # (V, P, B, S)
        own = covariance[:, None, n_shared:, n_shared:] + grid[:, None, None] * np.eye(scaled.shape[3])
        self._own = np.linalg.inv(own - self._turned.transpose(0, 2, 1)[:, None] @ scaled)  # (V, P, S, S)

    def __call__(self, right: Exact) -> Exact:
        """Return (V, D, P, K) of right-hand sides (V, D, K)."""
        n_shared = self._vectors.shape[1]
        shared = (self._vectors.transpose(0, 2, 1) @ right[:, :n_shared])[:, :, None] * self._scale
        left = right[:, n_shared:, None] - _times(self._turned.transpose(0, 2, 1), shared)
        own = (self._own @ left.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
        shared -= _times(self._turned, own) * self._scale
        return np.concatenate([_times(self._vectors, shared), own], axis=1)


def _scale(values: Exact, grid: Exact) -> Exact:
    """One over eigenvalue plus penalty, (V, D, P, 1); what rounding made negative is 0."""
    return np.asarray(1.0 / (np.maximum(values, 0.0)[:, :, None, None] + grid[:, None]))


def _times(matrices: Exact, columns: Exact) -> Exact:
    """Matrices (V, a, b) times columns (V, b, P, K)."""
    flat = np.ascontiguousarray(columns).reshape(*columns.shape[:2], -1)
    return np.asarray(matrices @ flat).reshape(len(matrices), -1, *columns.shape[2:])
