"""Prediction tables and scores of a task with one target."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from sanmaru.errors import DataError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.scoring import BaseScoredTask, classification_output, regression_output, usual_metrics


class Scored(BaseScoredTask):
    def __init__(self, target: pl.Series) -> None:
        make = regression_output if target.dtype.is_float() else classification_output
        self.roles = Roles(id="id", targets=(target.name,))
        self.outputs = (make(target),)
        self.metrics = usual_metrics(self.output, target)


CLASSES = pl.DataFrame({"id": ["r1", "r2", "r3", "r4"], "level": [3, 1, 10, 1]})
NUMBERS = pl.DataFrame({"id": [1, 2, 3], "price": [10.0, 20.0, 40.0]})


def test_a_prediction_table_holds_label_probabilities_and_logits() -> None:
    task = Scored(CLASSES["level"])
    logits = np.array([[0, 2, 0], [3, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    table = task.predictions(CLASSES["id"], logits)
    assert table.columns == ["id", "level", "level.probs", "level.logits"]
    assert table["level"].to_list() == [3, 1, 10, 3]
    assert table["level"].dtype == pl.Int64
    assert table["level.probs"].dtype == pl.Array(pl.Float32, 3)
    np.testing.assert_allclose(table["level.probs"].to_numpy().sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(task.outputs_of(table), logits)
    np.testing.assert_allclose(task.scored(table), table["level.probs"].to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(task.scored(table.drop("level.logits")), table["level.probs"].to_numpy(), rtol=1e-6)


def test_a_number_is_predicted_as_a_number() -> None:
    task = Scored(NUMBERS["price"])
    table = task.predictions(NUMBERS["id"], np.array([[9.0], [21.0], [40.0]], dtype=np.float32))
    assert table.columns == ["id", "price"]
    assert table["price"].dtype == pl.Float64
    assert task.score(NUMBERS, table)["mae"] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(task.outputs_of(table), [[9.0], [21.0], [40.0]])


def test_no_rows_give_an_empty_table() -> None:
    table = Scored(CLASSES["level"]).predictions(CLASSES["id"][:0], np.empty((0, 3), dtype=np.float32))
    assert table.height == 0
    assert table["level.probs"].dtype == pl.Array(pl.Float32, 3)


def test_scores_match_rows_by_id_in_any_order() -> None:
    task = Scored(CLASSES["level"])
    logits = np.array([[0, 2, 0], [3, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    table = task.predictions(CLASSES["id"], logits)
    scores = task.score(CLASSES, table[[2, 0, 3, 1]])
    assert list(scores) == ["macro_f1", "accuracy", "roc_auc", "log_loss"]
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx(f1_score(CLASSES["level"], table["level"], average="macro"))


def test_ids_that_do_not_match_are_refused_with_counts() -> None:
    task = Scored(NUMBERS["price"])
    table = task.predictions(pl.Series("id", [1, 2, 9]), np.ones((3, 1), dtype=np.float32))
    with pytest.raises(DataError, match="1 of 3 ids of the table are missing in the predictions"):
        task.score(NUMBERS, table)


def test_diverged_outputs_are_refused() -> None:
    outputs = np.array([[1.0], [np.nan], [np.inf]], dtype=np.float32)
    with pytest.raises(DataError, match=r"not finite for 2 of 3 rows \(first id 2\)"):
        Scored(NUMBERS["price"]).predictions(NUMBERS["id"], outputs)


def test_tables_that_lack_a_column_or_have_another_width_are_refused() -> None:
    task = Scored(CLASSES["level"])
    with pytest.raises(DataError, match="the table has no column 'level'"):
        task.truth(CLASSES.drop("level"))
    narrow = CLASSES.select("id").with_columns(pl.Series("level.probs", np.ones((4, 2)), dtype=pl.Array(pl.Float32, 2)))
    with pytest.raises(DataError, match="should hold 3 numbers per row"):
        task.scored(narrow)


def test_a_metric_that_the_rows_do_not_allow_is_left_out_of_the_scores() -> None:
    task = Scored(NUMBERS["price"])
    rows = NUMBERS.with_columns(price=pl.Series([0.0, 1.0, 2.0]))
    assert "mape" in task.metrics
    assert "mape" not in task.score(rows, task.predictions(rows["id"], np.ones((3, 1), dtype=np.float32)))


def test_diagnosis_leaves_out_rows_that_were_never_predicted() -> None:
    task = Scored(NUMBERS["price"])
    table = task.predictions(NUMBERS["id"][:2], np.array([[9.0], [21.0]], dtype=np.float32))
    titles = [section.title for section in task.diagnose(NUMBERS, table)]
    assert titles == ["Predicted against true", "Residuals", "Error by size of the target", "Worst rows"]


def test_combining_averages_probabilities() -> None:
    task = Scored(CLASSES["level"])
    sure, unsure = np.log([[0.8, 0.1, 0.1]]), np.log([[0.2, 0.4, 0.4]])
    mixed = task.combine([sure.astype(np.float32), unsure.astype(np.float32)])
    np.testing.assert_allclose(np.exp(mixed), [[0.5, 0.25, 0.25]], rtol=1e-5)
