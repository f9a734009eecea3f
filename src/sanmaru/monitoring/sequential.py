"""Detectors that follow a stream value by value, many streams at once.

A detector holds one state per stream in arrays, so that hundreds of resampled years can be followed together when its
threshold is calibrated; watching real data is the case of one stream. Each gives a statistic, raises an alarm where it
passes the threshold, and begins anew there. A missing value (NaN) changes nothing.
"""

from __future__ import annotations

import abc

import numpy as np


class BaseDetector(abc.ABC):
    """A detector over `n` streams.

    Attributes:
        threshold: What the statistic must pass; higher alarms less often.
        statistic: float64 (n,), after the last update, before any reset.
    """

    def __init__(self, n: int, threshold: float) -> None:
        self.n, self.threshold = n, threshold
        self.statistic = np.zeros(n)

    @abc.abstractmethod
    def update(self, values: np.ndarray) -> np.ndarray:
        """Take one value per stream, float64 (n,), and return where an alarm is raised, bool (n,)."""


class PageHinkley(BaseDetector):
    """Sums of deviations from the mean, up and down (Page, 1954; Hinkley, 1971).

    With m the running mean, U = sum(x - m - tolerance) less its lowest value so far, and its mirror image; the
    statistic is the larger one. The mean may begin with that of a reference, 0 for standardised values, which counts
    for `prior` values: without it a stream that is off from its first value is never found.
    """

    def __init__(self, n: int, threshold: float, tolerance: float = 0.1, prior: float = 0.0) -> None:
        super().__init__(n, threshold)
        self.tolerance, self.prior = tolerance, prior
        self.count, self.total = np.full(n, prior), np.zeros(n)
        self.up, self.down = np.zeros(n), np.zeros(n)

    def update(self, values: np.ndarray) -> np.ndarray:
        """Take one value per stream."""
        known = np.isfinite(values)
        x = np.where(known, values, 0.0)
        self.count = self.count + known
        self.total = self.total + x
        away = np.where(known, x - self.total / np.maximum(self.count, 1), 0.0)
        # A sum less its lowest value so far is a sum that is held at 0 from below.
        self.up = np.where(known, np.maximum(self.up + away - self.tolerance, 0.0), self.up)
        self.down = np.where(known, np.maximum(self.down - away - self.tolerance, 0.0), self.down)
        self.statistic = np.maximum(self.up, self.down)
        alarm = self.statistic > self.threshold
        self.count = np.where(alarm, self.prior, self.count)
        for state in (self.total, self.up, self.down):
            state[alarm] = 0.0
        return alarm


class Ddm(BaseDetector):
    """Rate of errors against its own lowest (Gama and others, 2004), for values 0 and 1.

    With p the rate so far and s = sqrt(p (1 - p) / i), the statistic is (p + s - p_min) / s_min, where p_min and s_min
    are those of the lowest p + s; 3 is the paper's threshold.
    """

    least = 30

    def __init__(self, n: int, threshold: float = 3.0) -> None:
        super().__init__(n, threshold)
        self.count, self.wrong = np.zeros(n), np.zeros(n)
        self.p_min, self.s_min = np.full(n, np.inf), np.full(n, np.inf)

    def update(self, values: np.ndarray) -> np.ndarray:
        """Take one value per stream."""
        known = np.isfinite(values)
        self.count += known
        self.wrong += np.where(known, values, 0.0)
        size = np.maximum(self.count, 1)
        p = self.wrong / size
        s = np.sqrt(p * (1 - p) / size)
        ready = known & (self.count >= self.least)
        lower = ready & (p + s <= self.p_min + self.s_min) & (s > 0)
        self.p_min, self.s_min = np.where(lower, p, self.p_min), np.where(lower, s, self.s_min)
        judged = ready & np.isfinite(self.s_min)
        away = p + s - np.where(judged, self.p_min, 0.0)
        self.statistic = np.where(judged, away / np.where(judged, self.s_min, 1.0), 0.0)
        alarm = self.statistic > self.threshold
        for state, start in ((self.count, 0.0), (self.wrong, 0.0), (self.p_min, np.inf), (self.s_min, np.inf)):
            state[alarm] = start
        return np.asarray(alarm)


class Eddm(BaseDetector):
    """Distances between errors against their own largest (Baena-García and others, 2006), for values 0 and 1.

    With p the mean and s the standard deviation of the distances so far, the statistic is 1 - (p + 2 s) / max(p + 2 s);
    0.1 is the paper's threshold.
    """

    least = 30

    def __init__(self, n: int, threshold: float = 0.1) -> None:
        super().__init__(n, threshold)
        self.since, self.errors = np.zeros(n), np.zeros(n)
        self.mean, self.square, self.most = np.zeros(n), np.zeros(n), np.zeros(n)

    def update(self, values: np.ndarray) -> np.ndarray:
        """Take one value per stream."""
        known = np.isfinite(values)
        self.since += known
        wrong = known & (values > 0.5)
        self.errors += wrong
        away = self.since - self.mean
        self.mean = np.where(wrong, self.mean + away / np.maximum(self.errors, 1), self.mean)
        self.square = np.where(wrong, self.square + away * (self.since - self.mean), self.square)
        self.since[wrong] = 0.0
        reach = self.mean + 2 * np.sqrt(self.square / np.maximum(self.errors, 1))
        ready = wrong & (self.errors >= self.least)
        self.most = np.where(ready, np.maximum(self.most, reach), self.most)
        found = 1 - reach / np.where(self.most > 0, self.most, np.inf)
        self.statistic = np.where(ready & (self.most > 0), found, self.statistic)
        alarm = ready & (self.statistic > self.threshold)
        for state in (self.since, self.errors, self.mean, self.square, self.most):
            state[alarm] = 0.0
        return np.asarray(alarm)
