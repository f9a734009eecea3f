"""Steps before any model: the same numbers in training, from files and from requests; gains; clear errors."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.tabular.config import LightGBMConfig, LinearConfig
from sanmaru.tasks.tabular.features.config import parse_steps
from sanmaru.tasks.tabular.features.featured import Featured
from sanmaru.tasks.tabular.importance import importance_sections
from sanmaru.tasks.tabular.task import Tabular
from sanmaru.training.config import TrainConfig

EVERY = [
    "dates",
    {"cyclic": ["listed"]},
    {"target_encoding": ["district", ["district", "rooms"]]},
    {"count_encoding": ["district"]},
    {"group_statistics": {"by": ["district"], "of": ["size {m²}"]}},
    {"ratios": [["size {m²}", "rooms"]]},
    {"neighbours": {"columns": ["size {m²}", "rooms"], "k": 5}},
    {"tfidf": {"columns": ["district"], "analyzer": "char", "ngrams": [1, 1]}},
]


@pytest.fixture
def table(mixed_table) -> pl.DataFrame:
    return mixed_table(260)


@pytest.mark.parametrize("target", ["price", "band"])
@pytest.mark.parametrize("model", [LightGBMConfig(trees=8), LinearConfig(penalty=0.1)], ids=["lightgbm", "linear"])
def test_a_row_has_the_same_answer_in_training_from_a_file_and_alone(model, target, table, open_task, context):
    task = open_task(table, target, features=parse_steps(EVERY))
    estimator = task.estimator(model, TrainConfig())
    assert isinstance(estimator, Featured)
    fold = context(task.metrics[0])
    estimator.fit(table[:180], table[180:200], fold)
    estimator.save(fold.folder / "estimator")
    loaded = Tabular.from_json(task.to_json()).load_estimator(fold.folder / "estimator")
    held = table[200:].with_columns(pl.lit("never seen").alias("district"))
    rows = held.to_dicts()
    first = estimator.forward(estimator.encode(held))
    assert (loaded.forward(loaded.encode(held)) == first).all()
    assert (loaded.forward(loaded.encode_rows(rows)) == first).all()
    alone = [loaded.forward(loaded.encode_rows([row])) for row in rows]
    assert (np.concatenate(alone) == first).all()
    made = [step["step"] for step in loaded.details()["steps_made"]]
    assert made == [step.step for step in task.steps.configs]


def test_a_step_that_names_no_column_is_told_with_the_nearest(table, open_task):
    with pytest.raises(DataError, match=r"column 'distric'.*Did you mean 'district'\?"):
        open_task(table, "price", features=parse_steps([{"target_encoding": ["distric"]}]))
    with pytest.raises(DataError, match=r"takes column 'district' for numbers.*data.types"):
        open_task(table, "price", features=parse_steps([{"ratios": [["rooms", "district"]]}]))
    with pytest.raises(DataError, match="neighbours found no columns called latitude and longitude"):
        open_task(table, "price", features=parse_steps(["neighbours"]))
    with pytest.raises(DataError, match="target_encoding finds no column to work on"):
        open_task(table, "price", features=parse_steps(["target_encoding"]))
    flat = table.with_columns(pl.lit(1).alias("rooms"))
    with pytest.raises(DataError, match="column 'rooms', which carries nothing: every row holds 1"):
        open_task(flat, "price", features=parse_steps([{"group_statistics": {"by": ["district"], "of": ["rooms"]}}]))


def test_auto_takes_what_columns_speak_for():
    generator = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            "row": range(400),
            "lat": generator.uniform(37, 38, 400),
            "lng": generator.uniform(126, 127, 400),
            "complex": [f"c{i}" for i in generator.integers(0, 90, 400)],
            "small": [f"s{i}" for i in generator.integers(0, 5, 400)],
            "y": generator.normal(size=400),
        }
    )
    task = Tabular.open(
        table, Roles(id="row", targets=("y",), features=("lat", "lng", "complex", "small")), features="auto"
    )
    assert [config.step for config in task.steps.configs] == ["target_encoding", "neighbours"]
    assert task.steps.configs[0].columns == ("complex",)


@pytest.mark.parametrize("gain", ["permute", "refit"])
def test_a_step_that_tells_the_target_gains_and_another_does_not(gain, context):
    generator = np.random.default_rng(0)
    where = generator.integers(0, 40, 700)
    height = generator.normal(size=40)
    table = pl.DataFrame(
        {
            "row": range(700),
            "place": [f"p{i}" for i in where],
            "noise": [f"n{i}" for i in generator.integers(0, 40, 700)],
            "flat": generator.normal(size=700),
            "y": height[where] + generator.normal(scale=0.2, size=700),
        }
    )
    steps = parse_steps([{"target_encoding": ["place"]}, {"target_encoding": ["noise"]}])
    roles = Roles(id="row", targets=("y",), features=("place", "noise", "flat"))
    task = Tabular.open(table, roles, features=steps, features_gain=gain)
    folds = []
    for fold in range(3):
        held = pl.Series(np.arange(700) % 3 == fold)
        fit = table.filter(~held)
        estimator = task.estimator(LightGBMConfig(trees=30, min_rows_per_leaf=40), TrainConfig())
        told = context("rmse")
        estimator.fit(fit, None, told)
        examined = task.examine(estimator, table.filter(held), told, fit=fit, selection=None)
        folds.append({**estimator.details(), **examined})
        assert not list(told.folder.glob("without-step-*"))
    steps_section, importance = importance_sections(folds)
    verdicts = [row[-1] for row in steps_section.blocks[1].rows]
    assert verdicts[0] == {"permute": "leaned on", "refit": "helps"}[gain]
    assert verdicts[1] in {"no gain shown", "hurts", "no use shown", "misleads"}
    assert steps_section.blocks[1].rows[0][1] == "y by place"
    bars, swarm = importance.blocks[:2]
    assert bars.labels[0] == "place"
    assert swarm.rows[0][0] == "y by place"
