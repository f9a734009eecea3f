from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import root_mean_squared_error

from sanmaru.metrics.base import find_metric
from sanmaru.packages.package import Package
from sanmaru.registry.gates import common_rows, compatible, intact, not_worse
from sanmaru.tables.contract import Column
from sanmaru.tasks.base import Output, Signature


def signature(*inputs: Column, classes: tuple[str, ...] = ("a", "b"), name: str = "y") -> Signature:
    output = Output(name=name, kind="classification", classes=classes)
    return Signature(task="tabular", id="id", inputs=inputs, outputs=(output,))


SIZE, CITY = Column(name="size", kind="number"), Column(name="city", kind="category")


@pytest.mark.parametrize(
    ("candidate", "passed", "text"),
    [
        (signature(SIZE, CITY), True, "same inputs (2) and outputs (1)"),
        (signature(CITY, SIZE), True, "same inputs"),
        (signature(SIZE, CITY, Column(name="age", kind="number")), True, "1 new optional inputs: age"),
        (signature(SIZE, CITY, Column(name="age", kind="number", required=True)), False, "requires a new input 'age'"),
        (signature(SIZE), False, "lacks the champion's inputs 'city'"),
        (signature(SIZE, Column(name="city", kind="number")), False, "the input 'city' was category and is number"),
        (signature(SIZE, Column(name="city", kind="text")), True, "same inputs"),
        (signature(Column(name="size", kind="number", required=True), CITY), False, "may no longer be missing"),
        (signature(SIZE, CITY, classes=("a", "c")), False, "(new: ['c'], gone: ['b'])"),
        (signature(SIZE, CITY, name="z"), False, "does not predict 'y'"),
    ],
)
def test_signatures(candidate, passed, text):
    check = compatible(candidate, signature(SIZE, CITY))
    assert check.passed == passed
    assert text in check.text


def test_an_integer_input_may_become_a_number_but_not_the_reverse():
    whole, number = Column(name="size", kind="integer"), Column(name="size", kind="number")
    assert compatible(signature(number), signature(whole)).passed
    assert not compatible(signature(whole), signature(number)).passed


def test_scores_on_common_rows_agree_with_scikit_learn(project, run_maker, table_maker):
    table = table_maker(100)
    ours = Package.load(run_maker(project, noise=4, noise_seed=1, table=table[:80]).package_folder)
    theirs_table = table[20:].sample(fraction=1, shuffle=True, seed=3)
    # Ten rows whose truth was corrected since are no longer the same rows.
    corrected = pl.when(pl.col("id") >= 70).then(pl.col("price") + 100).otherwise("price").alias("price")
    theirs_table = theirs_table.with_columns(corrected)
    theirs = Package.load(run_maker(project, noise=5, noise_seed=2, table=theirs_table).package_folder)
    rows = common_rows(ours, theirs)
    assert (len(rows.truth), rows.ours, rows.theirs) == (50, 80, 80)
    check = not_worse(ours, theirs, "the champion", find_metric("rmse"), tolerance=1.0)
    expected = []
    for package in (ours, theirs):
        judged = package.evaluation().filter(pl.col("id").is_between(20, 69))
        expected.append(root_mean_squared_error(judged["truth"], judged["price"]))
    assert f"RMSE {expected[0]:.4g} against {expected[1]:.4g} on 50 common rows" in check.text


def test_a_broken_package_has_no_golden_rows(project, run_maker):
    folder = run_maker(project).package_folder
    assert intact(folder, "")[0].passed
    check, package = intact(folder, "another fingerprint")
    assert (check.passed, package) == (False, None)
    assert "not the one that was registered" in check.text


def test_rows_that_were_never_validated_do_not_count(project, run_maker, table_maker):
    package = Package.load(run_maker(project, table=table_maker(60)).package_folder)
    folded = package.evaluation().with_columns(fold=pl.Series(np.where(np.arange(60) < 25, -1, 0)))
    package.evaluation = lambda: folded  # type: ignore[method-assign]
    assert common_rows(package, package).ours == 35
