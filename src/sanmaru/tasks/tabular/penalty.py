"""Ridge and multinomial logistic regression on a sparse design, and the choice of their L2 penalty.

The penalty is relative to the number of rows: a fit minimises mean loss + penalty / 2 · |weights|², with the loss half
the squared error or the log loss; intercepts are free. In scikit-learn's words, Ridge(alpha=penalty · n) and
LogisticRegression(C=1 / (penalty · n)).

`auto` takes the best of a grid by cross-validation on the training rows it is given. The parts are drawn at random;
where rows have groups, no group stands on both sides, or the penalty would be chosen for
rows that are better known than new ones.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

RIDGE_GRID = tuple(float(10.0**power) for power in np.arange(-6, 2.5, 0.5))
WIDE_GRID = tuple(float(10.0**power) for power in range(-6, 2))
LOGISTIC_GRID = tuple(float(10.0**power) for power in range(-6, 1))
RIDGE_PARTS = 5
WIDE_PARTS = 3
LOGISTIC_PARTS = 3
EXACT_WIDTH = 500
"""Columns up to which the normal equations of ridge regression are solved as they stand."""
MOST_ROWS = 10_000
"""Rows on which the penalty of a logistic regression is chosen."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A fitted linear model: scores = design @ weights + intercept."""

    weights: np.ndarray
    """float64 (width, n_scores)."""
    intercept: np.ndarray
    """float64 (n_scores,)."""
    converged: bool = True

    def beside(self, other: Weights) -> Weights:
        """Return a model that gives the scores of both."""
        return Weights(
            weights=np.concatenate([self.weights, other.weights], axis=1),
            intercept=np.concatenate([self.intercept, other.intercept]),
            converged=self.converged and other.converged,
        )


def ridge(design: sparse.csr_matrix, target: np.ndarray, penalty: float) -> Weights:
    """Fit ridge regression, exactly by its normal equations or, where they are wide, by conjugate gradients.

    Args:
        design: (n, width).
        target: float64 (n,).
        penalty: Relative to the number of rows.
    """
    if design.shape[1] <= EXACT_WIDTH:
        return _Moments.of(design, target).solve((penalty,))[0]
    from sklearn.linear_model import Ridge

    shift = float(target.mean())
    model = Ridge(alpha=penalty * len(target), solver="sparse_cg", tol=1e-5, max_iter=1000)
    model.fit(design, target - shift)
    return Weights(weights=model.coef_[:, None], intercept=np.array([float(model.intercept_) + shift]))


def choose_ridge(
    design: sparse.csr_matrix, target: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> tuple[float, dict[float, float]]:
    """Return the penalty with the least squared error over parts of the rows, and each penalty's RMSE."""
    if design.shape[1] > EXACT_WIDTH:
        return _choose_wide(design, target, seed, groups)
    parts = draw_parts(len(target), RIDGE_PARTS, seed, groups)
    whole = _Moments.of(design, target)
    errors = np.zeros(len(RIDGE_GRID))
    for part in range(RIDGE_PARTS):
        held = np.flatnonzero(parts == part)
        if not len(held) or len(held) == len(target):  # too few groups to fill every part
            continue
        rest = whole - _Moments.of(design[held], target[held], shift=whole.shift)
        for place, fitted in enumerate(rest.solve(RIDGE_GRID)):
            residual = target[held] - (design[held] @ fitted.weights + fitted.intercept)[:, 0]
            errors[place] += float(residual @ residual)
    rmse = np.sqrt(errors / len(target))
    return RIDGE_GRID[int(rmse.argmin())], dict(zip(RIDGE_GRID, rmse.tolist(), strict=True))


def _choose_wide(
    design: sparse.csr_matrix, target: np.ndarray, seed: int, groups: np.ndarray | None
) -> tuple[float, dict[float, float]]:
    """As `choose_ridge`, with fewer and iterative fits."""
    parts = draw_parts(len(target), WIDE_PARTS, seed, groups)
    errors = np.zeros(len(WIDE_GRID))
    for part in range(WIDE_PARTS):
        held, kept = parts == part, parts != part
        if not held.any() or not kept.any():
            continue
        for place, penalty in enumerate(WIDE_GRID):
            fitted = ridge(design[kept], target[kept], penalty)
            residual = target[held] - (design[held] @ fitted.weights + fitted.intercept)[:, 0]
            errors[place] += float(residual @ residual)
    rmse = np.sqrt(errors / len(target))
    return WIDE_GRID[int(rmse.argmin())], dict(zip(WIDE_GRID, rmse.tolist(), strict=True))


def logistic(
    design: sparse.csr_matrix, codes: np.ndarray, n_classes: int, penalty: float, sample_weight: np.ndarray | None
) -> Weights:
    """Fit (multinomial) logistic regression by scikit-learn's L-BFGS.

    Args:
        design: (n, width).
        codes: Class codes int64 (n,); classes may be absent.
        n_classes: Two give one score, the log odds of class 1; k > 2 give k.
        penalty: Relative to the number of rows.
        sample_weight: Non-negative, mean 1, or None.
    """
    counts = np.bincount(codes, minlength=n_classes)
    present = np.flatnonzero(counts)
    if len(present) < 2:  # nothing to tell apart: the smoothed frequencies are all there is to say
        logs = np.log(counts + 0.5)
        intercept = logs[1:] - logs[0] if n_classes == 2 else logs - logs.mean()
        return Weights(weights=np.zeros((design.shape[1], len(intercept))), intercept=intercept)
    model = _model(penalty, len(codes))
    converged = _fit(model, design, codes, sample_weight)
    if n_classes == 2:
        return Weights(weights=model.coef_.T.copy(), intercept=model.intercept_.copy(), converged=converged)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn gives one score for two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights = np.zeros((design.shape[1], n_classes))
    # A class that no row of the fold has stays possible, as rare as half a row of these.
    intercept = np.full(n_classes, float(intercepts.min()) - np.log(2 * len(codes)))
    weights[:, present], intercept[present] = coefficients.T, intercepts
    return Weights(weights=weights, intercept=intercept, converged=converged)


def choose_logistic(
    design: sparse.csr_matrix,
    codes: np.ndarray,
    n_classes: int,
    sample_weight: np.ndarray | None,
    *,
    seed: int,
    groups: np.ndarray | None = None,
) -> tuple[float, dict[float, float]]:
    """Return the penalty with the least log loss over three parts of at most 10,000 rows, and each one's loss."""
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(codes))[:MOST_ROWS])
    design, codes = design[chosen], codes[chosen]
    weight = sample_weight[chosen] if sample_weight is not None else None
    parts = draw_parts(len(codes), LOGISTIC_PARTS, seed, groups[chosen] if groups is not None else None)
    losses = np.zeros(len(LOGISTIC_GRID))
    for part in range(LOGISTIC_PARTS):
        held, kept = parts == part, parts != part
        if not held.any() or not kept.any():
            continue
        kept_weight = weight[kept] if weight is not None else None
        held_weight = weight[held] if weight is not None else np.ones(int(held.sum()))
        for place, penalty in enumerate(LOGISTIC_GRID):
            fitted = logistic(design[kept], codes[kept], n_classes, penalty, kept_weight)
            logs = _log_probabilities(design[held] @ fitted.weights + fitted.intercept)
            losses[place] -= float(logs[np.arange(len(logs)), codes[held]] @ held_weight)
    losses /= len(codes)
    return LOGISTIC_GRID[int(losses.argmin())], dict(zip(LOGISTIC_GRID, losses.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """Sums over rows from which ridge regression follows; sums of parts subtract."""

    n: int
    rows: np.ndarray
    """Sum of the design's rows, (width,)."""
    squares: np.ndarray
    """designᵀ design, (width, width)."""
    target: float
    products: np.ndarray
    """designᵀ target, (width,)."""
    shift: float
    """Taken off the target first: sums of squares of far-off numbers would cancel."""

    @classmethod
    def of(cls, design: sparse.csr_matrix, target: np.ndarray, shift: float | None = None) -> _Moments:
        shift = float(target.mean()) if shift is None else shift
        moved = target - shift
        return cls(
            n=len(target),
            rows=np.asarray(design.sum(axis=0)).ravel(),
            squares=(design.T @ design).toarray(),
            target=float(moved.sum()),
            products=design.T @ moved,
            shift=shift,
        )

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(
            n=self.n - other.n,
            rows=self.rows - other.rows,
            squares=self.squares - other.squares,
            target=self.target - other.target,
            products=self.products - other.products,
            shift=self.shift,
        )

    def solve(self, penalties: tuple[float, ...]) -> list[Weights]:
        """Solve for several penalties with one eigendecomposition."""
        n = max(self.n, 1)
        center, mean = self.rows / n, self.target / n
        values, vectors = np.linalg.eigh(self.squares / n - np.outer(center, center))
        values = np.maximum(values, 0.0)
        turned = vectors.T @ (self.products / n - center * mean)
        out = []
        for penalty in penalties:
            weights = vectors @ (turned / (values + penalty))
            out.append(Weights(weights=weights[:, None], intercept=np.array([mean - center @ weights + self.shift])))
        return out


def _model(penalty: float, n: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0 / (penalty * n), max_iter=1000, tol=1e-4)


def _fit(model: Any, design: sparse.csr_matrix, codes: np.ndarray, sample_weight: np.ndarray | None) -> bool:
    """Fit, and tell whether the solver converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(design, codes, sample_weight=sample_weight)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def draw_parts(n: int, parts: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Give each row a part at random, int64 (n,), sizes as equal as can be; rows of one group get one part.

    Args:
        n: Rows.
        parts: How many.
        seed: Of the draw.
        groups: int64 (n,). With fewer groups than parts some parts stay empty.
    """
    generator = np.random.default_rng(seed)
    if groups is None:
        return generator.permutation(n) % parts
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sizes, part_of = np.zeros(parts), np.empty(len(counts), dtype=np.int64)
    # The largest groups first, each to the part that is smallest so far.
    for group in np.lexsort((generator.random(len(counts)), -counts)):
        part_of[group] = sizes.argmin()
        sizes[part_of[group]] += counts[group]
    return part_of[codes]


def _log_probabilities(scores: np.ndarray) -> np.ndarray:
    """Log softmax of scores (n, k), or of (0, score) for one score."""
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
