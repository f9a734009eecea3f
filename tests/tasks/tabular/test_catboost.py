from __future__ import annotations

import sys

import numpy as np
import pytest

from sanmaru.errors import UserError
from sanmaru.tasks.tabular.config import CatBoostConfig
from sanmaru.training.config import EarlyStoppingConfig, TrainConfig

catboost = pytest.importorskip("catboost")
SMALL = CatBoostConfig(trees=30, depth=3, learning_rate=0.2)


@pytest.mark.parametrize("case", [("price", "rmse", "RMSE"), ("sold", "roc_auc", "Logloss")])
def test_it_gives_what_catboost_called_directly_gives(case, mixed_table, open_task, context):
    target, metric, loss = case
    table = mixed_table(200)
    task = open_task(table, target)
    estimator = task.estimator(SMALL, TrainConfig())
    estimator.fit(table, None, context(metric))
    matrix, truth = estimator.encode(table), task.truth(table)
    coded = [place for place, column in enumerate(estimator.columns) if column.n_codes]
    numbers = [place for place in range(matrix.shape[1]) if place not in coded]
    # As objects in CatBoost's own way: numbers, then categories as texts.
    rows = [[*map(float, row[numbers]), *(str(int(np.nan_to_num(v, nan=-1))) for v in row[coded])] for row in matrix]
    pool = catboost.Pool(rows, truth, cat_features=list(range(len(numbers), matrix.shape[1])))
    parameters = {"iterations": 30, "depth": 3, "learning_rate": 0.2, "l2_leaf_reg": 3.0, "random_seed": 3}
    direct = catboost.CatBoost(
        {
            **parameters,
            "loss_function": loss,
            "thread_count": 1,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }
    ).fit(pool)
    expected = direct.predict(pool, prediction_type="RawFormulaVal")
    np.testing.assert_allclose(estimator.forward(matrix)[:, -1], expected, rtol=1e-5, atol=1e-5)


def test_patience_ends_a_fit_and_the_best_round_is_grown_again_on_all_rows(mixed_table, open_task, context):
    table = mixed_table(200)
    noise = table.with_columns(price=np.random.default_rng(1).normal(size=200))
    train = TrainConfig(early_stopping=EarlyStoppingConfig(patience=1))
    task = open_task(noise, "price")
    estimator = task.estimator(SMALL.model_copy(update={"trees": 200}), train)
    estimator.fit(noise[:150], noise[150:], context("rmse"))
    details = estimator.details()
    assert details["steps"] == details["best_step"] + 20
    assert details["trees"] == details["best_step"]
    alone = task.estimator(SMALL.model_copy(update={"trees": details["best_step"]}), train)
    alone.fit(noise, None, context("rmse"))
    matrix = estimator.encode(noise)
    np.testing.assert_allclose(estimator.forward(matrix), alone.forward(matrix), rtol=1e-6)
    kept = task.estimator(SMALL.model_copy(update={"trees": 200, "refit": False}), train)
    kept.fit(noise[:150], noise[150:], context("rmse"))
    assert kept.details()["trees"] == kept.details()["best_step"]
    assert not np.array_equal(kept.forward(matrix), alone.forward(matrix))


def test_without_the_package_the_extra_is_named(mixed_table, open_task, monkeypatch):
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(UserError, match=r"pip install 'sanmaru\[catboost\]'"):
        open_task(mixed_table(60), "price").estimator(SMALL, TrainConfig())
