"""The undisturbed period of one column, and how far windows lie from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sanmaru.monitoring import distances
from sanmaru.monitoring.columns import Values, Watched
from sanmaru.monitoring.config import MonitorConfig
from sanmaru.monitoring.season import Season
from sanmaru.monitoring.windows import bounds, padded

_NUMERIC = {"ks": distances.ks, "wasserstein": distances.wasserstein, "psi": distances.psi}


@dataclass(frozen=True)
class Reference:
    """What is known of a column's undisturbed values.

    Attributes:
        season: Taken off; None for categories.
        values: float64 (n,), standardised and sorted; empty for categories.
        counts: int64 (n_categories,); empty for numbers.
        usual: Values in an ordinary window.
    """

    season: Season | None
    values: np.ndarray
    counts: np.ndarray
    usual: float

    @classmethod
    def fit(cls, one: Watched, parts: Sequence[Values], season: str, usual: float) -> Reference:
        """Learn from one or several stretches of time."""
        month, hour, values = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("month", "hour", "values")
        )
        if one.categories is not None:
            counts = distances.category_counts(values[None, :], len(one.categories))[0]
            return cls(None, np.empty(0), counts, usual)
        fitted = Season.fit(season, month, hour, values)
        known = np.isfinite(values)
        standard = fitted.standardise(month[known], hour[known], values[known])
        return cls(fitted, np.sort(standard), np.empty(0, dtype=np.int64), usual)

    def statistics(
        self, values: Values, at: np.ndarray, names: Sequence[str], config: MonitorConfig, shift: float = 0.0
    ) -> np.ndarray:
        """Return each statistic of each window, float64 (n_statistics, n_windows), NaN where too little is there.

        Args:
            values: In order of time.
            at: Ends of the windows.
            names: Of the statistics.
            config: Of the monitor.
            shift: Added to numbers first, in their own unit; for categories, the share of rows given to the last one.
        """
        windows = self.windows(values, at, config, shift)
        counts = np.isfinite(windows).sum(axis=1)
        if self.season is None:
            counted = distances.category_counts(windows, len(self.counts)).astype(np.float64)
            if shift:
                moved = counted * shift
                counted -= moved
                counted[:, -1] += moved.sum(axis=1)
            found = np.stack([distances.js(counted, self.counts) for _ in names])
        else:
            found = np.stack([_NUMERIC[name](windows, self.values) for name in names])
        return np.where(counts[None, :] >= max(1.0, config.fullness * self.usual), found, np.nan)

    def windows(self, values: Values, at: np.ndarray, config: MonitorConfig, shift: float = 0.0) -> np.ndarray:
        """Return the standardised values of each window (codes for categories), float64 (n_windows, longest)."""
        shown = values.values
        if self.season is not None:
            shown = self.season.standardise(values.month, values.hour, shown + shift)
        return padded(shown, *bounds(values, at, config))


def statistics_of(one: Watched, config: MonitorConfig) -> tuple[str, ...]:
    """Names of the statistics that a column is watched with."""
    return ("js",) if one.categories is not None else config.statistics
