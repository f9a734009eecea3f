"""Windows of time, aligned to the clock so that a later look cuts the same ones."""

from __future__ import annotations

import numpy as np

from sanmaru.monitoring.columns import HOUR_US, Values
from sanmaru.monitoring.config import MonitorConfig, hours


def window_us(config: MonitorConfig) -> int:
    """Length of a window in microseconds."""
    return hours(config.window) * HOUR_US


def ends(first: int, last: int, config: MonitorConfig) -> np.ndarray:
    """Return the ends of all windows that lie wholly between two times, the last value included.

    Args:
        first: Time of the first value, in microseconds since 1970 UTC.
        last: Time of the last value.
        config: Says how long windows are and how far apart.

    Returns:
        int64 (n_windows,), multiples of the step. A window holds `end - window <= time < end`, and a last value
        up to an hour before an end completes it, as hourly data has none at the end itself.
    """
    step = hours(config.step) * HOUR_US
    start = -(-(first + window_us(config)) // step) * step
    stop = (last + HOUR_US) // step * step
    return np.arange(start, stop + 1, step, dtype=np.int64)


def cut(values: Values, at: np.ndarray, config: MonitorConfig) -> np.ndarray:
    """Return the values of each window, float64 (n_windows, longest), NaN where there is none.

    Args:
        values: In order of time.
        at: Ends of windows.
        config: Says how long they are.
    """
    return padded(values.values, *bounds(values, at, config))


def bounds(values: Values, at: np.ndarray, config: MonitorConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the first place in each window and the first behind it, int64 (n_windows,) each."""
    return np.searchsorted(values.at, at - window_us(config), "left"), np.searchsorted(values.at, at, "left")


def padded(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Gather stretches of a vector into rows, padded with NaN, float64 (n, longest)."""
    width = int((stop - start).max(initial=1)) or 1
    place = start[:, None] + np.arange(width)[None, :]
    inside = place < stop[:, None]
    if not len(values):
        return np.full(place.shape, np.nan)
    return np.asarray(np.where(inside, values[np.minimum(place, len(values) - 1)], np.nan))


def held(windows: np.ndarray, after: int) -> np.ndarray:
    """Return the least of each value and the `after - 1` before it along the last axis; NaN counts as lowest.

    An alarm that needs `after` consecutive windows beyond a threshold is raised where this passes it.
    """
    found = np.nan_to_num(windows, nan=-np.inf)
    lowest = found.copy()
    for back in range(1, after):
        lowest[..., back:] = np.minimum(lowest[..., back:], found[..., :-back])
        lowest[..., :back] = -np.inf
    return np.asarray(lowest)
