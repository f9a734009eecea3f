"""What columns add to a row's score sums up to the score."""

from __future__ import annotations

import numpy as np
import pytest

from sanmaru.tasks.tabular.config import CatBoostConfig, LightGBMConfig, LinearConfig
from sanmaru.tasks.tabular.contributions import told_contributions
from sanmaru.tasks.tabular.permutation import Shuffles, column_losses, rows_to_shuffle
from sanmaru.training.config import TrainConfig


@pytest.mark.parametrize("target", ["price", "sold", "band"])
@pytest.mark.parametrize(
    "model",
    [LightGBMConfig(trees=12), LinearConfig(penalty=0.1), CatBoostConfig(trees=8)],
    ids=["lightgbm", "linear", "catboost"],
)
def test_contributions_sum_to_the_raw_score(model, target, mixed_table, open_task, context):
    if model.kind == "catboost":
        pytest.importorskip("catboost")
    table = mixed_table(200)
    task = open_task(table, target)
    estimator = task.estimator(model, TrainConfig())
    estimator.fit(table, None, context(task.metrics[0]))
    matrix = estimator.encode(table)
    scores, added = estimator.scores(matrix), estimator.contributions(matrix)
    assert added.shape == (200, scores.shape[1], matrix.shape[1])
    rest = scores - added.sum(axis=2)  # the same for every row
    assert rest == pytest.approx(
        np.broadcast_to(rest[:1], rest.shape), abs=1e-6 * max(1.0, float(np.abs(scores).max()))
    )
    told = told_contributions(estimator, matrix, estimator.details(), seed=0)
    assert ("points" in told) == (scores.shape[1] == 1)
    assert list(told["mean"].values()) == sorted(told["mean"].values(), reverse=True)


def test_shuffling_a_column_that_the_model_does_not_use_loses_nothing(mixed_table, open_task, context):
    table = mixed_table(300)
    task = open_task(table, "price")
    estimator = task.estimator(LinearConfig(penalty=0.01), TrainConfig())
    told = context("rmse")
    estimator.fit(table, None, told)
    estimator._arrays["levels"][:] = 0.0
    matrix = estimator.encode(table)
    shuffles = Shuffles(task, told.metric, task.truth(table), seed=0)
    losses = column_losses(task, estimator, matrix, shuffles, estimator.details())
    assert losses["district"] == [0.0, 0.0, 0.0]
    assert min(losses["size {m²}"]) > 5


def test_wide_tables_shuffle_fewer_rows():
    assert rows_to_shuffle(50_000, 10) == 1000
    assert rows_to_shuffle(50_000, 784) == 833
    assert rows_to_shuffle(90, 10) == 90
