"""Gradient-boosted oblivious trees by CatBoost.

Prokhorenkova et al., "CatBoost: unbiased boosting with categorical features", NeurIPS 2018. Every tree asks the same
question at every node of a level, which regularises; categories become target statistics over a random order of the
rows, each row's from the rows before it, also of pairs of categories. Many-valued names are what it is best at.

CatBoost is an extra: pip install 'sanmaru[catboost]'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sanmaru.errors import UserError
from sanmaru.files import whole
from sanmaru.tasks.tabular.boosting import LOG_EVERY, Patience, monotone_signs, objective
from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows, shares

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.config import CatBoostConfig
    from sanmaru.tasks.tabular.task import Tabular
    from sanmaru.training.config import TrainConfig

_LOSSES = {
    "squared": "RMSE",
    "absolute": "MAE",
    "percentage": "MAPE",
    "binary": "Logloss",
    "multiclass": "MultiClass",
}
SMALL_BATCH = 4
"""Rows up to which lists of values are faster than arrays."""
_ABSENT = 7.0
"""Log odds by which a class that no training row has lies below the least likely of the others."""
_MISSING = -1
"""Category of a missing value; those of a column's own values are 0 ... n_codes."""


class CatBoost(BaseTabularEstimator):
    """Trees for regression, binary or multiclass targets; one further model for each quantile."""

    kind = "catboost"
    heavy_tails = True
    config: CatBoostConfig

    def __init__(self, task: Tabular, config: CatBoostConfig, train: TrainConfig) -> None:
        super().__init__(task, config, train)
        _library()
        self._models: tuple[Any, ...] = ()

    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """Learn from `train`. With `valid`, the number of trees is the one with the least loss there.

        With `refit`, as many trees are then grown on the rows of both, so that none is lost to the choice. Without
        `valid`, all `trees` of the config are grown.
        """
        self._begin(train, context)
        goal = objective(self.problem, self.config.objective, self.scale, context.metric.name)
        model, rounds, steps = self._fit(train, valid, context, _LOSSES[goal], "tree")
        levels = self.task.output.quantiles
        others = [
            self._fit(train, valid, context, f"Quantile:alpha={level:g}", f"tree of the {level:g} quantile")[0]
            for level in levels
        ]
        self._models = (model, *others)
        gains = np.asarray(model.get_feature_importance(type="PredictionValuesChange"))[self._places()]
        self._details = {
            "best_step": rounds,
            "steps": steps,
            "trees": int(model.tree_count_),
            "learning_rate": float(model.learning_rate_),
            "objective": goal,
            "target_scale": self.scale.kind,
            "importance_kind": "share of the change of predictions when the column changes",
            "importance": shares([column.name for column in self.columns], gains),
        }

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores float64 (n, n_scores)."""
        assert self._models, "fit or load first"
        if not len(matrix):
            width = len(self._models) if self.problem != "multiclass" else len(self.task.output.classes)
            return np.empty((0, width))
        data = self._plain_rows(matrix) if len(matrix) <= SMALL_BATCH else self._pool(matrix)
        found = [
            model.predict(data, prediction_type="RawFormulaVal", thread_count=self.threads) for model in self._models
        ]
        scores = np.column_stack(found)
        absent = np.isneginf(scores)
        if absent.any():
            least = np.where(absent, np.inf, scores).min(axis=1, keepdims=True)
            scores = np.where(absent, least - _ABSENT, scores)
        return scores

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """TreeSHAP values of the number or the classes, float64 (n, n_scores, n_columns), on the scale learned."""
        pool = self._pool(matrix)
        found = self._models[0].get_feature_importance(pool, type="ShapValues", thread_count=self.threads)
        # Behind each score's columns stands what every row starts from.
        by_score = np.asarray(found, dtype=np.float64).reshape(len(matrix), -1, len(self.columns) + 1)
        return by_score[:, :, :-1][:, :, self._places()]

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write CatBoost's own binary format, which holds numbers and nothing that runs."""
        for name, model in zip(self._files(), self._models, strict=True):
            with whole(folder / name) as beside:
                model.save_model(str(beside), format="cbm")
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        models = []
        for name in self._files():
            model = _library().CatBoost()
            model.load_model(str(folder / name), format="cbm")
            models.append(model)
        self._models = tuple(models)

    def _files(self) -> list[str]:
        return ["model.cbm", *(f"quantile-{place}.cbm" for place in range(len(self.task.output.quantiles)))]

    def _fit(self, train: Rows, valid: Rows | None, context: FitContext, loss: str, unit: str) -> tuple[Any, int, int]:
        """Fit one model; return it, its rounds, and the rounds grown to find that number."""
        config = self.config
        watch = _Watch(self, context, valid is not None, unit)
        parameters = self._parameters(context, loss)
        model = _library().CatBoost({**parameters, "iterations": config.trees})
        held = self._pool(valid.matrix, valid, self._weights(valid)) if valid is not None else None
        pool = self._pool(train.matrix, train, self._weights(train))
        model.fit(pool, eval_set=held, callbacks=[watch], use_best_model=False)
        steps = int(model.tree_count_)
        if valid is None:
            return model, steps, steps
        rounds = watch.patience.best or steps
        if config.refit and self.train.selection == "inner" and not context.late():
            # The first fit's own rate, for CatBoost derives one from the number of rounds and rows.
            again = {**parameters, "learning_rate": float(model.learning_rate_), "iterations": rounds}
            model = _library().CatBoost(again)
            both = train + valid
            model.fit(self._pool(both.matrix, both, self._weights(both)))
        elif rounds < steps:
            model.shrink(rounds)
        return model, rounds, steps

    def _parameters(self, context: FitContext, loss: str) -> dict[str, Any]:
        config = self.config
        parameters: dict[str, Any] = {
            "loss_function": loss,
            "depth": config.depth,
            "l2_leaf_reg": config.l2,
            "random_seed": context.seed,
            "thread_count": context.threads,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
        if config.learning_rate != "auto":
            parameters["learning_rate"] = config.learning_rate
        if self.problem == "multiclass":
            parameters["classes_count"] = len(self.task.output.classes)
        if config.monotone:
            signs = np.array(monotone_signs(config.monotone, self.columns))
            parameters["monotone_constraints"] = signs[self._order()].tolist()
        return parameters

    def _coded(self) -> np.ndarray:
        """Which columns of the matrix are codes of categories, bool (n_columns,)."""
        return np.array([column.n_codes > 0 for column in self.columns], dtype=bool)

    def _order(self) -> np.ndarray:
        """The columns as CatBoost sees them: numbers first, then categories."""
        return np.argsort(self._coded(), kind="stable")

    def _places(self) -> np.ndarray:
        """Where each column of the matrix stands in CatBoost's order."""
        return np.argsort(self._order(), kind="stable")

    def _pool(self, matrix: np.ndarray, rows: Rows | None = None, weight: np.ndarray | None = None) -> Any:
        library = _library()
        coded = self._coded()
        numbers = np.ascontiguousarray(matrix[:, ~coded], dtype=np.float32)
        data = library.FeaturesData(
            num_feature_data=numbers if numbers.shape[1] else None,
            cat_feature_data=_texts(matrix[:, coded]) if coded.any() else None,
        )
        return library.Pool(data, None if rows is None else self._targets(rows), weight=weight)

    def _plain_rows(self, matrix: np.ndarray) -> list[list[Any]]:
        """A few rows as lists in CatBoost's order."""
        coded = self._coded()
        numbers = matrix[:, ~coded].tolist()
        codes = np.nan_to_num(matrix[:, coded], nan=_MISSING).astype(np.int64).tolist()
        return [[*own, *map(str, categories)] for own, categories in zip(numbers, codes, strict=True)]


class _Watch:
    """Told by CatBoost after every round: keeps the best, logs the curve, and ends the fit."""

    def __init__(self, estimator: CatBoost, context: FitContext, held: bool, unit: str) -> None:
        self.patience = Patience(estimator.train.early_stopping)
        self._context, self._held, self._unit = context, held, unit
        self._total = estimator.config.trees
        self._curve = unit == "tree"

    def after_iteration(self, info: Any) -> bool:
        """Return whether to go on."""
        done = int(info.iteration)
        trained = _last(info.metrics.get("learn"))
        held = _last(info.metrics.get("validation")) if self._held else None
        stop = held is not None and self.patience.see(done, held)
        late = self._context.late()
        if done % LOG_EVERY == 0 or done == 1 or stop or late or done == self._total:
            curve = {"train_loss": trained, "valid_loss": held}
            shown = {name: value for name, value in curve.items() if value is not None}
            if self._curve:
                self._context.log(done, **shown)
            self._context.progress(done, self._total, self._unit, **shown)
        if late and done < self._total:
            self._context.note(f"The deadline ended the fit after {done} of at most {self._total} rounds.")
        return not (stop or late)


def _last(metrics: Mapping[str, list[float]] | None) -> float | None:
    """The newest value of the one metric."""
    return None if not metrics else float(next(iter(metrics.values()))[-1])


def _texts(codes: np.ndarray) -> np.ndarray:
    """Codes as the byte strings that CatBoost takes for categories, object (n, n_coded)."""
    whole_codes = np.nan_to_num(codes, nan=_MISSING).astype(np.int64)
    names = np.array([b"%d" % code for code in range(_MISSING, int(whole_codes.max(initial=0)) + 1)], dtype=object)
    return np.asarray(names[whole_codes - _MISSING])


def _library() -> Any:
    """CatBoost, where it is installed.

    Raises:
        UserError: naming the extra to install.
    """
    try:
        import catboost
    except ImportError as error:
        raise UserError(
            "model.kind: catboost needs the package catboost, which is an extra of 269 MB. Install it with: "
            "pip install 'sanmaru[catboost]'"
        ) from error
    return catboost
