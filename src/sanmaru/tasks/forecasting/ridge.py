"""Ridge regression on lags: one linear map for each step and target, in closed form.

Numbers are standardised; a missing one stands at the mean of its column, and a mark says that it was missing. The
penalty of each step and target is that of the least squared error on blocks of time left out, and so is whether the
value is learned or its change since the last known one: a penalty draws the first towards the mean and the second
towards persistence, which is better for near steps. Quantiles come from the errors on those blocks (`linear_map`,
`bands`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sanmaru.errors import DataError
from sanmaru.files import whole
from sanmaru.tasks.forecasting.bands import Bands, learn_bands
from sanmaru.tasks.forecasting.estimator import BaseForecaster
from sanmaru.tasks.forecasting.features import Features
from sanmaru.tasks.forecasting.linear_map import BLOCKS, Maps
from sanmaru.tasks.forecasting.naive import last_known
from sanmaru.tasks.forecasting.rows import features_of, known_share, thinned, together, typical_values
from sanmaru.tasks.forecasting.windows import Floats

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.config import RidgeConfig


@dataclass(frozen=True, kw_only=True)
class Filling:
    """How a block of numbers is standardised and its gaps are filled and marked."""

    mean: NDArray[np.float32]
    """Of each column where it is there, (B,)."""
    spread: NDArray[np.float32]
    """Standard deviation, 1 for a constant column, (B,)."""
    marked: NDArray[np.int64]
    """Columns that had gaps in training."""

    @property
    def width(self) -> int:
        """Columns that come out."""
        return len(self.mean) + len(self.marked)

    def __call__(self, block: Floats) -> Floats:
        """Return float32 (n, B + marks) without NaN."""
        gaps = np.isnan(block)
        filled = np.where(gaps, 0.0, (block - self.mean) / self.spread)
        return np.concatenate([filled, gaps[:, self.marked]], axis=1).astype(np.float32)


def learn_filling(block: Floats) -> Filling:
    """Learn means, spreads and gaps of the columns of (n, B). Equal marks of several columns stand once."""
    there = ~np.isnan(block)
    counts = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, block, 0.0).sum(axis=0, dtype=np.float64) / counts
    square = np.where(there, (block - mean) ** 2, 0.0).sum(axis=0, dtype=np.float64) / counts
    spread = np.sqrt(square)
    gaps = np.flatnonzero(~there.all(axis=0) & there.any(axis=0))
    first: dict[bytes, int] = {}
    for place, marks in enumerate(np.ascontiguousarray(np.packbits(there[:, gaps], axis=0).T)):
        first.setdefault(marks.tobytes(), place)
    return Filling(
        mean=mean.astype(np.float32),
        spread=np.where(spread > 1e-6 * np.maximum(1.0, np.abs(mean)), spread, 1.0).astype(np.float32),
        marked=gaps[list(first.values())],
    )


class Ridge(BaseForecaster):
    """A linear map for each step and target."""

    kind = "ridge"
    selects = False
    config: RidgeConfig

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train` and, where the project takes them from the fold's own rows, from `valid` too.

        Raises:
            DataError: when there are no windows, or a step of a target is never known.
        """
        table = together(train, valid, self.train)
        self.learn(thinned(table, self.config.most_windows), context)
        self._details["windows_left_out"] = len(table) - self._details["windows"]

    def learn(self, rows: pl.DataFrame, context: FitContext | None = None) -> Floats:
        """Learn from all these windows.

        Returns:
            What is said of each window by maps that were learned without its block of time, (n, horizon, targets).

        Raises:
            DataError: when a step of a target is never known.
        """
        from threadpoolctl import threadpool_limits

        features = Features(self.layout, dense=True)
        base, steps, truth = features_of(self, features, rows)
        self._typical = typical_values(truth, self.layout.targets)
        self._require_each_step(truth)
        last = np.concatenate([self._last(windows) for windows, _ in self.batches(rows)])
        horizon, n_targets = truth.shape[1:]
        self._base, self._steps = learn_filling(base), []
        predicted = np.empty_like(truth)
        from_last = np.zeros((horizon, n_targets), dtype=bool)
        penalties = np.empty((horizon, n_targets))
        weights, intercepts = [], []
        penalty = None if self.config.penalty == "auto" else self.config.penalty
        # Threads would wait for each other in thousands of small products, and burn the cores that they wait on.
        with threadpool_limits(limits=1, user_api="blas"):
            maps = Maps(self._base(base), time_blocks(rows))
            for step in range(horizon):
                filling = learn_filling(steps[:, step])
                self._steps.append(filling)
                came = truth[:, step]
                found = maps.fit(filling(steps[:, step]), np.concatenate([came, came - last], axis=1), penalty)
                chosen = []
                for target, (value, change) in enumerate(zip(found[:n_targets], found[n_targets:], strict=True)):
                    from_last[step, target] = change.error < value.error
                    one = change if from_last[step, target] else value
                    predicted[:, step, target] = one.held_out + from_last[step, target] * last[:, target]
                    penalties[step, target] = one.penalty
                    chosen.append(one)
                weights.append(np.stack([one.weights for one in chosen], axis=1))
                intercepts.append([one.intercept for one in chosen])
                if context is not None:
                    context.progress(step + 1, horizon, "step")
        self._weights = [one.astype(np.float32) for one in weights]
        self._intercepts = np.asarray(intercepts, dtype=np.float32)
        self._from_last = from_last
        self._bands = learn_bands(predicted, truth, self.quantiles, self.layout.targets)
        self._details = {
            "windows": len(rows),
            "parameters": int(sum(one.size for one in self._weights) + self._intercepts.size),
            "penalty": penalties.tolist(),
            "from_last_value": from_last.tolist(),
            "filled_fraction": float(np.isnan(base).mean()),
            "known_fraction": known_share(truth, self.layout.targets),
        }
        return predicted

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n, horizon * targets * (1 + quantiles))."""
        points = self.points(array)
        outputs = np.concatenate([points[..., None], self._bands.around(points)], axis=-1)
        return outputs.reshape(len(array), -1)

    def points(self, array: Floats) -> Floats:
        """Return the numbers alone, (n, horizon, targets)."""
        features = Features(self.layout, dense=True)
        filled = self._base(features.base(array))
        points = np.empty((len(array), self.layout.horizon, len(self.layout.targets)), dtype=np.float32)
        n_base = filled.shape[1]
        for step, (filling, weights) in enumerate(zip(self._steps, self._weights, strict=True)):
            own = filling(features.step(array, step + 1))
            points[:, step] = filled @ weights[:n_base] + own @ weights[n_base:] + self._intercepts[step]
        return np.asarray(points + self._from_last * self._last(array)[:, None, :], dtype=np.float32)

    def _require_each_step(self, truth: Floats) -> None:
        """Check that every step of every target is known after some window."""
        for step, target in np.argwhere(np.isnan(truth).all(axis=0)):
            raise DataError(
                f"no training window has a value of {self.layout.targets[target]!r} {step + 1} steps after its origin. "
                "Give more rows, or a smaller forecast.horizon."
            )

    def _last(self, windows: Floats) -> Floats:
        """The last known value of each target, float32 (n, targets); a typical one where a window has none."""
        last = last_known(self.layout.history(windows)[:, :, : len(self.layout.targets)])
        return np.asarray(np.where(np.isnan(last), self._typical, last), dtype=np.float32)

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write `ridge.npz`, plain arrays."""
        arrays: dict[str, Any] = {"intercepts": self._intercepts, **self._bands.arrays()}
        arrays |= {"from_last": self._from_last, "typical": self._typical}
        for name, filling in (("base", self._base), *((f"step{i}", one) for i, one in enumerate(self._steps))):
            arrays |= {f"{name}.mean": filling.mean, f"{name}.spread": filling.spread, f"{name}.marked": filling.marked}
        arrays |= {f"weights{i}": one for i, one in enumerate(self._weights)}
        with whole(folder / "ridge.npz") as beside, beside.open("wb") as handle:
            np.savez(handle, **arrays)
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        del content
        with np.load(folder / "ridge.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}

        def filling(name: str) -> Filling:
            return Filling(**{part: arrays[f"{name}.{part}"] for part in ("mean", "spread", "marked")})

        self._base = filling("base")
        self._steps = [filling(f"step{i}") for i in range(self.layout.horizon)]
        self._weights = [arrays[f"weights{i}"] for i in range(self.layout.horizon)]
        self._intercepts = arrays["intercepts"]
        self._from_last, self._typical = arrays["from_last"], arrays["typical"]
        self._bands = Bands.from_arrays(arrays)


def time_blocks(table: pl.DataFrame) -> NDArray[np.int64]:
    """Return the block of each window, (n,), 0 ... BLOCKS - 1: equally many windows, all series of a time together."""
    order = table["origin"].rank("dense").to_numpy().astype(np.int64) - 1
    return np.asarray(order * BLOCKS // (int(order.max()) + 1), dtype=np.int64)
