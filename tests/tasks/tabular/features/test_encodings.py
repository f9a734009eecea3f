"""Encodings of categories: right numbers, and no row that learns from its own target."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import TargetEncoder

from sanmaru.errors import DataError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.tabular.features.config import CountEncodingConfig, TargetEncodingConfig, parse_steps
from sanmaru.tasks.tabular.features.count_encoding import CountEncoding
from sanmaru.tasks.tabular.features.keys import Lookup
from sanmaru.tasks.tabular.features.rows import Known, Places
from sanmaru.tasks.tabular.features.target_encoding import TargetEncoding
from sanmaru.tasks.tabular.task import Tabular


def places(n: int = 60, seed: int = 0) -> tuple[Places, np.ndarray, pl.DataFrame]:
    generator = np.random.default_rng(seed)
    table = pl.DataFrame(
        {
            "row": np.arange(n),
            "dong": [f"d{i}" for i in generator.integers(0, 8, n)],
            "floor": generator.integers(0, 3, n),
            "y": generator.normal(size=n),
        }
    )
    task = Tabular.open(table, Roles(id="row", targets=("y",), features=("dong", "floor")))
    return Places(task.schema), task.encoder.encode(table), table


def known(targets: np.ndarray, groups: np.ndarray | None = None, *, number: bool = True) -> Known:
    targets = targets.reshape(len(targets), -1).astype(np.float64)
    names = tuple("abcdefg"[: targets.shape[1]])
    return Known(targets=targets, names=names, number=number, groups=groups, seed=1)


@pytest.mark.parametrize("kind", ["regression", "binary", "multiclass"])
def test_new_rows_get_the_smoothed_means_of_scikit_learn(kind):
    where, matrix, table = places()
    generator = np.random.default_rng(2)
    truth = generator.normal(size=len(table)) if kind == "regression" else generator.integers(0, 3, len(table))
    truth = truth % 2 if kind == "binary" else truth
    targets = (truth[:, None] == np.arange(3)) if kind == "multiclass" else truth
    step = TargetEncoding(TargetEncodingConfig(columns=("dong",), smoothing=7.0), where)
    step.fit(matrix, known(np.asarray(targets)))
    reference = TargetEncoder(smooth=7.0, target_type={"regression": "continuous"}.get(kind, kind), cv=5)
    cells = table["dong"].to_numpy().reshape(-1, 1)
    assert step.apply(matrix) == pytest.approx(reference.fit(cells, truth).transform(cells))


def test_a_target_per_unit_is_divided_before_it_is_averaged():
    where, matrix, table = places()
    truth, floor = table["y"].to_numpy(), table["floor"].to_numpy()
    step = TargetEncoding(TargetEncodingConfig(columns=("dong",), smoothing=7.0, per="floor"), where)
    step.fit(matrix, known(truth))
    told = floor > 0  # the ground floor divides by nothing
    cells = table["dong"].to_numpy().reshape(-1, 1)
    reference = TargetEncoder(smooth=7.0, target_type="continuous").fit(cells[told], (truth / floor.clip(1))[told])
    assert step.columns == ("a per floor by dong",)
    assert step.apply(matrix) == pytest.approx(reference.transform(cells))


def test_a_target_per_unit_that_makes_no_sense_is_refused():
    where, matrix, table = places()
    step = TargetEncoding(TargetEncodingConfig(columns=("dong",), per="floor"), where)
    with pytest.raises(DataError, match=r"per: 'floor' divides a number, and the target is of classes"):
        step.fit(matrix, known(table["y"].to_numpy() > 0, number=False))
    with pytest.raises(DataError, match=r"per: 'floor' is positive in no training row"):
        step.fit(matrix[matrix[:, where.of("floor")] == 0], known(table.filter(pl.col("floor") == 0)["y"].to_numpy()))
    with pytest.raises(DataError, match=r"takes column 'dong' for numbers"):
        TargetEncoding(TargetEncodingConfig(columns=("floor",), per="dong"), where)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 59), st.floats(-1e6, 1e6), st.integers(2, 8))
def test_a_rows_encoding_never_depends_on_its_own_target(row, value, parts):
    where, matrix, table = places()
    config = TargetEncodingConfig(columns=("dong", ("dong", "floor")), parts=parts, smoothing=3)
    truth = table["y"].to_numpy().copy()
    before = TargetEncoding(config, where).fit(matrix, known(truth))
    truth[row] = value
    after = TargetEncoding(config, where).fit(matrix, known(truth))
    assert (before[row] == after[row]).all()


def test_rows_of_a_group_never_learn_from_each_other():
    where, matrix, table = places()
    groups = np.arange(60) // 6
    truth = table["y"].to_numpy().copy()
    before = TargetEncoding(TargetEncodingConfig(columns=("dong",)), where).fit(matrix, known(truth, groups))
    truth[groups == 4] += 1000
    after = TargetEncoding(TargetEncodingConfig(columns=("dong",)), where).fit(matrix, known(truth, groups))
    assert (before[groups == 4] == after[groups == 4]).all()
    assert (before[groups != 4] != after[groups != 4]).any()


def test_an_unknown_category_has_the_overall_mean_and_no_rows():
    where, matrix, table = places()
    encoding = TargetEncoding(TargetEncodingConfig(columns=("floor",), smoothing=0), where)
    encoding.fit(matrix, known(table["y"].to_numpy()))
    counts = CountEncoding(CountEncodingConfig(columns=("floor",)), where)
    counts.fit(matrix, known(table["y"].to_numpy()))
    strange = matrix[:1].copy()
    strange[0, where.of("floor")] = 77
    assert encoding.apply(strange)[0, 0] == pytest.approx(table["y"].mean())
    assert counts.apply(strange)[0, 0] == 0
    zero = matrix[matrix[:, where.of("floor")] == 0]
    assert np.expm1(counts.apply(zero[:1])[0, 0]) == pytest.approx(len(zero))


def test_an_unknown_category_may_be_missing_for_rows_old_and_new():
    where, matrix, table = places()
    alone = matrix.copy()
    alone[0, where.of("floor")] = 55  # in no other row
    encoding = TargetEncoding(TargetEncodingConfig(columns=("floor",), unknown="missing"), where)
    learned = encoding.fit(alone, known(table["y"].to_numpy()))
    assert np.isnan(learned[0, 0])
    assert not np.isnan(learned[1:]).any()
    strange = alone.copy()
    strange[1, where.of("floor")] = 77
    fresh = encoding.apply(strange)
    assert np.isnan(fresh[1, 0])
    assert not np.isnan(np.delete(fresh, 1)).any()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.5, np.nan]), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_key_of_two_columns_tells_pairs_apart(pairs):
    matrix = np.array(pairs, dtype=np.float64)
    lookup = Lookup([0, 1])
    codes = lookup.fit(matrix)
    names = [repr(row) for row in matrix.tolist()]
    assert len(set(codes.tolist())) == len(set(names)) == lookup.size
    assert len({(name, code) for name, code in zip(names, codes.tolist(), strict=True)}) == len(set(names))
    assert (lookup.codes(matrix) == codes).all()
    assert lookup.codes(np.array([[9.0, 0.0]])) == [lookup.size]


def test_a_random_target_stays_at_chance_behind_a_column_of_many_values(open_task, context):
    """With its own target in the encodings, the model would look almost perfect on its own rows and be misled."""
    from sanmaru.metrics.base import find_metric
    from sanmaru.tasks.outputs import softmax
    from sanmaru.tasks.tabular.config import LightGBMConfig
    from sanmaru.training.config import TrainConfig

    generator = np.random.default_rng(0)
    n = 1200
    table = pl.DataFrame(
        {
            "row": np.arange(n),
            "who": [f"w{i}" for i in generator.integers(0, 300, n)],
            "price": np.zeros(n),
            "sold": generator.integers(0, 2, n),
            "band": ["a"] * n,
        }
    )
    features = parse_steps([{"target_encoding": {"columns": ["who"], "smoothing": 1}}, {"count_encoding": ["who"]}])
    task = open_task(table, "sold", features=features)
    folds = np.arange(n) % 4
    scored = np.empty((n, 2))
    for fold in range(4):
        estimator = task.estimator(LightGBMConfig(trees=40), TrainConfig())
        estimator.fit(table.filter(pl.Series(folds != fold)), None, context("roc_auc"))
        held = table.filter(pl.Series(folds == fold))
        scored[folds == fold] = softmax(estimator.forward(estimator.encode(held)))
    assert find_metric("roc_auc")(table["sold"].to_numpy(), scored) == pytest.approx(0.5, abs=0.05)
