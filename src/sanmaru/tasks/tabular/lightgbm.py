"""Gradient-boosted trees by LightGBM.

Ke et al., "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 2017. Categories are split natively
(sorted by their gradient statistics), missing values have their own direction at every split.

The number of trees is the one with the least loss on the rows that select, whatever the named metric: a few hundred
rows rank, or say right and wrong, too coarsely to choose by (docs/decisions/tabular-models.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sanmaru.errors import DataError
from sanmaru.files import write_text
from sanmaru.tasks.tabular.boosting import LOG_EVERY, TRAIN_EVERY, Patience, monotone_signs, objective
from sanmaru.tasks.tabular.estimator import BaseTabularEstimator, Rows, shares
from sanmaru.tasks.tabular.native import Forest, load_forest

if TYPE_CHECKING:
    from sanmaru.tasks.base import FitContext
    from sanmaru.tasks.tabular.config import LightGBMConfig

_OBJECTIVES = {
    "squared": ("regression", "rmse"),
    "absolute": ("regression_l1", "l1"),
    "percentage": ("mape", "mape"),
    "quantile": ("quantile", "quantile"),
    "binary": ("binary", "binary_logloss"),
    "multiclass": ("multiclass", "multi_logloss"),
}
"""What is minimised, to LightGBM's names of the objective and of the metric that chooses the number of trees."""


class _Grown(NamedTuple):
    """One fitted booster."""

    text: str
    booster: Any
    rounds: int
    """Rounds kept."""
    steps: int
    """Rounds grown to find that number."""


class LightGBM(BaseTabularEstimator):
    """Trees for regression, binary or multiclass targets; one further booster for each quantile."""

    kind = "lightgbm"
    heavy_tails = True
    config: LightGBMConfig

    _texts: tuple[str, ...] = ()
    _forests: tuple[Forest, ...] = ()

    def fit_rows(self, train: Rows, valid: Rows | None, context: FitContext) -> None:
        """Learn from `train`. With `valid`, the number of trees is the one with the least loss there.

        With `refit`, as many trees are then grown on the rows of both, so that none is lost to the choice. Without
        `valid`, all `trees` of the config are grown.
        """
        self._begin(train, context)
        goal = self._goal(context)
        grown = [self._fit(train, valid, context, goal, None)]
        for level in self.task.output.quantiles:
            grown.append(self._fit(train, valid, context, "quantile", level))
        self._texts = tuple(one.text for one in grown)
        self._open()
        self._details = self._describe(grown[0], goal)

    def scores(self, matrix: np.ndarray) -> np.ndarray:
        """Return raw scores float64 (n, n_scores)."""
        assert self._forests, "fit or load first"
        if len(self._forests) == 1:
            return self._forests[0].raw(matrix, self.threads)
        return np.concatenate([forest.raw(matrix, self.threads) for forest in self._forests], axis=1)

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        """TreeSHAP values of the number or the classes, float64 (n, n_scores, n_columns), on the scale learned."""
        import lightgbm

        booster = lightgbm.Booster(model_str=self._texts[0])
        found = booster.predict(matrix, pred_contrib=True, num_threads=self.threads)
        # Behind each score's columns stands what every row starts from.
        return np.asarray(found, dtype=np.float64).reshape(len(matrix), -1, len(self.columns) + 1)[:, :, :-1]

    def _save(self, folder: Path) -> dict[str, Any]:
        """Write LightGBM's own text format."""
        for name, text in zip(self._files(), self._texts, strict=True):
            write_text(folder / name, text)
        return {}

    def _restore(self, folder: Path, content: Mapping[str, Any]) -> None:
        self._texts = tuple((folder / name).read_text(encoding="utf-8") for name in self._files())
        self._open()

    def _files(self) -> list[str]:
        return ["model.txt", *(f"quantile-{place}.txt" for place in range(len(self.task.output.quantiles)))]

    def _open(self) -> None:
        self._forests = tuple(load_forest(text, len(self.columns)) for text in self._texts)

    def _goal(self, context: FitContext) -> str:
        """What is minimised. LightGBM has monotone columns only where leaves hold means, not medians.

        Raises:
            DataError: when monotone columns stand beside quantiles or an objective of medians.
        """
        goal = objective(self.problem, self.config.objective, self.scale, context.metric.name)
        if not self.config.monotone:
            return goal
        if self.task.output.quantiles or (self.config.objective != "auto" and goal in {"absolute", "percentage"}):
            what = "quantiles" if self.task.output.quantiles else f"objective: {self.config.objective}"
            raise DataError(
                f"LightGBM takes no monotone columns together with {what}. Set model.kind: catboost, or leave out "
                "model.monotone."
            )
        if goal in {"absolute", "percentage"}:
            context.note("As columns are monotone, LightGBM learns means, though the metric asks for medians.")
            return "squared"
        return goal

    def _fit(self, train: Rows, valid: Rows | None, context: FitContext, goal: str, level: float | None) -> _Grown:
        import lightgbm

        parameters = self._parameters(len(train), context, goal, level)
        dataset = self._dataset(train, parameters)
        booster = lightgbm.Booster(parameters, dataset)
        if valid is None:
            rounds = self._grow(booster, None, train, context, level)
            return _Grown(booster.model_to_string(num_iteration=rounds), booster, rounds, rounds)
        booster.add_valid(self._dataset(valid, parameters, reference=dataset), "valid")
        rounds = self._grow(booster, valid, train, context, level)
        steps = booster.current_iteration()
        if self.config.refit and self.train.selection == "inner" and not context.late():
            both = train + valid
            parameters = self._parameters(len(both), context, goal, level)
            booster = lightgbm.Booster(parameters, self._dataset(both, parameters))
            for done in range(1, rounds + 1):
                if booster.update():  # no split gains anything any more
                    break
                if done % LOG_EVERY == 0:
                    context.progress(done, rounds, "tree on all rows")
        return _Grown(booster.model_to_string(num_iteration=rounds), booster, rounds, steps)

    def _dataset(self, rows: Rows, parameters: Mapping[str, Any], reference: Any = None) -> Any:
        import lightgbm

        return lightgbm.Dataset(
            rows.matrix,
            label=self._targets(rows),
            weight=self._weights(rows),
            # Positions as names: LightGBM refuses names with characters that are special in JSON.
            feature_name=[f"f{place}" for place in range(rows.matrix.shape[1])],
            categorical_feature=[place for place, column in enumerate(self.columns) if column.n_codes],
            params=dict(parameters),
            reference=reference,
            free_raw_data=True,
        )

    def _parameters(self, n_rows: int, context: FitContext, goal: str, level: float | None) -> dict[str, Any]:
        config = self.config
        name, metric = _OBJECTIVES[goal]
        parameters: dict[str, Any] = {
            "objective": name,
            "metric": metric,
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
        if goal == "multiclass":
            parameters["num_class"] = len(self.task.output.classes)
        if level is not None:
            parameters["alpha"] = level
        if config.monotone:
            parameters["monotone_constraints"] = monotone_signs(config.monotone, self.columns)
            parameters["monotone_constraints_method"] = "intermediate"
        return parameters

    def _grow(self, booster: Any, valid: Rows | None, train: Rows, context: FitContext, level: float | None) -> int:
        """Grow trees and return how many to keep. Curves are told of the first booster only."""
        patience = Patience(self.train.early_stopping)
        total, name = self.config.trees, context.metric.name
        unit = "tree" if level is None else f"tree of the {level:g} quantile"
        done = 0
        for done in range(1, total + 1):
            exhausted = booster.update()  # no split gains anything any more
            stop = exhausted or (valid is not None and patience.see(done, booster.eval_valid()[-1][2]))
            late = context.late()
            last = stop or late or done == total
            if level is None and (done % LOG_EVERY == 0 or done == 1 or last):
                shown = {}
                if valid is not None:
                    shown[f"valid_{name}"] = booster.eval_valid(self._measure(valid, context))[-1][2]
                trained = {}
                if done % TRAIN_EVERY == 0 or done == 1 or last:
                    trained[f"train_{name}"] = booster.eval_train(self._measure(train, context))[-1][2]
                if shown or trained:
                    context.log(done, **trained, **shown)
                context.progress(done, total, unit, **shown)
            elif level is not None and done % LOG_EVERY == 0:
                context.progress(done, total, unit)
            if late and done < total:
                context.note(f"The deadline ended the fit after {done} of at most {total} rounds.")
                break
            if stop:
                break
        return patience.best or done

    def _measure(self, rows: Rows, context: FitContext) -> Callable[[np.ndarray, Any], tuple[str, float, bool]]:
        """The named metric in the form that LightGBM calls; it weighs all rows alike."""

        def evaluate(scored: np.ndarray, _: Any) -> tuple[str, float, bool]:
            if self.problem == "regression":
                scored = self.scale.back(scored.astype(np.float64)[:, None])[:, 0]
            elif scored.ndim == 1:
                scored = np.stack([1.0 - scored, scored], axis=1)
            return context.metric.name, context.metric(rows.truth, scored.astype(np.float64)), True

        return evaluate

    def _describe(self, grown: _Grown, goal: str) -> dict[str, Any]:
        gains = grown.booster.feature_importance("gain", iteration=grown.rounds)
        leaves = [line for line in grown.text.splitlines() if line.startswith("num_leaves=")]
        return {
            "best_step": grown.rounds,
            "steps": grown.steps,
            "trees": grown.text.count("\nTree="),
            "leaves": sum(int(line.removeprefix("num_leaves=")) for line in leaves),
            "objective": goal,
            "target_scale": self.scale.kind,
            "importance_kind": "share of the total gain of all splits",
            "importance": shares([column.name for column in self.columns], gains),
        }
