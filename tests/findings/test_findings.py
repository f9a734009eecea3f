"""What the general sections find in small tables made to show one thing each."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from sanmaru.findings.correlation import correlation, spearman
from sanmaru.findings.distributions import distributions, edges_of, outlier_share
from sanmaru.findings.duplicates import find_duplicates
from sanmaru.findings.groups import groups
from sanmaru.findings.missing import missing
from sanmaru.findings.overview import overview
from sanmaru.findings.quarantine import quarantined
from sanmaru.findings.sample import sampled
from sanmaru.findings.sections import general_sections, opening_sections
from sanmaru.findings.source import Source
from sanmaru.html.blocks import Bars, Grid, Histogram, Page
from sanmaru.html.page import render
from sanmaru.tables.contract import Column, Quarantine, Violation
from sanmaru.tables.roles import Roles


def source(train, test=None, *, group=None, time=None, id="id", **more) -> Source:
    frame = pl.DataFrame(train)
    if id not in frame.columns:
        frame = frame.with_row_index(id)
    tests = None if test is None else pl.DataFrame(test)
    if tests is not None and id not in tests.columns:
        tests = tests.with_row_index(id, offset=10**6)
    features = tuple(c for c in frame.columns if c not in {id, "y", group, time})
    roles = Roles(id=id, targets=("y",), features=features, group=group, time=time)
    return Source(train=frame, test=tests, roles=roles, **more)


def kinds(section) -> list[str]:
    return [finding.kind for finding in section.findings]


def the(section, block):
    return next(b for b in section.blocks if isinstance(b, block))


def test_the_overview_counts_rows_and_roles():
    section = overview(source({"a": [1, None] * 200, "y": [0, 1] * 200}, {"a": [1]}))
    tiles = {label: value for label, value, _ in section.blocks[0].tiles}
    assert tiles["Rows"] == "400"
    assert tiles["Missing"] == "25 %"
    roles = {row[0]: row[1] for row in the(section, Grid).rows}
    assert roles == {"id": "id", "a": "feature", "y": "target"}
    assert section.findings == []


def test_few_rows_are_a_warning():
    assert kinds(overview(source({"a": [1, 2], "y": [0, 1]}))) == ["few-rows"]


def test_equal_rows_are_counted_inside_and_across():
    train = {"a": [1, 1, 1, 2, 3], "b": ["x", "x", "x", None, "z"], "y": [0, 0, 1, 0, 0]}
    found = find_duplicates(source(train, {"a": [2, 2, 9], "b": [None, None, "x"]}))
    assert found is not None
    assert found.repeated == 1  # the second row repeats the first, target included
    assert found.repeated_ids == ("1",)
    assert found.conflicting == 3  # all three of (1, x) disagree
    assert found.inside_test == 1
    assert found.across == 2  # missing equals missing


def test_equal_values_of_different_types_are_still_equal_across():
    found = find_duplicates(source({"a": [1.0, 2.0], "y": [0, 1]}, {"a": [2, 5]}))
    assert found is not None
    assert found.across == 1


def test_duplicates_match_a_brute_force_count():
    rng = np.random.default_rng(0)
    train = pl.DataFrame({"a": rng.integers(0, 8, 300), "b": rng.integers(0, 8, 300), "y": rng.integers(0, 2, 300)})
    test = pl.DataFrame({"a": rng.integers(0, 12, 200), "b": rng.integers(0, 12, 200)})
    found = find_duplicates(source(train, test))
    rows, keys = train.rows(), train.select("a", "b").rows()
    targets = {key: {row[2] for row in rows if row[:2] == key} for key in set(keys)}
    assert found is not None
    assert found.repeated == len(rows) - len(set(rows))
    assert found.conflicting == sum(len(targets[key]) > 1 for key in keys)
    assert found.across == sum(key in targets for key in test.rows())
    assert found.inside_test == 200 - len(set(test.rows()))


def test_a_table_of_pictures_has_no_rows_to_compare():
    frame = pl.DataFrame({"id": [1], "path": ["a.png"], "y": [0]})
    roles = Roles(id="id", targets=("y",), features=("path",), image="path")
    assert find_duplicates(Source(train=frame, roles=roles)) is None


def test_missing_and_constant_columns_are_named():
    n = 1000
    train = {
        "full": range(n),
        "half": [None, 1] * (n // 2),
        "empty": [None] * n,
        "same": ["k"] * n,
        "nearly": [1] * (n - 1) + [2],
        "y": [0, 1] * (n // 2),
    }
    section = missing(source(train, {**{k: v[:40] for k, v in train.items()}, "half": [1] * 40}))
    assert sorted(kinds(section)) == ["constant-column", "missing-differs", "mostly-missing", "nearly-constant"]
    bars = the(section, Bars)
    assert bars.labels == ["empty", "half"]
    assert dict(bars.series)["train"] == [100, 50]


def test_a_complete_table_says_so():
    section = missing(source({"a": [1, 2, 3], "y": [0, 1, 0]}))
    assert section.findings == []
    assert "None of the 1 features" in section.lead


def test_outliers_follow_tukey():
    values = np.array([*range(100), 1000, -1000], dtype=float)
    q1, q3 = np.quantile(values, [0.25, 0.75])
    expected = np.mean((values < q1 - 3 * (q3 - q1)) | (values > q3 + 3 * (q3 - q1)))
    assert outlier_share(values) == expected == pytest.approx(2 / 102)
    assert outlier_share(np.ones(5)) == 0


def test_whole_numbers_get_a_bin_each_and_long_tails_are_cut():
    assert edges_of(np.array([1.0, 2.0, 5.0])).tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    tail = np.r_[np.random.default_rng(0).normal(size=1000), 1e6]
    assert edges_of(tail)[-1] < 10
    assert len(edges_of(np.array([3.5, 3.5]))) == 2


def test_each_kind_of_column_gets_its_section():
    n = 60
    start = datetime(2024, 1, 1)
    train = {
        "number": np.linspace(0, 1, n),
        "word": ["a", "b", None] * 20,
        "when": [start + timedelta(days=i + (30 if i > 40 else 0)) for i in range(n)],
        "note": ["long text " * (i % 5) for i in range(n)],
        "y": [0, 1] * 30,
    }
    columns = [Column(name="note", kind="text")]
    sections = {s.title: s for s in distributions(source(train, columns=columns))}
    assert list(sections) == ["Numbers", "Categories", "Dates", "Texts"]
    dates = the(sections["Dates"], Grid).rows[0]
    assert dates[1:] == ["2024-01-01", "2024-03-30", 60, "1 day", "31 days", "2024-02-10"]
    assert the(sections["Texts"], Grid).rows[0][1:] == [0, 20, 40, 40, 0.2]
    assert the(sections["Categories"], Grid).rows[0] == ["word", 2, "a", 0.5, 0]
    assert the(sections["Numbers"], Grid).rows[0][1:7] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.5])


def test_rare_values_are_gathered():
    words = [f"w{i:03}" for i in range(50) for _ in range(50 - i)]
    section = distributions(source({"word": words, "y": [0] * len(words)}))[0]
    bars = the(section, Bars)
    assert len(bars.labels) == 11
    assert bars.labels[-1] == "40 others"
    assert sum(bars.series[0][1]) == len(words)


def test_infinite_values_are_a_problem_and_are_not_drawn():
    section = distributions(source({"a": [1.0, float("inf"), 2.0, float("nan")], "y": [0, 1, 0, 1]}))[0]
    assert kinds(section) == ["infinite-values"]
    assert sum(the(section, Histogram).series[0][1]) == 2


def test_spearman_agrees_with_scipy():
    rng = np.random.default_rng(1)
    table = pl.DataFrame({"a": rng.integers(0, 9, 80), "b": rng.normal(size=80), "c": rng.exponential(size=80)})
    assert spearman(table, table.columns) == pytest.approx(stats.spearmanr(table.to_numpy()).statistic)


def test_twin_columns_are_named_and_classes_are_not_correlated():
    x = np.random.default_rng(2).normal(size=300)
    section = correlation(source({"a": x, "b": np.exp(x), "c": -(x**3), "y": ["u", "v"] * 150}))
    assert section is not None
    assert kinds(section) == ["twin-columns"]
    assert section.findings[0].title.startswith("3 pairs")
    assert correlation(source({"a": x, "y": ["u", "v"] * 150})) is None


def test_a_numeric_target_takes_part_in_correlation():
    x = np.random.default_rng(3).normal(size=300)
    section = correlation(source({"a": x, "y": x + 0.1}))
    assert section is not None
    assert section.blocks[0].rows == ["y", "a"]
    assert section.findings == []  # tells too much of the target: the task says that, with its own means


def test_torn_groups_are_a_problem_only_without_a_grouped_split():
    train = {"who": [1, 1, 2, 2, 3, 3, 4, 4], "a": range(8), "y": [0, 1] * 4}
    assert kinds(groups(source(train, group="who"))) == ["group-torn"]
    assert kinds(groups(source(train, group="who", split="grouped"))) == []


def test_groups_and_ids_on_both_sides_are_found():
    train = {"id": ["a", "b", "c", "d"] * 10, "who": list(range(4)) * 10, "a": range(40), "y": [0, 1] * 20}
    test = {"id": ["x", "a"], "who": [0, 9], "a": [0, 0]}
    assert set(kinds(groups(source(train, test, group="who", split="grouped")))) == {"groups-across", "ids-across"}
    mostly_known = {"id": ["x", "z"], "who": [0, 1], "a": [0, 0]}
    section = groups(source(train, mostly_known, group="who", split="grouped"))
    assert kinds(section) == ["groups-across"]
    assert "too low" in section.findings[0].advice
    assert groups(source({"a": [1], "y": [0]})) is None


def test_rows_set_aside_are_counted_by_rule():
    broken = [
        Violation(row=i, id=f"r{i}", column="a", value="x", rule="not-a-number" if i else "missing-target", reason="r")
        for i in range(9)
    ]
    section = quarantined(source({"a": [1] * 91, "y": [0] * 91}, quarantine=Quarantine(tuple(broken))))
    assert section is not None
    assert section.findings[0].severity == "problem"
    assert "9 % of the rows" in section.findings[0].evidence
    assert dict(zip(the(section, Bars).labels, the(section, Bars).series[0][1], strict=True)) == {
        "missing-target": 1,
        "not-a-number": 8,
    }
    assert len(the(section, Grid).rows) == 6  # five examples of one rule, one of the other
    assert quarantined(source({"a": [1], "y": [0]})) is None


def test_a_sample_is_the_same_every_time_and_keeps_the_order():
    table = pl.DataFrame({"a": range(1000)})
    assert sampled(table, 100).equals(sampled(table, 100))
    assert sampled(table, 100)["a"].is_sorted()
    assert sampled(table, 1000) is table


ODD_TABLES = {
    "one row": {"a": [1.0], "b": ["x"], "y": [0]},
    "no rows": {
        "a": pl.Series([], dtype=pl.Float64),
        "b": pl.Series([], dtype=pl.String),
        "y": pl.Series([], dtype=pl.Int64),
    },
    "all missing": {
        "a": pl.Series([None] * 30, dtype=pl.Float64),
        "b": pl.Series([None] * 30, dtype=pl.String),
        "y": [1] * 30,
    },
    "no features": {"y": [0, 1] * 20},
    "huge": {"a": [1e308, -1e308, 0.0] * 20, "b": ["x" * 5000, "", "\x00"] * 20, "y": [0, 1, 2] * 20},
    "booleans": {"a": [True, False, None] * 20, "b": ["x"] * 60, "y": [0.5, 1.5, 2.5] * 20},
    "<script>": {"<script>alert(1)</script>": [1, 2] * 20, "b": ["<b>", "&"] * 20, "y": [0, 1] * 20},
}


@pytest.mark.parametrize("name", ODD_TABLES)
def test_odd_tables_are_reported_on(name):
    table = pl.DataFrame(ODD_TABLES[name])
    for test in (None, table.drop("y"), table.drop("y").head(0)):
        made = source(table, test)
        page = render(Page(title="p", sections=[*opening_sections(made), *general_sections(made)]))
        assert "<script>alert" not in page


@pytest.mark.slow
def test_a_million_rows_are_looked_at_in_bounded_time():
    import time

    rng = np.random.default_rng(0)
    n = 1_000_000
    table = pl.DataFrame(
        {f"n{i}": rng.normal(size=n) for i in range(6)}
        | {f"c{i}": pl.Series(rng.integers(0, 50, n)).cast(pl.String) for i in range(3)}
        | {"y": rng.integers(0, 2, n)}
    )
    made = source(table, table.drop("y").head(200_000))
    began = time.perf_counter()
    sections = general_sections(made)
    assert time.perf_counter() - began < 60
    assert any("fixed random sample" in section.lead for section in sections)
    duplicate = next(s for s in sections if s.title == "Duplicate rows")
    assert kinds(duplicate) == ["duplicates-across"]
