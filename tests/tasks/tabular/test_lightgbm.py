from __future__ import annotations

import json
import time

import lightgbm
import numpy as np
import polars as pl
import pytest
import sklearn.metrics

from sanmaru.errors import DataError
from sanmaru.tasks.base import RowEncoder
from sanmaru.tasks.tabular.boosting import TREES_PER_EPOCH
from sanmaru.tasks.tabular.config import LightGBMConfig
from sanmaru.training.config import EarlyStoppingConfig, TrainConfig

SMALL = LightGBMConfig(trees=60, leaves=7, learning_rate=0.1)
METRICS = {"price": "rmse", "sold": "roc_auc", "band": "macro_f1"}


def events(context, kind):
    lines = (context.folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture
def fitted(mixed_table, open_task):
    def make(target, context, *, config=SMALL, train=None, rows=None, valid=True):
        table = mixed_table() if rows is None else rows
        task = open_task(table, target)
        estimator = task.estimator(config, train or TrainConfig())
        estimator.fit(table[:300], table[300:] if valid else None, context)
        return task, table, estimator

    return make


@pytest.mark.parametrize("target", METRICS)
def test_outputs_are_those_of_lightgbm_itself(target, context, fitted):
    task, table, estimator = fitted(target, context(METRICS[target]))
    matrix = estimator.encode(table)
    expected = lightgbm.Booster(model_str=estimator._texts[0]).predict(matrix, num_threads=1)
    scored = task.scored(task.predictions(table["row"], estimator.forward(matrix)))
    if target == "sold":
        expected = np.stack([1 - expected, expected], axis=1)
    np.testing.assert_allclose(scored, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("target", "least"), [("price", 0.8), ("sold", 0.8), ("band", 0.6)])
def test_it_learns(target, least, context, fitted):
    task, table, estimator = fitted(target, context(METRICS[target]))
    scored = task.scored(task.predictions(table["row"], estimator.forward(estimator.encode(table))))[300:]
    truth = task.truth(table)[300:]
    if target == "price":
        assert 1 - ((truth - scored) ** 2).mean() / truth.var() > least
    else:
        assert (scored.argmax(axis=1) == truth).mean() > least


def test_two_fits_are_equal_whatever_the_threads(context, fitted):
    few = LightGBMConfig(trees=8, leaves=7)
    one, two, more = (fitted("band", context("log_loss", threads=threads), config=few)[2] for threads in (1, 1, 2))
    trees = [estimator._texts[0].split("\nparameters:")[0] for estimator in (one, two, more)]
    assert trees[0] == trees[1] == trees[2]
    assert one.details() == two.details()


@pytest.mark.parametrize("target", METRICS)
def test_a_saved_model_answers_as_before(target, context, tmp_path, fitted):
    task, table, estimator = fitted(target, context(METRICS[target]))
    estimator.save(tmp_path / "estimator")
    again = type(task).from_json(json.loads(json.dumps(task.to_json()))).load_estimator(tmp_path / "estimator")
    assert sorted(path.name for path in (tmp_path / "estimator").iterdir()) == ["estimator.json", "model.txt"]
    assert isinstance(again, RowEncoder)
    rows = table.drop("price", "sold", "band").to_dicts()
    np.testing.assert_array_equal(again.forward(again.encode_rows(rows)), estimator.forward(estimator.encode(table)))
    assert again.details() == estimator.details()
    assert again.encoding == estimator.encoding


@pytest.mark.parametrize(
    ("target", "metric"),
    [("price", "rmse"), ("price", "mae"), ("price", "r2"), ("price", "mape"), ("price", "rmsle")]
    + [(target, name) for target in ("sold", "band") for name in ("accuracy", "macro_f1", "roc_auc", "log_loss")],
)
def test_the_least_loss_chooses_the_number_of_trees(target, metric, context, fitted):
    """Trees kept are those with the least log loss, or error of the objective; the curve tells the named metric."""
    folder = context(metric)
    train = TrainConfig(early_stopping=None, selection="fold")
    task, table, estimator = fitted(target, folder, train=train)
    held = table[300:]
    matrix, best = estimator.encode(held), estimator.details()["best_step"]
    grown = task.estimator(SMALL, TrainConfig(selection="none"))
    grown.fit(table[:300], None, context(metric))
    booster = lightgbm.Booster(model_str=grown._texts[0])
    loss = {"rmse": _squared, "r2": _squared, "mae": _absolute, "mape": _squared, "rmsle": _squared}.get(metric)
    truth, losses = task.truth(held), []
    for rounds in range(1, SMALL.trees + 1):
        scored = booster.predict(matrix, num_iteration=rounds, num_threads=1)
        if loss is None:
            losses.append(sklearn.metrics.log_loss(truth, scored, labels=range(len(task.output.classes))))
        else:
            turned = {"rmsle": np.log1p, "mape": np.log}.get(metric, np.array)(truth)
            losses.append(loss(turned, scored))
    assert best == int(np.argmin(losses)) + 1
    scored = task.scored(task.predictions(held["row"], estimator.forward(matrix)))
    value = folder.metric(truth, scored)
    curve = events(folder, "metrics")
    points = {event["step"]: event[f"valid_{metric}"] for event in curve}
    trained = [event[f"train_{metric}"] for event in curve if f"train_{metric}" in event]
    assert folder.metric.better(trained[-1], trained[0])
    if best in points:
        assert points[best] == pytest.approx(value, rel=1e-5)
    assert estimator.details()["steps"] == SMALL.trees


def _squared(truth, scored):
    return ((truth - scored) ** 2).mean()


def _absolute(truth, scored):
    return np.abs(truth - scored).mean()


@pytest.mark.parametrize("target", ["price", "sold", "band"])
def test_no_row_is_lost_to_the_choice_of_trees(target, context, fitted):
    """After the choice, the trees are those that LightGBM grows on the rows of both parts."""
    folder = context(METRICS[target])
    task, table, estimator = fitted(target, folder)
    best = estimator.details()["best_step"]
    alone = task.estimator(SMALL.model_copy(update={"trees": best}), TrainConfig())
    alone.fit(table, None, context(METRICS[target]))
    matrix = estimator.encode(table)
    np.testing.assert_array_equal(estimator.forward(matrix), alone.forward(matrix))
    kept = fitted(target, context(METRICS[target]), train=TrainConfig(selection="fold"))[2]
    assert kept.details()["best_step"] == best
    assert not np.array_equal(kept.forward(matrix), estimator.forward(matrix))


def test_patience_ends_a_fit_that_gets_no_better(context, fitted, mixed_table):
    generator = np.random.default_rng(1)
    noise = mixed_table().with_columns(pl.Series("price", generator.normal(size=400)))
    train = TrainConfig(early_stopping=EarlyStoppingConfig(patience=2))
    details = fitted("price", context("rmse"), rows=noise, train=train)[2].details()
    assert details["steps"] == details["best_step"] + 2 * TREES_PER_EPOCH
    assert details["trees"] == details["best_step"]


def test_without_held_rows_every_tree_is_kept(context, fitted):
    details = fitted("band", context("macro_f1"), valid=False)[2].details()
    assert details["best_step"] == SMALL.trees
    assert details["trees"] == SMALL.trees * 3


def test_a_passed_deadline_ends_the_fit_with_what_it_has(context, fitted):
    late = context("rmse", deadline_s=time.monotonic())
    details = fitted("price", late)[2].details()
    assert details["steps"] == 1
    assert "deadline" in events(late, "note")[0]["text"]


def test_balanced_weights_find_more_of_a_rare_class(context, fitted, mixed_table):
    table = mixed_table().with_columns((pl.col("price") > pl.col("price").quantile(0.93)).alias("sold"))
    found = []
    for weights in ("none", "balanced"):
        config = LightGBMConfig(trees=10, leaves=4, class_weights=weights)
        task, _, estimator = fitted("sold", context("log_loss"), config=config, rows=table, valid=False)
        found.append(
            task.scored(task.predictions(table["row"], estimator.forward(estimator.encode(table))))[:, 1].sum()
        )
    assert found[1] > 2 * found[0]


def test_details_name_the_columns(context, fitted):
    details = fitted("price", context("rmse"))[2].details()
    importance = details["importance"]
    assert next(iter(importance)) in {"size {m²}", "district"}
    assert sum(importance.values()) == pytest.approx(1.0)
    assert details["leaves"] > details["trees"]


def test_a_class_without_rows_in_a_fold_and_unknown_categories_are_survived(context, mixed_table, open_task):
    table = mixed_table().sort("price")  # the dearest rows come last
    task = open_task(table, "band")
    estimator = task.estimator(SMALL, TrainConfig())
    estimator.fit(table[:250], None, context("log_loss"))
    outputs = estimator.forward(estimator.encode_rows([{"district": "부산"}, {"rooms": None}]))
    assert np.isfinite(outputs).all()


def test_no_rows_is_an_error(context, mixed_table, open_task):
    table = mixed_table(60)
    with pytest.raises(DataError, match="there are no rows to train on"):
        open_task(table, "price").estimator(SMALL, TrainConfig()).fit(table.clear(), None, context("rmse"))
