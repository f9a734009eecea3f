"""Gradient-boosted trees by LightGBM.

Ke et al., "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 2017. Categories are split natively
(sorted by their gradient statistics), missing values have their own direction at every split.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.files import read_json, write_json, write_text
from sanmaru.tasks.tabular.classes import balanced_weights
from sanmaru.tasks.tabular.config import LightGBMConfig
from sanmaru.tasks.tabular.encode import Encoder
from sanmaru.tasks.tabular.native import Forest, load_forest

if TYPE_CHECKING:
    from sanmaru.metrics.base import Metric
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import EarlyStoppingConfig

TREES_PER_EPOCH = 20
"""Patience is counted in epochs in the project file; for trees, one epoch is twenty rounds of boosting."""
_LOG_EVERY = 10
"""Rounds between two points of the learning curve of the held rows."""
_TRAIN_EVERY = 50
"""Rounds between two points of the training rows' curve, which costs a pass over all of them."""

# Metrics that LightGBM computes itself, on all threads; the others go through the house's own functions.
_NATIVE = {
    ("rmse", "regression"): "rmse",
    ("mae", "regression"): "l1",
    ("roc_auc", "binary"): "auc",
    ("log_loss", "binary"): "binary_logloss",
    ("log_loss", "multiclass"): "multi_logloss",
}


@dataclass
class _Best:
    """The round with the best value of the selecting metric so far."""

    rounds: int = 0
    value: float | None = None
    waited: int = 0

    def see(self, rounds: int, value: float, metric: Metric, min_delta: float) -> None:
        better = self.value is None or metric.better(value, self.value)
        clearly = self.value is None or (better and abs(value - self.value) > min_delta)
        if better:
            self.rounds, self.value = rounds, value
        self.waited = 0 if clearly else self.waited + 1


class LightGBM:
    """Trees for regression, binary or multiclass targets."""

    def __init__(
        self,
        task: Tabular,
        config: LightGBMConfig,
        early_stopping: EarlyStoppingConfig | None = None,
        *,
        refit: bool = False,
    ) -> None:
        self.task = task
        self.config = config
        self.early_stopping = early_stopping
        self.refit = refit
        """Whether the rows that chose the number of trees are learned from afterwards."""
        self.encoder: Encoder = task.encoder
        self.encoding = task.encoding
        self.threads = 1
        """Cores used to predict large batches."""
        self._text = ""
        self._forest: Forest | None = None
        self._details: dict[str, Any] = {}

    @property
    def objective(self) -> str:
        """`regression`, `binary` or `multiclass`."""
        output = self.task.output
        if output.kind == "regression":
            return "regression"
        return "binary" if len(output.classes) == 2 else "multiclass"

    def fit(self, train: pl.DataFrame, valid: pl.DataFrame | None, context: FitContext) -> None:
        """Learn from `train`. With `valid`, the number of trees is the one with the best value of `context.metric`.

        With `refit`, as many trees are then grown on the rows of both, so that none is lost to the choice. Without
        `valid`, all `trees` of the config are grown.

        Raises:
            DataError: when `train` has no rows or holds a value of the wrong type.
        """
        import lightgbm
        import polars as pl

        if not len(train):
            raise DataError("there are no rows to train on.")
        dataset = self._dataset(train, context)
        booster = lightgbm.Booster(dataset.params, dataset)
        if valid is not None and len(valid):
            truth = self.task.truth(valid)
            held = lightgbm.Dataset(self.encode(valid), label=truth, reference=dataset, params=dataset.params)
            booster.add_valid(held, "valid")
            rounds = self._grow(booster, held, context)
            steps = booster.current_iteration()
            late = context.deadline_s is not None and time.monotonic() > context.deadline_s
            if self.refit and not late:
                dataset = self._dataset(pl.concat([train, valid]), context)
                booster = lightgbm.Booster(dataset.params, dataset)
                for done in range(1, rounds + 1):
                    if booster.update():  # no split gains anything any more
                        break
                    if done % _LOG_EVERY == 0:
                        context.progress(done, rounds, "tree on all rows")
        else:
            rounds = self._grow(booster, None, context)
            steps = rounds
        self._text = booster.model_to_string(num_iteration=rounds)
        self._forest = load_forest(self._text, len(self._columns))
        self._details = self._describe(booster, rounds, steps)

    def _dataset(self, table: pl.DataFrame, context: FitContext) -> Any:
        """Bin rows and their target as LightGBM learns from them; its `params` are those of the booster."""
        import lightgbm

        truth, matrix = self.task.truth(table), self.encode(table)
        weight = None
        if self.config.class_weights == "balanced" and self.objective != "regression":
            weight = balanced_weights(truth, len(self.task.output.classes))
        return lightgbm.Dataset(
            matrix,
            label=truth,
            weight=weight,
            # Positions as names: LightGBM refuses names with characters that are special in JSON.
            feature_name=[f"f{place}" for place in range(matrix.shape[1])],
            categorical_feature=[place for place, column in enumerate(self._columns) if column.n_codes],
            params=self._parameters(len(truth), context),
            free_raw_data=True,
        )

    def encode(self, table: pl.DataFrame) -> np.ndarray:
        """Turn rows into a float64 matrix."""
        return self.encoder.encode(table)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """As `encode`, from a list of mappings; a missing key is a missing value.

        Raises:
            DataError: naming the row and column of a value of the wrong type.
        """
        return self.encoder.encode_rows(rows)

    def forward(self, array: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (n_rows, n_outputs). A binary model's logits are (0, raw score)."""
        assert self._forest is not None, "fit or load first"
        raw = self._forest.raw(array, self.threads)
        if self.objective != "binary":
            return raw.astype(np.float32)
        outputs = np.zeros((len(raw), 2), dtype=np.float32)
        outputs[:, 1] = raw[:, 0]
        return outputs

    def save(self, folder: Path) -> None:
        """Write `estimator.json` and `model.txt`, LightGBM's own text format."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "model.txt", self._text)
        content = {"kind": "lightgbm", "config": self.config.model_dump(mode="json"), "encoding": self.encoding}
        write_json(folder / "estimator.json", {**content, "details": self._details})

    @classmethod
    def load(cls, task: Tabular, folder: Path) -> LightGBM:
        """Read what `save` wrote. LightGBM's Python package is not imported."""
        content = read_json(folder / "estimator.json")
        estimator = cls(task, LightGBMConfig(**content["config"]))
        estimator._text = (folder / "model.txt").read_text(encoding="utf-8")
        estimator._forest = load_forest(estimator._text, len(estimator._columns))
        estimator._details = content["details"]
        return estimator

    def details(self) -> dict[str, Any]:
        """Return trees, leaves, the best round and the importance (share of the total gain) of each column."""
        return self._details

    @property
    def _columns(self) -> tuple[Any, ...]:
        return self.task.schema.encoded

    def _parameters(self, n_rows: int, context: FitContext) -> dict[str, Any]:
        config = self.config
        parameters: dict[str, Any] = {
            "objective": self.objective,
            "metric": _NATIVE.get((context.metric.name, self.objective), "none"),
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_rows_per_leaf,
            "feature_fraction": config.feature_fraction,
            "bagging_fraction": config.row_fraction,
            "bagging_freq": 1 if config.row_fraction < 1 else 0,
            "lambda_l1": config.l1,
            "lambda_l2": config.l2,
            # LightGBM's default of 100 rows per group of categories fits large tables only.
            "min_data_per_group": int(min(100, max(5, n_rows // 100))),
            "seed": context.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": context.threads,
            "verbosity": -1,
        }
        if self.objective == "multiclass":
            parameters["num_class"] = len(self.task.output.classes)
        return parameters

    def _grow(self, booster: Any, held: Any, context: FitContext) -> int:
        """Grow trees and return how many to keep."""
        stopping = self.early_stopping
        patience = stopping.patience * TREES_PER_EPOCH if stopping else None
        min_delta = stopping.min_delta if stopping else 0.0
        best = _Best()
        total = self.config.trees
        done = 0
        for done in range(1, total + 1):
            exhausted = booster.update()  # no split gains anything any more
            value = self._valid_value(booster, context) if held is not None else None
            if value is not None:
                best.see(done, value, context.metric, min_delta)
            stop = exhausted or (patience is not None and held is not None and best.waited >= patience)
            late = context.deadline_s is not None and time.monotonic() > context.deadline_s
            last = stop or late or done == total
            if done % _LOG_EVERY == 0 or done == 1 or last:
                shown = {} if value is None else {f"valid_{context.metric.name}": value}
                if done % _TRAIN_EVERY == 0 or done == 1 or last:
                    trained = booster.eval_train(self._measure(context))[-1][2]
                    context.log(done, **{f"train_{context.metric.name}": trained}, **shown)
                elif shown:
                    context.log(done, **shown)
                context.progress(done, total, "tree", **shown)
            if late and done < total:
                context.note(f"The deadline ended the fit after {done} of at most {total} rounds.")
                break
            if stop:
                break
        return best.rounds or done

    def _valid_value(self, booster: Any, context: FitContext) -> float:
        """The selecting metric on the held rows, after the trees so far."""
        native = (context.metric.name, self.objective) in _NATIVE
        return float(booster.eval_valid(None if native else self._measure(context))[-1][2])

    def _measure(self, context: FitContext) -> Callable[[np.ndarray, Any], tuple[str, float, bool]]:
        """The house's own metric in the form that LightGBM calls; it weighs all rows alike."""

        def evaluate(scored: np.ndarray, dataset: Any) -> tuple[str, float, bool]:
            truth, name = dataset.get_label(), context.metric.name
            if self.objective == "regression":
                return name, context.metric(truth.astype(np.float64), scored.astype(np.float64)), True
            probs = np.stack([1.0 - scored, scored], axis=1) if scored.ndim == 1 else scored
            return name, context.metric(truth.astype(np.int64), probs.astype(np.float64)), True

        return evaluate

    def _describe(self, booster: Any, rounds: int, steps: int) -> dict[str, Any]:
        gains = booster.feature_importance("gain", iteration=rounds)
        total = float(gains.sum()) or 1.0
        named = {column.name: float(gain) / total for column, gain in zip(self._columns, gains, strict=True)}
        leaves = (
            self._text.count("\nTree="),
            sum(
                int(line.removeprefix("num_leaves="))
                for line in self._text.splitlines()
                if line.startswith("num_leaves=")
            ),
        )
        return {
            "best_step": rounds,
            "steps": steps,
            "trees": leaves[0],
            "leaves": leaves[1],
            "importance_kind": "share of the total gain of all splits",
            "importance": dict(sorted(named.items(), key=lambda item: -item[1])),
        }
