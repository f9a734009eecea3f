from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from sanmaru.tables.roles import Roles
from sanmaru.tasks.tabular import neighbours
from sanmaru.tasks.tabular.config import NearestNeighboursConfig
from sanmaru.tasks.tabular.neighbours import weighted_quantile
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig


@pytest.fixture
def plain():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 300))
    group = generator.choice(["x", "y", "z"], 300)
    price = a + b**2 + 2 * (group == "x") + generator.normal(scale=0.1, size=300)
    table = pl.DataFrame({"row": np.arange(300), "a": a, "b": b, "group": group, "price": price})
    return table.with_columns((pl.col("price") > 1.5).alias("sold"))


def fit(table, target, config, context, **options):
    task = Tabular.open(table, Roles(id="row", targets=(target,), features=("a", "b", "group"), **options))
    estimator = task.estimator(config, TrainConfig())
    estimator.fit(table, None, context)
    return task, estimator


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_numbers_are_those_of_scikit_learn_on_the_same_axes(weights, metric, plain, context):
    config = NearestNeighboursConfig(n_neighbours=7, weights=weights, metric=metric)
    _, estimator = fit(plain[:200], "price", config, context("rmse"))
    axes = estimator._place(estimator.encode(plain))
    reference = KNeighborsRegressor(7, weights=weights, metric=metric).fit(axes[:200], plain["price"].to_numpy()[:200])
    found = estimator.forward(estimator.encode(plain[200:]))[:, 0]
    np.testing.assert_allclose(found, reference.predict(axes[200:]), rtol=1e-5)


def test_classes_are_those_of_scikit_learn_with_one_vote_spread(plain, context):
    task, estimator = fit(
        plain[:200], "sold", NearestNeighboursConfig(n_neighbours=9, weights="uniform"), context("accuracy")
    )
    axes = estimator._place(estimator.encode(plain))
    reference = KNeighborsClassifier(9).fit(axes[:200], task.truth(plain[:200])).predict_proba(axes[200:])
    held = plain[200:]
    found = task.scored(task.predictions(held["row"], estimator.forward(estimator.encode(held))))
    np.testing.assert_allclose(found, (9 * reference + 0.5) / 10, rtol=1e-5)


def test_categories_are_one_spread_apart_and_rare_ones_alike(context):
    names = [f"n{i}" for i in range(60) for _ in range(70 - i)]
    table = pl.DataFrame({"row": range(len(names)), "name": names, "price": np.arange(len(names)) * 0.5})
    task = Tabular.open(table, Roles(id="row", targets=("price",), features=("name",)))
    estimator = task.estimator(NearestNeighboursConfig(n_neighbours=3), TrainConfig())
    estimator.fit(table, None, context("rmse"))
    asked = [{"name": "n0"}, {"name": "n1"}, {"name": "n40"}, {"name": "n59"}, {"name": "unknown"}, {"name": None}]
    axes = estimator._place(estimator.encode_rows(asked))
    distances = np.sqrt(((axes[:, None] - axes[None]) ** 2).sum(axis=2))
    assert distances[0, 1] == pytest.approx(1.0)
    assert distances[2, 3] == distances[3, 4] == 0.0
    assert distances[4, 5] == pytest.approx(1.0)


def test_auto_takes_the_best_by_the_metric_inside_the_fold(plain, context):
    noisy = plain.with_columns(pl.col("price") + pl.Series(np.random.default_rng(1).normal(scale=3, size=300)))
    smooth = fit(plain, "price", NearestNeighboursConfig(), context("rmse"))[1].details()
    rough = fit(noisy, "price", NearestNeighboursConfig(), context("rmse"))[1].details()
    assert smooth["n_neighbours"] < rough["n_neighbours"]
    tried = rough["n_neighbours_tried"]
    assert tried[str(rough["n_neighbours"])] == min(tried.values())


def test_auto_keeps_groups_whole(plain, context):
    """Each row stands four times: its copies would tell that one neighbour is best."""
    noisy = plain.with_columns(pl.col("price") + pl.Series(np.random.default_rng(1).normal(scale=3, size=300)))
    table = pl.concat([noisy] * 4).with_columns(pl.col("row").alias("who"), pl.Series("row", range(1200)))
    torn = fit(table, "price", NearestNeighboursConfig(weights="uniform"), context("rmse"))[1].details()
    assert torn["n_neighbours"] <= 3
    held = fit(table, "price", NearestNeighboursConfig(weights="uniform"), context("rmse"), group="who")[1].details()
    assert held["n_neighbours"] > 3


def test_a_tree_and_chunks_change_nothing(plain, context, monkeypatch):
    config = NearestNeighboursConfig(n_neighbours=5)
    estimator = fit(plain, "price", config, context("rmse"))[1]
    matrix = estimator.encode(plain) + 0.01
    expected = estimator.forward(matrix)
    monkeypatch.setattr(neighbours, "CHUNK_ROWS", 7)
    monkeypatch.setattr(neighbours, "TREE_ROWS", 10)
    again = fit(plain, "price", config, context("rmse"))[1]
    np.testing.assert_allclose(again.forward(matrix), expected, rtol=1e-4)
    assert again._index._fit_method == "kd_tree"


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_a_weighted_quantile_is_numpys_for_equal_weights(level):
    values = np.random.default_rng(0).normal(size=(6, 9))
    found = weighted_quantile(values, np.full((6, 9), 2.0), level)
    np.testing.assert_allclose(found, np.quantile(values, level, axis=1))
    one = weighted_quantile(values[:, :1], np.ones((6, 1)), level)
    np.testing.assert_array_equal(one, values[:, 0])
    heavy = weighted_quantile(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 100.0, 1.0]]), level)
    assert heavy == pytest.approx(2.0, abs=0.95)
