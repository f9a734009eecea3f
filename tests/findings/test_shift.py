"""Train against test: calibrated, so that equal tables stay silent and real differences are named."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from sanmaru.findings.shift import _codes, _deal, _distances, find_shifts, shift
from sanmaru.findings.source import Source
from sanmaru.tables.roles import Roles


def made(train: dict, test: dict, group: str | None = None) -> Source:
    a, b = pl.DataFrame(train).with_row_index("id"), pl.DataFrame(test).with_row_index("id")
    names = tuple(name for name in train if name != group)
    a = a.with_columns(pl.lit(0).alias("y"))
    return Source(train=a, test=b, roles=Roles(id="id", targets=("y",), features=names, group=group))


def table(rng, n: int, columns: int = 12) -> dict:
    numbers = {f"n{i}": rng.normal(size=n) for i in range(columns - 4)}
    words = {f"c{i}": rng.choice(list("abcdefgh"), size=n) for i in range(2)}
    many = {f"m{i}": [f"v{j}" for j in rng.integers(0, 400, n)] for i in range(2)}
    return numbers | words | many


def test_the_distance_of_numbers_is_that_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=120), rng.normal(0.4, 1.3, size=80).round(1)
    sides = np.r_[np.zeros(120, bool), np.ones(80, bool)]
    codes = _codes(pl.Series("a", a), pl.Series("a", b), ordered=True)
    assert _distances(codes, sides[None], ordered=True)[0] == pytest.approx(stats.ks_2samp(a, b).statistic)


def test_the_distance_of_categories_is_total_variation():
    sides = np.array([False] * 4 + [True] * 4)
    codes = _codes(pl.Series("a", ["x", "x", "y", None]), pl.Series("a", ["x", "z", "z", None]), ordered=False)
    # x: 0.5 against 0.25, y: 0.25 against 0, z: 0 against 0.5, missing: equal.
    assert _distances(codes, sides[None], ordered=False)[0] == pytest.approx(0.5)


def test_a_difference_is_named_and_its_size_is_right():
    rng = np.random.default_rng(1)
    train, test = table(rng, 1500), table(rng, 700)
    test["n3"] = test["n3"] + 0.8
    test["c1"] = np.where(rng.random(700) < 0.4, "new", test["c1"])
    found = find_shifts(made(train, test))
    assert {one.column for one in found if one.shown} == {"n3", "c1"}
    by_name = {one.column: one for one in found}
    # The distribution functions of N(0, 1) and N(0.8, 1) are 2 Φ(0.4) - 1 apart.
    assert by_name["n3"].distance == pytest.approx(2 * stats.norm.cdf(0.4) - 1, abs=0.05)
    assert by_name["c1"].distance == pytest.approx(0.4, abs=0.08)
    section = shift(made(train, test))
    assert section is not None
    evidence = {finding.title.split()[0]: finding.evidence for finding in section.findings}
    assert "never occur in train" in evidence["c1"]


def test_many_different_values_are_no_difference():
    rng = np.random.default_rng(2)
    train = {"name": [f"n{i}" for i in rng.integers(0, 5000, 400)]}
    test = {"name": [f"n{i}" for i in rng.integers(0, 5000, 200)]}
    found = find_shifts(made(train, test))
    assert not found[0].shown


def test_missing_values_count_as_a_value():
    rng = np.random.default_rng(3)
    train, test = {"a": rng.normal(size=600).tolist()}, {"a": [None if v < 0.3 else v for v in rng.random(400)]}
    train["b"], test["b"] = rng.normal(size=600).tolist(), rng.normal(size=400).tolist()
    test["b"] = [None if rng.random() < 0.3 else v for v in test["b"]]
    assert {one.column for one in find_shifts(made(train, test)) if one.shown} == {"a", "b"}


def test_equal_tables_raise_a_warning_in_at_most_one_of_twenty():
    alarms = 0
    trials = 40
    for seed in range(trials):
        rng = np.random.default_rng(100 + seed)
        alarms += any(one.shown for one in find_shifts(made(table(rng, 150), table(rng, 60)), seed=seed))
    # 5 % of 40 are 2; seven or more would happen by chance in about 4 of 1000 series.
    assert alarms < 7


def test_rows_of_a_group_do_not_make_a_difference_of_their_own():
    # 60 people with 20 rows each; what tells people apart is no difference between the tables.
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(8):
        levels = rng.normal(size=60)
        people = np.repeat(np.arange(60), 20)
        values = levels[people] + 0.1 * rng.normal(size=1200)
        is_test = people >= 40
        train = {"who": people[~is_test], "a": values[~is_test]}
        test = {"who": people[is_test], "a": values[is_test]}
        alarms += any(one.shown for one in find_shifts(made(train, test, group="who")))
    assert alarms <= 2


def test_dealing_keeps_groups_whole():
    groups = np.repeat(np.arange(30), 4)
    sides = np.arange(120) >= 80
    for deal in _deal(sides, groups, 20, np.random.default_rng(0)):
        assert all(len(set(deal[groups == g])) == 1 for g in range(30))
        assert 36 <= deal.sum() <= 44


def test_small_tests_are_not_judged():
    assert shift(made({"a": range(100)}, {"a": range(10)})) is None
