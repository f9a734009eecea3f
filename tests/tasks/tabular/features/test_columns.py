"""Steps that make columns of other columns, against independent implementations."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import KNeighborsRegressor

from sanmaru.errors import DataError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.tabular.features import config as configs
from sanmaru.tasks.tabular.features.cyclic import Cyclic
from sanmaru.tasks.tabular.features.dates import Dates
from sanmaru.tasks.tabular.features.group_statistics import GroupStatistics
from sanmaru.tasks.tabular.features.neighbours import Neighbours
from sanmaru.tasks.tabular.features.ratios import Ratios, divide
from sanmaru.tasks.tabular.features.rows import Known, Places
from sanmaru.tasks.tabular.features.tfidf import TermCounter, Tfidf, learn_terms
from sanmaru.tasks.tabular.task import Tabular


def encoded(columns: dict[str, object]) -> tuple[Places, np.ndarray, pl.DataFrame]:
    table = pl.DataFrame({"row": range(len(next(iter(columns.values())))), **columns})  # type: ignore[arg-type]
    table = table.with_columns(pl.Series("y", np.linspace(0.5, 9.25, len(table))))
    task = Tabular.open(table, Roles(id="row", targets=("y",), features=tuple(columns)))
    return Places(task.schema), task.encoder.encode(table), table


def known(targets: np.ndarray) -> Known:
    return Known(targets=targets.astype(np.float64)[:, None], names=("y",), number=True, groups=None, seed=0)


moments = st.datetimes(datetime(1901, 1, 1), datetime(2099, 12, 31)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
"""To the millisecond, which is what a count of days holds over two centuries."""


@settings(max_examples=40, deadline=None)
@given(st.lists(moments, min_size=2, max_size=20, unique=True))
def test_parts_of_dates_are_those_of_polars(dates):
    where, matrix, table = encoded({"when": pl.Series(dates, dtype=pl.Datetime("us"))})
    parts = ("quarter", "week", "day_of_year", "weekend", "month_start", "month_end", "minute", "second")
    found = Dates(configs.DatesConfig(parts=parts), where).apply(matrix)
    when = table["when"].dt
    day = table["when"].dt.date()
    expected = [
        when.quarter(),
        when.week(),
        when.ordinal_day(),
        when.weekday() >= 6,
        day == day.dt.month_start(),
        day == day.dt.month_end(),
        when.minute(),
        when.second(),
    ]
    assert found.tolist() == np.stack([part.cast(pl.Float64).to_numpy() for part in expected], axis=1).tolist()


def test_days_between_dates_are_counted_and_missing_dates_stay_missing():
    start = [datetime(2026, 1, 1), datetime(2026, 1, 3, 12), None]
    end = [datetime(2026, 1, 11), datetime(2026, 1, 3), datetime(2026, 2, 1)]
    where, matrix, _ = encoded({"start": pl.Series(start), "end": pl.Series(end)})
    step = Dates(configs.DatesConfig(parts=()), where)
    assert step.columns == ("days from start to end",)
    assert step.apply(matrix)[:, 0].tolist()[:2] == [10.0, -0.5]
    assert np.isnan(step.apply(matrix)[2, 0])


def test_what_comes_round_lies_on_a_circle():
    where, matrix, _ = encoded({"hour": [0, 6, 12, 23], "wind": [0.0, 90.0, 180.0, 359.0]})
    step = Cyclic(configs.CyclicConfig(columns={"hour": 24, "wind": 360}), where)
    found = dict(zip(step.columns, step.apply(matrix).T, strict=True))
    assert found["hour (sine)"] == pytest.approx([0, 1, 0, np.sin(2 * np.pi * 23 / 24)])
    assert found["wind (cosine)"] == pytest.approx([1, 0, -1, np.cos(np.radians(359))])
    assert Cyclic(configs.CyclicConfig(), where).columns == ("hour (sine)", "hour (cosine)")
    with pytest.raises(DataError, match=r"does not know the cycle of column 'wind' \(0 to 359\)"):
        Cyclic(configs.CyclicConfig(columns=("wind",)), where)


def test_statistics_of_groups_are_those_of_polars():
    generator = np.random.default_rng(0)
    area = generator.normal(size=80).round(1)
    area[::9] = np.nan
    where, matrix, table = encoded({"dong": [f"d{i}" for i in generator.integers(0, 5, 80)], "area": area})
    names = ("mean", "std", "min", "median", "max", "count", "difference")
    step = GroupStatistics(configs.GroupStatisticsConfig(by=("dong",), of=("area",), statistics=names), where)
    found = step.fit(matrix, known(table["y"].to_numpy()))
    one = pl.col("area").fill_nan(None)
    expected = table.select(
        one.mean().over("dong").alias("mean"),
        one.std(ddof=0).over("dong").alias("std"),
        one.min().over("dong").alias("min"),
        one.median().over("dong").alias("median"),
        one.max().over("dong").alias("max"),
        one.count().over("dong").cast(pl.Float64).alias("count"),
        (one - one.mean().over("dong")).alias("difference"),
    ).to_numpy()
    assert found == pytest.approx(expected, nan_ok=True)
    strange = matrix[:1].copy()
    strange[0, 0] = 99
    assert np.isnan(step.apply(strange)[0, :5]).all()
    assert step.apply(strange)[0, 5] == 0


def test_a_rows_rank_in_its_group_counts_ties_half():
    where, matrix, _ = encoded({"dong": ["a"] * 4 + ["b"] * 2, "area": [1.0, 2.0, 2.0, 4.0, 7.0, np.nan]})
    config = configs.GroupStatisticsConfig(by=("dong",), of=("area",), statistics=("rank",))
    ranks = GroupStatistics(config, where).fit(matrix, known(np.zeros(6)))[:, 0]
    assert ranks[:5].tolist() == [0.125, 0.5, 0.5, 0.875, 0.5]
    assert np.isnan(ranks[5])


def test_division_by_zero_gives_no_value():
    out = divide(np.array([1.0, 0.0, np.nan, 1e300]), np.array([0.0, 2.0, 1.0, 1e-300]))
    assert np.isnan(out).tolist() == [True, False, True, True]


def test_auto_finds_the_quotient_that_tells_the_target():
    generator = np.random.default_rng(0)
    rooms, homes, noise = generator.uniform(1, 9, 900), generator.uniform(1, 9, 900), generator.normal(size=900)
    where, matrix, _ = encoded({"rooms": rooms, "homes": homes, "noise": noise})
    step = Ratios(configs.RatiosConfig(most=1), where)
    made = step.fit(matrix, known(rooms / homes))
    assert step.columns in {("rooms / homes",), ("homes / rooms",)}
    assert made.shape == (900, 1)


@pytest.mark.parametrize("sphere", [True, False])
def test_neighbours_are_those_of_scikit_learn(sphere):
    generator = np.random.default_rng(0)
    names = ("latitude", "longitude") if sphere else ("x", "y_axis")
    first, second = generator.uniform(37, 38, 200), generator.uniform(126, 127, 200)
    where, matrix, table = encoded({names[0]: first, names[1]: second})
    truth = table["y"].to_numpy()
    step = Neighbours(configs.NeighboursConfig(columns=names, k=(3, 7)), where)
    step.fit(matrix[:150], known(truth[:150]))
    points = np.stack([first, second], axis=1)
    points = np.radians(points) if sphere else points / points[:150].std(axis=0)
    found = step.apply(matrix[150:])
    for place, k in ((0, 3), (2, 7)):
        reference = KNeighborsRegressor(k, metric="haversine" if sphere else "euclidean").fit(points[:150], truth[:150])
        assert found[:, place] == pytest.approx(reference.predict(points[150:]))
        distances = reference.kneighbors(points[150:])[0].mean(axis=1) * (6371.0088 if sphere else 1)
        assert found[:, place + 1] == pytest.approx(distances, rel=1e-4)


def test_a_training_row_is_not_among_its_own_neighbours():
    generator = np.random.default_rng(0)
    where, matrix, _ = encoded({"a": generator.normal(size=60), "b": generator.normal(size=60)})
    config = configs.NeighboursConfig(columns=("a", "b"), k=1)
    truth = generator.normal(size=60)
    before = Neighbours(config, where).fit(matrix, known(truth))
    truth[5] = 1e6
    assert (Neighbours(config, where).fit(matrix, known(truth))[5] == before[5]).all()
    matrix[7, 0] = np.nan
    assert np.isnan(Neighbours(config, where).fit(matrix, known(truth))[7]).all()


@pytest.mark.parametrize("analyzer", ["word", "char"])
def test_terms_are_weighted_as_scikit_learn_weighs_them(analyzer):
    texts = ["강남 래미안 아파트", "강남 자이", "마포 래미안 Park", "park view 강남 강남", "", "자이 파크"]
    table = pl.DataFrame({"name": texts})
    config = configs.TfidfConfig(columns=("name",), analyzer=analyzer, terms=50)
    learned = learn_terms(config, table, ["name"], ())
    matrix = TermCounter(learned, ()).table(table)
    step = Tfidf(config, learned, 0)
    found = step.fit(matrix, known(np.zeros(6)))
    kept = [name.split("has ")[1].strip("'") for name in step.columns]
    sizes = (1, 1) if analyzer == "word" else (2, 3)
    pattern = {"token_pattern": r"\w+"} if analyzer == "word" else {}
    vocabulary = {term: i for i, term in enumerate(kept)}
    reference = TfidfVectorizer(analyzer=analyzer, ngram_range=sizes, vocabulary=vocabulary, **pattern)
    assert "강남" in kept
    assert found == pytest.approx(reference.fit_transform(texts).toarray())
