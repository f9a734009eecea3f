"""What a target column lets us learn, and labels to codes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanmaru.errors import DataError
from sanmaru.tasks.base import Output
from sanmaru.tasks.targets import (
    classification_output,
    codes,
    label_texts,
    labels_of,
    numbers,
    regression_output,
    typed_label,
    usual_metrics,
)


@pytest.mark.parametrize(
    ("values", "classes", "dtype"),
    [
        (["b", "a", "b"], ("a", "b"), "string"),
        ([10, 9, 10], ("9", "10"), "integer"),  # by value, not as text
        ([True, False], ("false", "true"), "boolean"),
        ([1.5, -1.0], ("-1.0", "1.5"), "float"),
        (["마스크", "맨얼굴"], ("마스크", "맨얼굴"), "string"),
    ],
)
def test_classes_are_sorted_and_keep_the_type(values: list[Any], classes: tuple[str, ...], dtype: str) -> None:
    output = classification_output(pl.Series("y", values))
    assert (output.classes, output.dtype, output.name, output.kind) == (classes, dtype, "y", "classification")


labels = st.one_of(
    st.lists(st.text(max_size=5), min_size=2),
    st.lists(st.integers(-(2**40), 2**40), min_size=2),
    st.lists(st.booleans(), min_size=2),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2),
)


@given(labels.filter(lambda values: len(set(map(str, values))) > 1 and len(set(values)) > 1))
def test_labels_come_back_from_their_codes(values: list[Any]) -> None:
    column = pl.Series("y", values)
    output = classification_output(column)
    back = labels_of(codes(column, output), output)
    assert back.equals(column)
    assert back.dtype == column.dtype


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "a"], r"one class only \('a' in all 2 rows\)"),
        (["a", None], "missing in 1 of 2 rows"),
        ([], "no rows to learn from"),
        ([f"id{n}" for n in range(1001)], "1001 classes in 1001 rows, more than 1000"),
    ],
)
def test_a_target_without_classes_is_refused(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        classification_output(pl.Series("y", values, dtype=pl.String))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("y", ["low", "high"]), r"not numeric \(it holds 'low', 'high'\)"),
        (pl.Series("y", [1.0, None]), "missing in 1 of 2 rows"),
        (pl.Series("y", [1.0, float("inf"), float("nan")]), "not finite in 2 of 3 rows"),
        (pl.Series("y", [3, 3]), "is 3 in all 2 rows"),
        (pl.Series("y", [], dtype=pl.Float64), "no rows to learn from"),
    ],
)
def test_a_target_without_numbers_is_refused(column: pl.Series, message: str) -> None:
    with pytest.raises(DataError, match=message):
        regression_output(column)


def test_a_label_read_in_another_type_is_the_same_label() -> None:
    output = Output(name="y", kind="classification", classes=("0", "1"), dtype="integer")
    for column in (pl.Series([1.0, 0.0]), pl.Series(["1", "0"]), pl.Series([1, 0], dtype=pl.Int8)):
        assert codes(column, output).tolist() == [1, 0]
    assert label_texts(pl.Series([1, 0]), "boolean").to_list() == ["true", "false"]
    assert label_texts(pl.Series([1, 0]), "float").to_list() == ["1.0", "0.0"]


def test_unknown_labels_are_counted() -> None:
    output = classification_output(pl.Series("y", ["a", "b"]))
    with pytest.raises(DataError, match=r"2 of 3 labels in 'y' are not among the 2 classes of the target 'y'"):
        codes(pl.Series("y", ["a", "c", None]), output)


def test_one_label_in_the_targets_own_type() -> None:
    assert typed_label(1, classification_output(pl.Series("y", [3, 7]))) == 7
    assert typed_label(0, classification_output(pl.Series("y", [True, False]))) is False


def test_numbers_that_are_none_are_counted() -> None:
    assert numbers(pl.Series(["1.5", "2"]), "y").tolist() == [1.5, 2.0]
    with pytest.raises(DataError, match="2 of 3 values of 'y' are missing or not finite"):
        numbers(pl.Series([1.0, None, np.inf]), "y")


def test_metrics_that_say_nothing_for_a_target_are_left_out() -> None:
    column = pl.Series("y", [-1.0, 0.0])
    assert usual_metrics(regression_output(column), column) == ("rmse", "mae", "r2")
    column = pl.Series("y", ["a", "b"])
    assert usual_metrics(classification_output(column), column)[0] == "macro_f1"
