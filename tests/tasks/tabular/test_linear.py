from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tasks.tabular.config import LinearConfig
from sanmaru.tasks.tabular.penalty import EXACT_WIDTH
from sanmaru.training.config import TrainConfig

METRICS = {"price": "rmse", "sold": "roc_auc", "band": "macro_f1"}


@pytest.fixture
def fitted(mixed_table, open_task):
    def make(target, context, *, config=None, rows=None, cut=300):
        table = mixed_table() if rows is None else rows
        task = open_task(table, target)
        estimator = task.estimator(config or LinearConfig(), TrainConfig())
        estimator.fit(table[:cut], table[cut:], context)
        return task, table, estimator

    return make


def reference_features(table):
    """The same design by hand: filled and scaled numbers, marks, one-hot levels."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = table.select(
        pl.col("size {m²}"), pl.col("rooms"), pl.col("lift").cast(pl.Int8), pl.col("district")
    ).to_pandas()
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    transformer = make_column_transformer(
        (numbers, ["size {m²}", "rooms", "lift"]),
        (MissingIndicator(), ["size {m²}"]),
        (OneHotEncoder(handle_unknown="ignore"), ["district"]),
        sparse_threshold=0,
    )
    transformer.fit(frame[:300])
    return transformer.transform(frame)


def test_ridge_equals_a_scikit_learn_pipeline(context, fitted, mixed_table):
    from sklearn.linear_model import Ridge

    table = mixed_table().drop("listed")
    _, _, estimator = fitted("price", context("rmse"), config=LinearConfig(penalty=0.01), rows=table)
    X, y = reference_features(table), table["price"].to_numpy()
    expected = Ridge(alpha=0.01 * 300).fit(X[:300], y[:300]).predict(X)
    np.testing.assert_allclose(estimator.forward(estimator.encode(table))[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("target", ["sold", "band"])
def test_logistic_equals_a_scikit_learn_pipeline(target, context, fitted, mixed_table):
    from sklearn.linear_model import LogisticRegression

    table = mixed_table().drop("listed")
    task, _, estimator = fitted(target, context("log_loss"), config=LinearConfig(penalty=0.01), rows=table)
    X, codes = reference_features(table), task.truth(table)
    reference = LogisticRegression(C=1 / (0.01 * 300), tol=1e-8, max_iter=5000).fit(X[:300], codes[:300])
    scored = task.scored(task.predictions(table["row"], estimator.forward(estimator.encode(table))))
    np.testing.assert_allclose(scored, reference.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("target", METRICS)
def test_forward_is_the_design_times_the_weights_and_survives_saving(target, context, tmp_path, fitted):
    task, table, estimator = fitted(target, context(METRICS[target]))
    estimator.save(tmp_path / "estimator")
    assert sorted(path.name for path in (tmp_path / "estimator").iterdir()) == ["estimator.json", "weights.npz"]
    again = type(task).from_json(json.loads(json.dumps(task.to_json()))).load_estimator(tmp_path / "estimator")
    rows = table.drop("price", "sold", "band").to_dicts()
    outputs = estimator.forward(estimator.encode(table))
    np.testing.assert_array_equal(again.forward(again.encode_rows(rows)), outputs)
    assert again.details() == estimator.details()
    single = np.concatenate([again.forward(again.encode_rows([row])) for row in rows[:20]])
    np.testing.assert_allclose(single, outputs[:20], rtol=1e-5, atol=1e-5)


def test_it_learns_and_two_fits_are_equal(context, fitted):
    task, table, one = fitted("price", context("rmse"))
    two = fitted("price", context("rmse"))[2]
    matrix = one.encode(table)
    np.testing.assert_array_equal(one.forward(matrix), two.forward(matrix))
    truth = task.truth(table)[300:]
    assert 1 - ((truth - one.forward(matrix)[300:, 0]) ** 2).mean() / truth.var() > 0.9


def test_an_unknown_category_is_predicted_from_the_other_columns(context, fitted):
    _, _, estimator = fitted("price", context("rmse"))
    row = {"size {m²}": 50.0, "rooms": 3, "lift": True}
    known = [estimator.forward(estimator.encode_rows([{**row, "district": d}]))[0, 0] for d in ("강남", "마포", "노원")]
    unknown = estimator.forward(estimator.encode_rows([{**row, "district": "부산"}]))[0, 0]
    assert min(known) - 5 < unknown < max(known) + 5


def test_details_give_coefficients_and_importance(context, fitted):
    details = fitted("price", context("rmse"))[2].details()
    assert next(iter(details["importance"])) in {"size {m²}", "district"}
    assert sum(details["importance"].values()) == pytest.approx(1.0)
    names = list(details["coefficients"])
    assert "district = 강남" in names
    assert "size {m²} is missing" in names
    assert details["penalty"] in {float(name) for name in details["penalties_tried"]}


def test_months_and_a_thousand_names_weigh_as_categories(context, fitted, mixed_table):
    """Each name shifts the price; more names than the normal equations are solved for."""
    generator = np.random.default_rng(0)
    table = mixed_table(3000)
    names = generator.integers(0, 700, 3000)
    table = table.with_columns(
        pl.Series("name", [f"n{i}" for i in names]), pl.col("price") + generator.normal(scale=60, size=700)[names]
    )
    _, _, estimator = fitted("price", context("rmse"), rows=table, cut=2500)
    assert estimator._arrays["sizes"].max() > EXACT_WIDTH
    held = table[2500:]
    residual = held["price"].to_numpy() - estimator.forward(estimator.encode(held))[:, 0]
    without = fitted("price", context("rmse"), rows=table.drop("name"), cut=2500)[2]
    alone = held["price"].to_numpy() - without.forward(without.encode(held))[:, 0]
    assert residual.std() < 0.7 * alone.std()
    assert "listed (month) = 3" in without.details()["coefficients"]


def test_the_metric_on_held_rows_is_told(context, fitted):
    folder = context("rmse")
    fitted("price", folder)
    events = [json.loads(line) for line in (folder.folder / "events.jsonl").read_text().splitlines()]
    assert events[0]["valid_rmse"] < 20


def test_balanced_weights_find_more_of_a_rare_class(context, fitted, mixed_table):
    table = mixed_table().with_columns((pl.col("price") > pl.col("price").quantile(0.93)).alias("sold"))
    found = []
    for weights in ("none", "balanced"):
        config = LinearConfig(penalty=0.01, class_weights=weights)
        task, _, estimator = fitted("sold", context("log_loss"), config=config, rows=table)
        found.append(
            task.scored(task.predictions(table["row"], estimator.forward(estimator.encode(table))))[:, 1].sum()
        )
    assert found[1] > 1.5 * found[0]


def test_no_rows_is_an_error(context, mixed_table, open_task):
    table = mixed_table(60)
    with pytest.raises(DataError, match="there are no rows to train on"):
        open_task(table, "price").estimator(LinearConfig(), TrainConfig()).fit(table.clear(), None, context("rmse"))
