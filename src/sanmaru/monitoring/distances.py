"""How far windows lie from a reference: Kolmogorov-Smirnov, Wasserstein, PSI, Jensen-Shannon, many windows at once.

Windows are rows of a matrix, padded with NaN, so that a thousand of them cost one sort. An empty window is NaN.
"""

from __future__ import annotations

import numpy as np

PSI_BINS = 10
"""Tenths of the reference, as in credit scoring where the index comes from."""
_FLOOR = 1e-4
"""Smallest share of a bin, so that an empty one does not make the index infinite."""


def ks(windows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the two-sample Kolmogorov-Smirnov statistic of each window, in [0, 1].

    Args:
        windows: float64 (n_windows, width), NaN where there is no value.
        reference: float64 (n,), sorted, without NaN.

    Returns:
        float64 (n_windows,).
    """
    rows = np.sort(windows, axis=1)
    counts = np.isfinite(rows).sum(axis=1, keepdims=True)
    inside = np.isfinite(rows)
    flat = np.where(inside, rows, reference[-1])
    right = np.searchsorted(reference, flat, "right") / len(reference)
    left = np.searchsorted(reference, flat, "left") / len(reference)
    # Between two values of a window its own distribution stands still, so the largest gap lies at one of them:
    # after it (all of its ties counted) or just before it (none of them).
    place = np.arange(rows.shape[1])[None, :]
    first = np.ones_like(inside)
    first[:, 1:] = flat[:, 1:] != flat[:, :-1]
    before = np.maximum.accumulate(np.where(first, place, 0), axis=1)
    last = np.ones_like(inside)
    last[:, :-1] = ~(inside[:, 1:] & ~first[:, 1:])
    after = np.minimum.accumulate(np.where(last, place, rows.shape[1])[:, ::-1], axis=1)[:, ::-1] + 1
    size = np.maximum(counts, 1)
    gaps = np.maximum(np.abs(after / size - right), np.abs(before / size - left))
    found = np.where(inside, gaps, 0.0).max(axis=1)
    return np.asarray(np.where(counts[:, 0] > 0, found, np.nan))


def wasserstein(windows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the first Wasserstein distance of each window, in the values' own unit.

    It is the area between the two quantile functions. The window's is a staircase; the area below the reference's is a
    running sum, so that each stair needs two look-ups instead of a merge with all of the reference.

    Args:
        windows: float64 (n_windows, width), NaN where there is no value.
        reference: float64 (n,), sorted, without NaN.

    Returns:
        float64 (n_windows,).
    """
    rows = np.sort(windows, axis=1)
    counts = np.isfinite(rows).sum(axis=1, keepdims=True)
    inside = np.isfinite(rows)
    stairs = np.where(inside, rows, 0.0)
    levels = np.linspace(0.0, 1.0, len(reference) + 1)
    area = np.concatenate([[0.0], np.cumsum(reference) / len(reference)])

    def below(level: np.ndarray) -> np.ndarray:
        return np.asarray(np.interp(level, levels, area))

    place = np.arange(rows.shape[1])[None, :] / np.maximum(counts, 1)
    low, high = np.minimum(place, 1.0), np.minimum(place + 1 / np.maximum(counts, 1), 1.0)
    # Where the reference's quantile function passes the stair's height.
    cross = np.clip(np.searchsorted(reference, stairs, "right") / len(reference), low, high)
    under = stairs * (cross - low) - (below(cross) - below(low))
    over = (below(high) - below(cross)) - stairs * (high - cross)
    found = np.where(inside, under + over, 0.0).sum(axis=1)
    return np.asarray(np.where(counts[:, 0] > 0, np.maximum(found, 0.0), np.nan))


def psi(windows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the population stability index of each window over tenths of the reference; 0 is no difference.

    Args:
        windows: float64 (n_windows, width), NaN where there is no value.
        reference: float64 (n,), sorted, without NaN.

    Returns:
        float64 (n_windows,).
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    expected = np.diff(np.concatenate([[0], np.searchsorted(reference, edges, "right"), [len(reference)]]))
    inside = np.isfinite(windows)
    bins = np.searchsorted(edges, np.where(inside, windows, 0.0), "left")
    counts = np.stack([((bins == one) & inside).sum(axis=1) for one in range(len(edges) + 1)], axis=1)
    return _index(counts, expected)


def category_counts(windows: np.ndarray, n_categories: int) -> np.ndarray:
    """Count the categories of each window.

    Args:
        windows: float64 (n_windows, width) of codes below `n_categories`, NaN where there is none.
        n_categories: Their number.

    Returns:
        int64 (n_windows, n_categories).
    """
    return np.stack([(windows == code).sum(axis=1) for code in range(n_categories)], axis=1)


def js(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon distance of each row of counts, in [0, 1]: root of the divergence in bits.

    Args:
        counts: (n_windows, n_categories).
        expected: (n_categories,), counts or shares of the reference.

    Returns:
        float64 (n_windows,), NaN for a row without counts.
    """
    total = counts.sum(axis=1, keepdims=True)
    p = counts / np.maximum(total, 1)
    q = (expected / expected.sum())[None, :]
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(p / middle), 0.0).sum(axis=1)
        right = np.where(q > 0, q * np.log2(q / middle), 0.0).sum(axis=1)
    found = np.sqrt(np.clip((left + right) / 2, 0.0, 1.0))
    return np.asarray(np.where(total[:, 0] > 0, found, np.nan))


def _index(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1, keepdims=True)
    p = np.maximum(counts / np.maximum(total, 1), _FLOOR)
    q = np.maximum(expected / expected.sum(), _FLOOR)[None, :]
    return np.asarray(np.where(total[:, 0] > 0, ((p - q) * np.log(p / q)).sum(axis=1), np.nan))
