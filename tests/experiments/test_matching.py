"""Rows and folds of two runs, compared whatever their order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import RunError
from sanmaru.experiments.matching import check_same, check_same_output, differences, fingerprint, validated


def test_the_order_of_rows_and_the_type_of_ids_do_not_matter(written_runs) -> None:
    made = written_runs("classes", 30)
    a, b = made.run(), made.run()
    rows = b.rows()
    rows[np.random.default_rng(0).permutation(30)].write_parquet(b.folder / "rows.parquet")
    assert not differences(a, b)
    assert fingerprint(a) == fingerprint(b)
    check_same([a, b])


def test_every_kind_of_difference_is_counted(written_runs) -> None:
    made = written_runs("classes", 30)
    a, b = made.run(keep=np.arange(28)), made.run(keep=np.arange(1, 30))
    rows = b.rows().with_columns(
        fold=pl.when(pl.col("id") < "r0004").then(pl.col("fold") + 1).otherwise(pl.col("fold")),
        y=pl.when(pl.col("id") == "r0010").then(pl.lit("other")).otherwise(pl.col("y")),
    )
    rows.write_parquet(b.folder / "rows.parquet")
    found = differences(a, b)
    assert (found.only_a, found.only_b, found.both, found.other_fold, found.other_target) == (1, 2, 27, 3, 1)
    assert fingerprint(a) != fingerprint(b)
    with pytest.raises(RunError, match=f"split.reuse={a.id}") as caught:
        check_same([a, b])
    assert f"1 rows only in {a.id}; 2 rows only in {b.id}; 3 rows of 27 in both lie in another fold" in str(
        caught.value
    )
    assert "1 rows of 27 in both have another target" in str(caught.value)


def test_runs_that_predict_other_things_are_told_apart(written_runs) -> None:
    a, b = written_runs("classes", 30).run(), written_runs("binary", 30).run()
    with pytest.raises(RunError, match=r"predict different things: 'y' \(classification, 3 classes\) and 'y'"):
        check_same_output([a, b])


def test_rows_that_were_never_validated_are_not_scored(written_runs) -> None:
    made = written_runs("regression", 30)
    run = made.run(folds=np.where(np.arange(30) < 6, -1, made.folds))
    found = validated(run, run.task())
    assert found.rows.height == len(found.truth) == len(found.folds) == 24
    assert found.groups is not None
    assert found.folds.min() >= 0
