"""Gradient-boosted trees on lags (LightGBM), for all steps of the horizon directly.

`pooled` grows one model for all steps: a row is a window and a step, the number of the step among its features, and of
each window a few steps drawn at random, for neighbouring windows are nearly alike. `per-step` grows one model for each
step. Trees correct a start: by default what a ridge regression says, in training what it says of blocks of time that it
was not learned from, or the trees would meet better starts in training than ever after. They are told how far the value
at the origin is from that start: near steps hang on the difference, and trees are slow to learn one. What is left to
correct is divided by its spread at each step, so that far steps, which miss by more, do not drown near ones in a pooled
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sanmaru.errors import DataError
from sanmaru.files import write_json, write_text
from sanmaru.openmp import wait_passively
from sanmaru.tasks.forecasting.bands import Bands, learn_bands
from sanmaru.tasks.forecasting.config import RidgeConfig
from sanmaru.tasks.forecasting.estimator import BaseForecaster
from sanmaru.tasks.forecasting.features import Features
from sanmaru.tasks.forecasting.grow import Sample, grow, put_in_bins
from sanmaru.tasks.forecasting.naive import last_known
from sanmaru.tasks.forecasting.ridge import Ridge
from sanmaru.tasks.forecasting.rows import features_of, goal_of, known_share, thinned, together, typical_values
from sanmaru.tasks.forecasting.windows import Floats

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.forecasting.config import LightGBMForecastConfig
    from sanmaru.tasks.tabular.native import Forest

BLOCK = 512
"""Windows whose steps are predicted at once."""
HELD_OUT = 0.2
"""Share of the training windows, the latest, that tell errors where no rows are given to select by."""


class _Prepared:
    """Features, starts and truth of a windows table.

    Args:
        base: (n, B).
        steps: (n, horizon, S).
        truth: (n, horizon, targets).
        start: What the trees correct, the same shape.
        origin: For each target the column of `base` with its value at the origin, whose distance from the start is a
            feature; it is none where empty.
    """

    def __init__(self, base: Floats, steps: Floats, truth: Floats, start: Floats, origin: Sequence[int] = ()) -> None:
        self.base, self.steps, self.truth, self.start, self.origin = base, steps, truth, start, origin

    def spreads(self) -> Floats:
        """Standard deviation of what is left to correct, float32 (horizon, targets); 1 where nothing varies."""
        left = self.truth - self.start
        known = ~np.isnan(left)
        square = np.where(known, left, 0.0) ** 2
        found = np.sqrt(square.sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1))
        return np.where(found > 0, found, 1.0).astype(np.float32)

    def sample(
        self, target: int, windows: NDArray[np.int64], steps: NDArray[np.int64], pooled: bool, spreads: Floats
    ) -> Sample:
        """Return rows of (window, step) pairs whose target is known; steps count from 0."""
        left = self.truth[windows, steps, target] - self.start[windows, steps, target]
        wanted = left / spreads[steps, target]
        known = ~np.isnan(wanted)
        windows, steps = windows[known], steps[known]
        return Sample(self.matrix(target, windows, steps, pooled), wanted[known])

    def matrix(self, target: int, windows: NDArray[np.int64], steps: NDArray[np.int64], pooled: bool) -> Floats:
        """Return features float32 (rows, width) of (window, step) pairs."""
        start = self.start[windows, steps, target]
        parts = [self.base[windows], self.steps[windows, steps], start[:, None]]
        if self.origin:
            parts.append((self.base[windows, self.origin[target]] - start)[:, None])
        if pooled:
            parts.append((steps + 1).astype(np.float32)[:, None])
        return np.concatenate(parts, axis=1)


class Trees(BaseForecaster):
    """Boosted trees for each target: for the number, and for each quantile."""

    kind = "lightgbm"
    config: LightGBMForecastConfig

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train`. With `valid`, the number of trees is the one with the least loss there.

        With `refit`, as many trees are then grown on the windows of both. Without `valid`, all `trees` of the config
        are grown.

        Raises:
            DataError: when there are no windows, or a step of a target is never known.
        """
        wait_passively()  # before LightGBM brings its OpenMP
        given = valid if valid is not None and len(valid) else None
        both = together(train, given, self.train)
        self._ridge: Ridge | None = None
        self._bands: Bands | None = None
        self._origin: tuple[int, ...] = ()
        if self.config.start == "ridge":  # of the others it is the start itself, or nothing new
            names = Features(self.layout).base_names
            self._origin = tuple(names.index(target) for target in self.layout.targets)
        pooled = self.config.strategy == "pooled"
        per_window = min(self.config.steps_per_window, self.layout.horizon) if pooled else 1
        most = max(1, self.config.most_rows // per_window)
        refits = given is not None and self.config.refit and self.train.selection == "inner"
        held = given
        if held is None and self.config.bands == "errors":
            ordered = train.sort("origin")
            cut = int(len(ordered) * (1 - HELD_OUT))
            train, held = ordered[:cut], ordered[cut:]
            refits = True
        learned = self._prepare(thinned(train, most), context, learn=True)
        shown = None if held is None else self._prepare(thinned(held, most), context)
        chooses = shown if given is not None else None
        self._texts, rounds = self._grow_all(learned, chooses, context, None)
        if self.config.bands == "errors" and shown is not None and held is not None:
            self._open()
            points = self._correct(shown)[..., 0]
            self._bands = learn_bands(points, shown.truth, self.quantiles, self.layout.targets)
        rows = len(learned.truth)
        if refits and not context.late():
            learned = self._prepare(thinned(both, most), context, learn=True)
            self._texts, rounds = self._grow_all(learned, None, context, rounds)
            rows = len(learned.truth)
        self._open()
        self._details = {
            "windows": rows,
            "trees": rounds,
            "boosters": len(self._texts),
            "start": self.config.start,
            "strategy": self.config.strategy,
            "known_fraction": known_share(learned.truth, self.layout.targets),
        }

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n, horizon * targets * (1 + quantiles))."""
        out = np.empty((len(array), self.layout.horizon, len(self.layout.targets), 1 + len(self.quantiles)), np.float32)
        features = Features(self.layout)
        for first in range(0, len(array), BLOCK):
            windows = array[first : first + BLOCK]
            steps = [features.step(windows, step + 1) for step in range(self.layout.horizon)]
            start = self._start(windows)
            prepared = _Prepared(features.base(windows), np.stack(steps, axis=1), start, start, self._origin)
            found = self._correct(prepared)
            if self._bands is not None:
                found[..., 1:] = self._bands.around(found[..., 0])
            found[..., 1:].sort(axis=-1)
            out[first : first + BLOCK] = found
        return out.reshape(len(array), -1)

    def _prepare(self, table: pl.DataFrame, context: FitContext, learn: bool = False) -> _Prepared:
        """Make features and starts; with `learn`, learn from this table what the starts rest on."""
        base, steps, truth = features_of(self, Features(self.layout), table)
        if learn:
            self._typical = typical_values(truth, self.layout.targets)
        if learn and self.config.start == "ridge":
            self._ridge = Ridge(self.task, RidgeConfig(), self.train)
            start = self._ridge.learn(table, context)
        else:
            start = np.concatenate([self._start(windows) for windows, _ in self.batches(table)])
        prepared = _Prepared(base, steps, truth, start, self._origin)
        if learn:
            self._spreads = prepared.spreads()
        return prepared

    def _start(self, windows: Floats) -> Floats:
        """Return what the trees correct, float32 (n, horizon, targets)."""
        n_targets = len(self.layout.targets)
        if self.config.start == "ridge":
            assert self._ridge is not None
            return self._ridge.points(windows)
        start = np.zeros((len(windows), self.layout.horizon, n_targets), dtype=np.float32)
        if self.config.start == "last":
            last = last_known(self.layout.history(windows)[:, :, :n_targets])
            start += np.where(np.isnan(last), self._typical, last)[:, None, :]
        return start

    def _goals(self, metric: str) -> list[tuple[str, float | None]]:
        goal = {"squared": "regression", "absolute": "regression_l1"}[goal_of(self.config.objective, metric)]
        goals: list[tuple[str, float | None]] = [(goal, None)]
        return goals + [("quantile", level) for level in self.quantiles if self.config.bands == "objective"]

    def _grow_all(
        self, learned: _Prepared, chooses: _Prepared | None, context: FitContext, rounds: dict[str, int] | None
    ) -> tuple[dict[str, str], dict[str, int]]:
        """Return the text and the number of trees of each booster; `rounds`, where given, says how many to grow."""
        texts, kept = {}, {}
        pooled = self.config.strategy == "pooled"
        for target, target_name in enumerate(self.layout.targets):
            for part in range(1 if pooled else self.layout.horizon):
                train = self._sample(learned, target, part, pooled, context.seed)
                valid = None if chooses is None else self._sample(chooses, target, part, pooled, context.seed + 1)
                if not len(train):
                    raise DataError(
                        f"no training window has a value of {target_name!r} {part + 1} steps after its origin. Give "
                        "more rows, or a smaller forecast.horizon."
                    )
                chosen_by = valid if valid is not None and len(valid) else None
                rows = put_in_bins(train, chosen_by, self._parameters(context))
                for place, (objective, level) in enumerate(self._goals(context.metric.name)):
                    name = f"{target}-{place}" if pooled else f"{target}-{place}-{part + 1}"
                    what = target_name if level is None else f"{target_name}.q{100 * level:.10g}"
                    texts[name], kept[name] = grow(
                        rows,
                        {**self._parameters(context), **_objective(objective, level)},
                        rounds=self.config.trees if rounds is None else rounds[name],
                        stopping=self.train.early_stopping,
                        context=context,
                        what=what if pooled else f"{what}, step {part + 1}",
                    )
        return texts, kept

    def _sample(self, prepared: _Prepared, target: int, part: int, pooled: bool, seed: int) -> Sample:
        n, horizon = prepared.truth.shape[:2]
        if not pooled:
            return prepared.sample(target, np.arange(n), np.full(n, part), pooled, self._spreads)
        each = min(self.config.steps_per_window, horizon)
        drawn = np.argpartition(np.random.default_rng(seed).random((n, horizon)), each - 1, axis=1)[:, :each]
        return prepared.sample(target, np.repeat(np.arange(n), each), drawn.ravel(), pooled, self._spreads)

    def _parameters(self, context: FitContext) -> dict[str, Any]:
        config = self.config
        return {
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_rows_per_leaf,
            "feature_fraction": config.feature_fraction,
            "bagging_fraction": config.row_fraction,
            "bagging_freq": 1 if config.row_fraction < 1 else 0,
            "lambda_l2": config.l2,
            "seed": context.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": context.threads,
            "verbosity": -1,
        }

    def _correct(self, prepared: _Prepared) -> Floats:
        """Return float32 (n, horizon, targets, 1 + quantiles); quantiles as they are, or unset with bands of errors."""
        n, horizon, n_targets = prepared.start.shape
        pooled = self.config.strategy == "pooled"
        out = np.empty((n, horizon, n_targets, 1 + len(self.quantiles)), dtype=np.float32)
        windows, steps = np.repeat(np.arange(n), horizon), np.tile(np.arange(horizon), n)
        for target in range(n_targets):
            matrix = prepared.matrix(target, windows, steps, pooled).astype(np.float64)
            per_step = matrix.reshape(n, horizon, -1)
            for place in range(1 + len(self.quantiles) if self.config.bands == "objective" else 1):
                if pooled:
                    added = self._forests[f"{target}-{place}"].raw(matrix, self.threads).reshape(n, horizon)
                else:
                    names = [f"{target}-{place}-{step + 1}" for step in range(horizon)]
                    columns = [self._forests[one].raw(per_step[:, i], self.threads) for i, one in enumerate(names)]
                    added = np.concatenate(columns, axis=1)
                out[:, :, target, place] = prepared.start[:, :, target] + added * self._spreads[:, target]
        return out

    def _open(self) -> None:
        from sanmaru.tasks.tabular.native import load_forest

        features = Features(self.layout)
        beside = 1 + bool(self._origin) + (self.config.strategy == "pooled")  # start, its distance, number of the step
        width = len(features.base_names) + len(features.step_names) + beside
        self._forests: dict[str, Forest] = {name: load_forest(text, width) for name, text in self._texts.items()}

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write LightGBM's own text format, one file for each booster, and the ridge regression they start from."""
        for name, text in self._texts.items():
            write_text(folder / f"trees-{name}.txt", text)
        if self._ridge is not None:
            self._ridge.save(folder / "start")
        if self._bands is not None:
            write_json(folder / "bands.json", {name: one.tolist() for name, one in self._bands.arrays().items()})
        return {
            "boosters": list(self._texts),
            "typical": self._typical.tolist(),
            "spreads": self._spreads.tolist(),
            "origin": list(self._origin),
        }

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        from sanmaru.files import read_json

        self._texts = {name: (folder / f"trees-{name}.txt").read_text("utf-8") for name in content["boosters"]}
        self._typical = np.asarray(content["typical"], dtype=np.float32)
        self._spreads = np.asarray(content["spreads"], dtype=np.float32)
        self._origin = tuple(content.get("origin", ()))  # packages from before it have none
        self._ridge = Ridge.load(self.task, folder / "start") if self.config.start == "ridge" else None
        self._bands = None
        if self.config.bands == "errors":
            arrays = read_json(folder / "bands.json")
            self._bands = Bands.from_arrays({name: np.asarray(one, dtype=np.float32) for name, one in arrays.items()})
        self._open()


def _objective(objective: str, level: float | None) -> dict[str, Any]:
    """Return LightGBM's objective, and the metric that chooses the number of trees."""
    own = {} if level is None else {"alpha": level}
    metric = {"regression": "rmse", "regression_l1": "l1"}.get(objective, objective)
    return {"objective": objective, "metric": metric, **own}
