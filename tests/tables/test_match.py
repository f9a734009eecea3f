from __future__ import annotations

import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tables.match import align


def test_positions_in_the_other_table() -> None:
    at = align(pl.Series([3, 1, 2]), pl.Series(["1", "2", "3"]), left_name="a", right_name="b")
    assert at.tolist() == [2, 0, 1]
    assert align(pl.Series([2.0]), pl.Series([1, 2]), left_name="a", right_name="b", subset=True).tolist() == [1]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ([1, 2, 3], [1], r"2 of 3 ids of a are missing in b \(e\.g\. '2', '3'\)"),
        ([1], [1, 2], r"b has 1 ids that a has not \(e\.g\. '2'\)"),
        ([1, 1], [1], r"1 ids stand more than once in a \(e\.g\. '1'\)"),
        ([1], [1, 1], "1 ids stand more than once in b"),
        ([1, None], [1], "1 rows of a have no id"),
        ([1, 5], [1, 9], "missing in b .*; b has 1 ids"),
    ],
)
def test_what_does_not_match_is_counted(left: list, right: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        align(pl.Series(left), pl.Series(right), left_name="a", right_name="b")
