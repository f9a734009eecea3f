from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.config import MISSING_MARKERS
from sanmaru.tables.contract import Column
from sanmaru.tables.roles import Roles
from sanmaru.tasks.find import task_class, task_from_json
from sanmaru.tasks.tabular.config import LightGBMConfig, LinearConfig
from sanmaru.tasks.tabular.task import Tabular, decide
from sanmaru.training.config import TrainConfig


@pytest.mark.parametrize(
    ("values", "expected", "reason"),
    [
        (["a", "b"], "classification", "y holds text"),
        ([True, False], "classification", "y holds true or false"),
        ([0.5, 1.0], "regression", "y holds numbers with decimals"),
        ([0, 1] * 10, "classification", "y holds 2 distinct whole numbers in 20 rows"),
        ([0.0, 1.0] * 10, "classification", "y holds 2 distinct whole numbers in 20 rows"),
        (list(range(30)) * 20, "regression", "y holds 30 distinct whole numbers in 600 rows"),
        ([1, 2, 3], "regression", "y holds 3 distinct whole numbers in 3 rows"),
    ],
)
def test_the_target_decides_the_kind_of_problem(values, expected, reason):
    assert decide(pl.Series("y", values), "auto") == (expected, reason)


def test_the_project_file_can_decide_instead():
    assert decide(pl.Series("y", [0, 1] * 10), "regression") == ("regression", "problem_type says regression")


@pytest.mark.parametrize(
    ("target", "metrics"),
    [
        ("price", ("rmse", "mae", "r2", "rmsle", "mape")),
        ("sold", ("roc_auc", "accuracy", "macro_f1", "log_loss")),
        ("band", ("macro_f1", "accuracy", "roc_auc", "log_loss")),
    ],
)
def test_the_usual_main_metric_comes_first(target, metrics, mixed_table, open_task):
    assert open_task(mixed_table(), target).metrics == metrics


def test_metrics_that_a_target_does_not_allow_are_left_out(mixed_table, open_task):
    table = mixed_table().with_columns(pl.col("price") - pl.col("price").mean())
    assert open_task(table, "price").metrics == ("rmse", "mae", "r2", "mape")


def test_a_task_survives_json(mixed_table, open_task):
    task = open_task(mixed_table(), "band")
    again = task_from_json(json.loads(json.dumps(task.to_json())))
    assert isinstance(again, task_class("tabular"))
    assert again.to_json() == task.to_json()
    assert again.encoding == task.encoding
    assert again.signature() == task.signature()


def test_the_signature_is_enough_to_draw_a_form(mixed_table, open_task):
    signature = open_task(mixed_table(), "sold").signature()
    columns = {column.name: column for column in signature.inputs}
    assert {name: column.kind for name, column in columns.items()} == {
        "size {m²}": "number",
        "rooms": "integer",
        "district": "category",
        "lift": "boolean",
        "listed": "date",
    }
    assert columns["district"].categories == ("강남", "마포", "노원", "성북")
    assert columns["rooms"].low == 1
    assert not any(column.required for column in signature.inputs)
    assert signature.outputs[0].classes == ("0", "1")
    example = {column.name: column.example for column in signature.inputs}
    assert np.isfinite(open_task(mixed_table(), "sold").encoder.encode_rows([json.loads(json.dumps(example))])).all()


def broken(table, **options):
    features = tuple(name for name in table.columns if name not in {"row", "y"})
    return Tabular.open(table, Roles(id="row", targets=("y",), features=features), **options)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"x": [], "y": []}, {}, "the table is empty"),
        ({"x": [1, 2], "y": ["a", "a"]}, {}, r"one class only \('a' in all 2 rows\)"),
        ({"x": [1, 2], "y": ["a", None]}, {}, "missing in 1 of 2 rows"),
        ({"x": [1, 2], "y": ["a", "b"]}, {"problem_type": "regression"}, "is not numeric"),
        ({"x": [1, 1], "y": [0.5, 2.5]}, {}, "no feature is left to learn from"),
        ({"x": [[1], [2]], "y": [0.5, 2.5]}, {}, "column 'x' holds List"),
    ],
)
def test_broken_tables_meet_one_clear_error(columns, options, message):
    table = pl.DataFrame(columns).with_row_index("row")
    with pytest.raises(DataError, match=message):
        broken(table, **options)


def test_one_target_that_is_there_is_needed():
    table = pl.DataFrame({"row": [1], "x": [1]})
    with pytest.raises(DataError, match="learns one target column, got 'a', 'b'"):
        Tabular.open(table, Roles(id="row", targets=("a", "b"), features=("x",)))
    with pytest.raises(DataError, match="no target column 'a'"):
        Tabular.open(table, Roles(id="row", targets=("a",), features=("x",)))


@pytest.mark.parametrize("model", [LightGBMConfig(trees=20), LinearConfig()])
def test_awkward_columns_are_learned_from(model, context):
    """Infinite numbers, a constant, an empty column, 10,000 texts, and categories that are numbers in the test rows."""
    generator = np.random.default_rng(0)
    n = 12_000
    size = generator.normal(size=n)
    y = size + generator.integers(0, 3, n)
    table = pl.DataFrame(
        {
            "row": np.arange(n),
            '이름: {"x"}[,]': np.where(np.arange(n) % 50 == 0, np.inf, size),
            "constant": np.ones(n),
            "empty": pl.Series([None] * n, dtype=pl.Float64),
            "street": [f"street {i}" for i in generator.integers(0, 10_000, n)],
            "zone": [str(int(zone)) for zone in np.round(y - size)],
            "y": y,
        }
    )
    task = broken(table)
    assert [name for name, _ in task.schema.dropped] == ["constant", "empty"]
    estimator = task.estimator(model, TrainConfig())
    estimator.fit(table[:2000], table[2000:2200], context("rmse"))
    as_texts, as_numbers = table[:500], table[:500].with_columns(pl.col("zone").cast(pl.Float64))
    outputs = estimator.forward(estimator.encode(as_texts))
    np.testing.assert_array_equal(outputs, estimator.forward(estimator.encode(as_numbers)))
    assert np.isfinite(outputs).all()
    assert ((outputs[:, 0] - y[:500]) ** 2).mean() < 0.5 * y.var()


def test_a_model_of_another_table_is_refused(mixed_table, open_task, context, tmp_path):
    table = mixed_table(100)
    task = open_task(table, "price")
    estimator = task.estimator(LinearConfig(penalty=1.0), TrainConfig())
    estimator.fit(table, None, context("rmse"))
    estimator.save(tmp_path / "estimator")
    other = open_task(table.drop("rooms"), "price")
    with pytest.raises(DataError, match="was learned on rows encoded as tabular-"):
        other.load_estimator(tmp_path / "estimator")


def test_an_image_network_is_no_tabular_model(mixed_table, open_task):
    with pytest.raises(TypeError, match="takes the config of a model for tables, got str"):
        open_task(mixed_table(), "price").estimator("network", TrainConfig())


@pytest.mark.parametrize(("model", "least"), [(LightGBMConfig(leaves=8, trees=300), 0.38), (LinearConfig(), 0.45)])
def test_diabetes_is_learned(model, least, context):
    """Progression of diabetes (Efron et al., 2004), as scikit-learn carries it; linear models reach R² 0.48 or so."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    table = pl.DataFrame(data.data, schema=data.feature_names).with_columns(pl.Series("y", data.target))
    table = table.with_row_index("row").sample(fraction=1.0, shuffle=True, seed=1)
    task = broken(table)
    assert task.output.kind == "regression"
    predictions = []
    for fold in range(5):
        held = pl.arange(len(table), eager=True) % 5 == fold
        estimator = task.estimator(model, TrainConfig())
        train = table.filter(~held)
        estimator.fit(train[:-40], train[-40:], context("rmse"))
        rows = table.filter(held)
        predictions.append(task.predictions(rows["row"], estimator.forward(estimator.encode(rows))))
    assert task.score(table, pl.concat(predictions))["r2"] > least


@pytest.mark.parametrize("model", [LightGBMConfig(trees=150, learning_rate=0.1), LinearConfig(penalty=1e-3)])
def test_adult_is_learned_from_text_with_missing_markers(model, shared_data, context):
    """The raw file with "?" for missing; published test ROC AUC lies at 0.90 (linear) and 0.92 to 0.93 (trees)."""
    train = pl.read_csv(shared_data / "adult" / "train.csv").with_row_index("row")[:12_000]
    test = pl.read_csv(shared_data / "adult" / "test.csv").with_row_index("row")[:4_000]
    features = tuple(name for name in train.columns if name not in {"row", "income"})
    columns = [Column(name=name, kind="category" if train[name].dtype == pl.String else "integer") for name in features]
    task = Tabular.open(
        train, Roles(id="row", targets=("income",), features=features), columns=columns, missing=MISSING_MARKERS
    )
    assert task.schema.features[1].missing_fraction > 0.05
    estimator = task.estimator(model, TrainConfig())
    estimator.fit(train[:10_800], train[10_800:], context("roc_auc"))
    rows = test.select(features).to_dicts()
    outputs = estimator.forward(estimator.encode_rows(rows))
    score = task.score(test, task.predictions(test["row"], outputs))
    assert score["roc_auc"] > (0.92 if isinstance(model, LightGBMConfig) else 0.895)
