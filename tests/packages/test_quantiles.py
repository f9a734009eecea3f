"""Quantiles on their way through a package: answers, files, submissions and combinations."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sanmaru.experiments.combining import learn, nested
from sanmaru.metrics.base import find_metric
from sanmaru.packages.batch import predict_file
from sanmaru.packages.combine import METHODS, combine
from sanmaru.packages.package import Package
from sanmaru.serving.openapi import output_schema
from sanmaru.tasks.tabular.config import LinearConfig

NAMES = ["price", "price.q10", "price.q90"]


@pytest.fixture(scope="module")
def package(package_maker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantiles") / "package"
    package_maker(folder, "price", LinearConfig(penalty=0.01, quantiles=(0.1, 0.9)))
    return Package.load(folder)


def test_answers_and_tables_carry_the_quantiles(package, people_table):
    table = people_table()
    answers = package.answers(package.forward(package.encode_rows(table.head(3).to_dicts())))
    assert [list(answer) for answer in answers] == [NAMES] * 3
    predicted = package.predict(table)
    assert predicted.columns == ["id", *NAMES]
    assert answers[0]["price.q10"] == pytest.approx(predicted["price.q10"][0])
    inside = (table["price"] > predicted["price.q10"]) & (table["price"] <= predicted["price.q90"])
    assert inside.mean() == pytest.approx(0.8, abs=0.08)
    assert package.golden_test() == pytest.approx(0, abs=1e-5)
    assert package.outputs(table.clear()).shape == (0, 3)
    assert list(output_schema(package.output)) == NAMES


def test_files_carry_them_and_a_submission_takes_the_number(package, people_table, tmp_path):
    people_table(20).write_csv(tmp_path / "rows.csv")
    predict_file(package, tmp_path / "rows.csv", tmp_path / "out.csv")
    written = pl.read_csv(tmp_path / "out.csv")
    assert written.columns == ["id", *NAMES]
    sample = written.select("id", price=pl.lit(0.5))
    sample.write_csv(tmp_path / "sample.csv")
    predict_file(package, tmp_path / "rows.csv", tmp_path / "submission.csv", sample=tmp_path / "sample.csv")
    submission = pl.read_csv(tmp_path / "submission.csv")
    assert submission.columns == ["id", "price"]
    np.testing.assert_allclose(submission["price"], written["price"], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_combination_keeps_quantiles_in_order(method):
    generator = np.random.default_rng(0)
    outputs = [np.sort(generator.normal(size=(30, 4)), axis=1)[:, [1, 0, 2, 3]].astype(np.float32) for _ in range(2)]
    knots = [
        [{"value": np.sort(column).tolist(), "rank": ((np.arange(30) + 0.5) / 30).tolist()} for column in one.T]
        for one in outputs
    ]
    spec = {"method": method, "weights": [0.7, 0.3], "order": [1, 0], "knots": knots}
    spec |= {"coef": [[0.5, 0.6]], "intercept": [0.1]}
    found = combine(spec, outputs, "regression")
    assert found.shape == (30, 4)
    assert (np.diff(found[:, 1:], axis=1) >= 0).all()
    if method == "stack":
        point = 0.5 * outputs[0][:, 0] + 0.6 * outputs[1][:, 0] + 0.1
        np.testing.assert_allclose(found[:, 0], point, rtol=1e-5)
        mean = (outputs[0] + outputs[1]) / 2
        np.testing.assert_allclose(found[:, 1:] - found[:, :1], mean[:, 1:] - mean[:, :1], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_an_ensemble_learns_of_quantiles_can_be_applied(method):
    generator = np.random.default_rng(1)
    truth = generator.normal(size=60)
    outputs = [
        np.column_stack([point, point - 1, point + 1]).astype(np.float32)
        for point in (truth + generator.normal(scale=spread, size=60) for spread in (0.1, 0.5))
    ]
    folds = np.arange(60) % 3
    metric = find_metric("rmse")
    found = nested(method, outputs, truth, folds, metric=metric)
    assert found.shape == (60, 3)
    assert metric(truth, found[:, 0].astype(np.float64)) < 0.4
    assert (found[:, 1] < found[:, 2]).all()
    spec = learn(method, outputs, truth, folds, metric=metric)
    assert combine(spec, outputs, "regression").shape == (60, 3)
