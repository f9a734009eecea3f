from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_pinball_loss

from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import Output
from sanmaru.tasks.quantile_errors import pinball_loss, quantile_section
from sanmaru.tasks.scoring import BaseScoredTask

OUTPUT = Output(name="price", kind="regression", dtype="float", quantiles=(0.05, 0.5, 0.975))


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_pinball_loss_is_that_of_scikit_learn(level):
    generator = np.random.default_rng(0)
    truth, predicted = generator.normal(size=(2, 50))
    assert pinball_loss(truth, predicted, level) == pytest.approx(mean_pinball_loss(truth, predicted, alpha=level))


def test_columns_are_named_by_percent():
    assert OUTPUT.quantile_names == ("price.q5", "price.q50", "price.q97.5")
    assert OUTPUT.width == 4
    assert Output.from_json(OUTPUT.to_json()) == OUTPUT
    old = {"name": "a", "kind": "regression", "classes": [], "dtype": "float"}
    assert Output.from_json(old).quantiles == ()


def test_a_prediction_table_gives_its_outputs_back():
    task = BaseScoredTask()
    task.roles, task.outputs = Roles(id="row", targets=("price",)), (OUTPUT,)
    outputs = np.array([[3, 1, 2, 5], [4, 0, 4, 9]], dtype=np.float32)
    table = task.predictions(pl.Series("row", [7, 8]), outputs)
    assert table.columns == ["row", "price", "price.q5", "price.q50", "price.q97.5"]
    assert table["price"].to_list() == [3, 4]
    np.testing.assert_array_equal(task.outputs_of(table), outputs)
    np.testing.assert_array_equal(task.scored(table), [3, 4])


def test_the_section_tells_coverage_and_names_a_wrong_one():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=4000)
    right = np.tile(np.quantile(truth, OUTPUT.quantiles), (4000, 1))
    section = quantile_section(OUTPUT, truth, right)
    assert not section.findings
    assert "lie 92.5% of the rows, 92.5% should" in section.lead
    wrong = quantile_section(OUTPUT, truth, right * [0.5, 1, 1])
    assert wrong.findings[0].kind == "quantile-coverage"
    assert "below the 0.05 quantile" in wrong.findings[0].evidence
