"""What every kind of model for tables keeps: one suite for all."""

from __future__ import annotations

import json
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_pinball_loss

from sanmaru.errors import DataError
from sanmaru.tasks.base import RowEncoder
from sanmaru.tasks.tabular.config import CatBoostConfig, LightGBMConfig, LinearConfig
from sanmaru.tasks.tabular.models import MODELS
from sanmaru.tasks.tabular.target import choose_scale
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

SMALL = {
    "lightgbm": {"trees": 40, "leaves": 7, "learning_rate": 0.15},
    "catboost": {"trees": 60, "depth": 4, "learning_rate": 0.15},
    "linear": {"penalty": 1e-3},
    "neighbours": {},
    "network": {"width": 32, "blocks": 1, "members": 4, "dropout": 0.0},
}
TRAIN = TrainConfig(epochs=12, batch_size=32, learning_rate=1e-2)
SLACK = {"lightgbm": 0, "catboost": 0, "linear": 0, "network": 0.1, "neighbours": 0.25}
"""What less of the variance is asked of a kind on few rows, or on columns that say nothing."""
METRICS = {"price": "rmse", "sold": "roc_auc", "band": "macro_f1"}
TREES = ("lightgbm", "catboost")


def config(kind, **fields):
    if kind == "catboost":
        pytest.importorskip("catboost")
    return MODELS[kind][0](**{**SMALL[kind], **fields})


def test_every_kind_is_in_the_suite():
    assert set(SMALL) == set(MODELS)


@pytest.fixture
def opened(mixed_table, open_task):
    def make(target, n=400, **options):
        table = mixed_table(n)
        return open_task(table, target, **options), table

    return make


def fit(task, model, table, context, valid=True):
    estimator = task.estimator(model, TRAIN)
    estimator.fit(table[:300], table[300:] if valid else None, context)
    return estimator


def scored(task, estimator, table):
    return task.scored(task.predictions(table["row"], estimator.forward(estimator.encode(table))))


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("case", [("price", 0.8), ("sold", 0.7), ("band", 0.55)])
def test_it_learns_and_answers_as_before_when_loaded(kind, case, opened, context, tmp_path):
    target, least = case
    task, table = opened(target)
    estimator = fit(task, config(kind), table, context(METRICS[target]))
    held, truth = table[300:], task.truth(table[300:])
    found = scored(task, estimator, held)
    if target == "price":
        assert 1 - ((truth - found) ** 2).mean() / truth.var() > least - SLACK[kind]
    else:
        assert (found.argmax(axis=1) == truth).mean() > least
    estimator.save(tmp_path / "estimator")
    again = Tabular.from_json(json.loads(json.dumps(task.to_json()))).load_estimator(tmp_path / "estimator")
    assert isinstance(again, RowEncoder)
    rows = table.drop("price", "sold", "band").to_dicts()
    outputs = estimator.forward(estimator.encode(table))
    assert outputs.dtype == np.float32
    assert outputs.shape == (400, task.output.width)
    np.testing.assert_array_equal(again.forward(again.encode_rows(rows)), outputs)
    alone = np.concatenate([again.forward(again.encode_rows(rows[i : i + 1])) for i in range(5)])
    np.testing.assert_allclose(alone, outputs[:5], rtol=1e-5, atol=1e-6)
    assert again.forward(again.encode(table[:0])).shape == (0, task.output.width)
    assert json.loads(json.dumps(again.details())) == json.loads(json.dumps(estimator.details()))
    importance = estimator.details().get("importance", {"all": 1.0})
    assert sum(importance.values()) == pytest.approx(1.0)
    assert again.encoding == estimator.encoding


@pytest.mark.parametrize("kind", SMALL)
def test_unknown_categories_missing_values_and_absent_classes_are_survived(kind, mixed_table, open_task, context):
    table = mixed_table().sort("price")  # the dearest rows come last
    task = open_task(table, "band")
    estimator = task.estimator(config(kind), TRAIN)
    estimator.fit(table[:250], None, context("log_loss"))
    assert np.isfinite(estimator.forward(estimator.encode_rows([{"district": "부산"}, {"rooms": None}]))).all()


@pytest.mark.parametrize("kind", SMALL)
def test_no_rows_is_an_error(kind, mixed_table, open_task, context):
    table = mixed_table(60)
    estimator = open_task(table, "price").estimator(config(kind), TRAIN)
    with pytest.raises(DataError, match="there are no rows to train on"):
        estimator.fit(table.clear(), None, context("rmse"))


@pytest.mark.parametrize("kind", TREES)
def test_a_passed_deadline_ends_the_fit_with_what_it_has(kind, mixed_table, open_task, context):
    late = context("rmse", deadline_s=time.monotonic())
    table = mixed_table()
    assert fit(open_task(table, "price"), config(kind), table, late).details()["steps"] == 1
    assert "The deadline ended the fit" in (late.folder / "events.jsonl").read_text()


LEVELS = (0.1, 0.5, 0.9)


@pytest.mark.parametrize("kind", SMALL)
def test_quantiles_hold_the_share_of_rows_they_name(kind, mixed_table, open_task, context, tmp_path):
    """Noise that grows with a number: quantiles must spread with it, and beat constants by pinball loss."""
    generator = np.random.default_rng(0)
    n = 1500
    size = generator.uniform(1, 5, n)
    table = pl.DataFrame({"row": np.arange(n), "size": size, "price": 10 * size + size * generator.normal(size=n)})
    task = open_task(table, "price", quantiles=LEVELS)
    estimator = task.estimator(config(kind, quantiles=LEVELS), TRAIN)
    estimator.fit(table[:1000], table[1000:1100], context("rmse"))
    held, truth = table[1100:], table["price"].to_numpy()[1100:]
    outputs = estimator.forward(estimator.encode(held))
    assert outputs.shape == (400, 4)
    assert (np.diff(outputs[:, 1:], axis=1) >= 0).all()
    for place, level in enumerate(LEVELS, start=1):
        assert (truth <= outputs[:, place]).mean() == pytest.approx(level, abs=0.2 if kind == "network" else 0.08)
        constant = np.full(len(truth), np.quantile(table["price"].to_numpy()[:1000], level))
        own = mean_pinball_loss(truth, outputs[:, place], alpha=level)
        assert own < 0.4 * mean_pinball_loss(truth, constant, alpha=level)
    width = outputs[:, 3] - outputs[:, 1]
    wide = held["size"].to_numpy() > 3
    assert width[wide].mean() > 1.4 * width[~wide].mean()
    estimator.save(tmp_path / "estimator")
    again = task.load_estimator(tmp_path / "estimator")
    np.testing.assert_array_equal(again.forward(again.encode(held)), outputs)


@pytest.mark.parametrize("kind", SMALL)
def test_a_log_target_is_learned_for_rmsle_and_given_back(kind, mixed_table, open_task, context, tmp_path):
    table = mixed_table().with_columns((pl.col("price") / 40).exp())
    task = open_task(table, "price")
    estimator = fit(task, config(kind), table, context("rmsle"))
    assert estimator.scale.kind == "log"
    assert estimator.scale.shift == 1.0
    truth, found = task.truth(table[300:]), scored(task, estimator, table[300:])
    logs = np.log1p(truth)
    assert 1 - ((logs - np.log1p(found)) ** 2).mean() / logs.var() > 0.75 - SLACK[kind]
    estimator.save(tmp_path / "estimator")
    again = task.load_estimator(tmp_path / "estimator")
    np.testing.assert_array_equal(scored(task, again, table), scored(task, estimator, table))
    plain = fit(task, config(kind, target_transform="none"), table, context("rmse"))
    assert plain.scale.kind == "none"
    below = table.with_columns(pl.col("price") - 1000)
    asked = open_task(below, "price").estimator(config(kind, target_transform="log"), TRAIN)
    with pytest.raises(DataError, match="a logarithm needs targets of 0 or more, and 388 of 400 are below 0"):
        asked.fit(below, None, context("rmse"))


@pytest.fixture(scope="module")
def bent():
    """A target that rises with `a`, falls with `b`, and does neither with `c`, under much noise."""
    generator = np.random.default_rng(5)
    a, b, c = generator.uniform(-2, 2, (3, 400))
    noise = generator.normal(scale=1.5, size=400)
    table = pl.DataFrame({"row": np.arange(400), "a": a, "b": b, "c": c, "price": 20 + a - b + np.sin(3 * c) + noise})
    return table.with_columns((pl.col("price") > 20).cast(pl.Int64).alias("sold"))


@pytest.fixture(scope="module")
def monotone(bent, tmp_path_factory):
    """Fitted once per case: (columns, estimator)."""
    from sanmaru.metrics.base import find_metric
    from sanmaru.tables.roles import Roles
    from sanmaru.tasks.base import FitContext

    fitted = {}
    signs = {"a": "increasing", "b": "decreasing"}
    cases = [("price", "rmse", ()), ("price", "mae", ()), ("price", "rmsle", LEVELS), ("sold", "roc_auc", ())]
    for kind in TREES:
        for target, metric, levels in cases:
            if kind == "catboost":
                pytest.importorskip("catboost")
            elif levels:
                continue
            task = Tabular.open(bent, Roles(id="row", targets=(target,), features=("a", "b", "c")), quantiles=levels)
            estimator = task.estimator(config(kind, monotone=signs, quantiles=levels), TRAIN)
            folder = tmp_path_factory.mktemp("fold")
            context = FitContext(folder=folder, cache=folder, seed=3, metric=find_metric(metric))
            estimator.fit(bent[:320], bent[320:], context)
            fitted[kind, metric] = estimator
    return fitted


@settings(max_examples=40, deadline=None)
@given(point=st.tuples(*[st.floats(-3, 3)] * 3), step=st.floats(0, 4), which=st.sampled_from(["a", "b"]))
def test_monotone_columns_are_followed_everywhere(monotone, point, step, which):
    low = dict(zip("abc", point, strict=True))
    high = {**low, which: low[which] + step}
    for estimator in monotone.values():
        outputs = estimator.forward(estimator.encode_rows([low, high])).astype(np.float64)
        values = outputs[:, 1:] - outputs[:, :1] if estimator.problem == "binary" else outputs
        rise = values[1] - values[0] if which == "a" else values[0] - values[1]
        assert (rise >= -1e-5 * np.abs(values).max()).all()


def test_without_the_constraint_noise_bends_the_prediction(bent, context):
    """Or the property above would hold of any model."""
    from sanmaru.tables.roles import Roles

    task = Tabular.open(bent, Roles(id="row", targets=("price",), features=("a", "b", "c")))
    for kind in TREES:
        estimator = task.estimator(config(kind), TRAIN)
        estimator.fit(bent[:320], bent[320:], context("rmse"))
        line = [{"a": a, "b": 0.3, "c": 0.3} for a in np.linspace(-2, 2, 200).tolist()]
        assert (np.diff(estimator.forward(estimator.encode_rows(line))[:, 0]) < 0).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"quantiles": LEVELS}, "no monotone columns together with quantiles. Set model.kind: catboost"),
        ({"objective": "absolute"}, "no monotone columns together with objective: absolute"),
    ],
)
def test_lightgbm_says_what_monotone_columns_exclude(fields, message, mixed_table, open_task, context):
    table = mixed_table(60)
    task = open_task(table, "price", quantiles=fields.get("quantiles", ()))
    with pytest.raises(DataError, match=message):
        task.estimator(config("lightgbm", monotone={"rooms": "increasing"}, **fields), TRAIN).fit(
            table, None, context("rmse")
        )


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.parametrize(
    ("name", "message"),
    [("room", "which is not among the features. Did you mean 'rooms'"), ("district", "is not a column of numbers")],
)
def test_a_wrong_monotone_column_is_named(kind, name, message, opened, context):
    task, table = opened("price", 60)
    estimator = task.estimator(config(kind, monotone={name: "increasing"}), TRAIN)
    with pytest.raises(DataError, match=message):
        estimator.fit(table, None, context("rmse"))


def test_quantiles_of_classes_and_of_a_task_opened_without_are_refused(mixed_table, open_task):
    table = mixed_table(60)
    with pytest.raises(DataError, match="quantiles is for numbers, and the target 'band' is taken as classes"):
        open_task(table, "band", quantiles=(0.5,))
    with pytest.raises(DataError, match=r"predicts the quantiles \[0.5\] and the task was opened for \[\]"):
        open_task(table, "price").estimator(LightGBMConfig(quantiles=(0.5,)), TRAIN)


@pytest.mark.parametrize("model", [LightGBMConfig, CatBoostConfig, LinearConfig])
def test_levels_are_sorted_and_checked(model):
    assert model(quantiles=(0.9, 0.1)).quantiles == (0.1, 0.9)
    with pytest.raises(ValueError, match="a level stands twice"):
        model(quantiles=(0.5, 0.5))
    with pytest.raises(ValueError, match="less than 1"):
        model(quantiles=(10,))


@pytest.mark.parametrize(
    ("metric", "values", "heavy", "expected"),
    [
        ("rmse", "light", True, ("none", 0.0)),
        ("rmse", "heavy", True, ("log", 0.0)),
        ("rmse", "heavy", False, ("none", 0.0)),
        ("mape", "light", False, ("log", 0.0)),
        ("rmsle", "light", False, ("log", 1.0)),
        ("rmse", "zero", True, ("none", 0.0)),
        ("mape", "below", True, ("none", 0.0)),
    ],
)
def test_the_scale_follows_metric_and_tail(metric, values, heavy, expected):
    generator = np.random.default_rng(0)
    light = generator.normal(10, 1, 500)
    truth = {"light": light, "heavy": np.exp(light), "zero": np.append(np.exp(light / 2), 0), "below": light - 10}
    scale = choose_scale("auto", truth[values], metric, heavy_tails=heavy)
    assert (scale.kind, scale.shift) == expected
    back = scale.back(scale.forth(truth[values])[:, None])[:, 0]
    np.testing.assert_allclose(back, truth[values], rtol=1e-5, atol=1e-6)


def test_a_named_logarithm_takes_zeros():
    assert choose_scale("log", np.array([0.0, 5.0]), "rmse").shift == 1.0
    assert choose_scale("log", np.array([1.0, 5.0]), "rmse").shift == 0.0
