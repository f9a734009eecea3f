from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sanmaru.html.blocks import Bars, Grid, Histogram, Lines
from sanmaru.tables.roles import Roles
from sanmaru.tasks.tabular.task import Tabular


def kinds(sections):
    return {finding.kind for section in sections for finding in section.findings}


@pytest.mark.parametrize("target", ["price", "sold", "band"])
def test_every_kind_of_target_is_explored(target, mixed_table, open_task):
    table = mixed_table()
    sections = list(open_task(table, target).explore(table, table.drop("price", "sold", "band")))
    titles = [section.title for section in sections]
    assert titles == [
        f"Target: {target}",
        "What each column tells of the target",
        "Features and target",
        "Missing values and the target",
    ]
    grid = sections[1].blocks[1]
    assert isinstance(grid, Grid)
    assert {row[0] for row in grid.rows} == {"size {m²}", "rooms", "district", "lift", "listed"}
    assert grid.rows[0][0] in {"size {m²}", "district"}
    drawn = {block.title: block for block in sections[2].blocks}
    assert isinstance(drawn["size {m²}"], Lines)
    assert isinstance(drawn["district"], Bars)
    assert len(drawn["district"].series) == (3 if target == "band" else 1)
    assert isinstance(sections[0].blocks[1], Histogram if target == "price" else Bars)
    assert "leak" not in kinds(sections)


@pytest.mark.parametrize("target", ["price", "sold", "band"])
def test_a_column_that_gives_the_target_away_is_found(target, mixed_table, open_task):
    table = mixed_table()
    copy = table[target] * 1000 + 7 if target == "price" else table[target].cast(pl.String) + " leaked"
    table = table.with_columns(copy.alias("contract"))
    sections = list(open_task(table, target).explore(table, None))
    leaks = [finding for section in sections for finding in section.findings if finding.kind == "leak"]
    assert [finding.title for finding in leaks] == ["contract alone nearly tells the target"]
    assert "data.drop" in leaks[0].advice


@pytest.mark.parametrize("target", ["price", "sold", "band"])
def test_an_hour_that_tells_of_the_target_and_is_not_learned_from_is_named(target, mixed_table):
    table = mixed_table().sort("price").with_columns(noon=pl.int_range(400) * 24 // 400)
    when = pl.datetime(2026, 1, 1) + pl.duration(days="rooms", hours="noon")
    table = table.with_columns(when=when, whenever=when.shuffle(seed=1))

    def found(time, features):
        task = Tabular.open(table, Roles(id="row", targets=(target,), features=features, time=time))
        return [one for section in task.explore(table, None) for one in section.findings if "time" in one.kind]

    (finding,) = found("when", ("rooms",))
    assert finding.title == "The hour of when tells of the target and is not learned from"
    assert "data.learn_time: true" in finding.advice
    assert found("when", ("rooms", "when")) == []  # it is
    assert found("whenever", ("rooms",)) == []  # it tells nothing


def test_missing_rows_are_compared_by_their_target(mixed_table, open_task):
    table = mixed_table()
    section = list(open_task(table, "price").explore(table, None))[3]
    (row,) = section.blocks[0].rows
    gone = table.filter(pl.col("size {m²}").is_null())
    assert row[:3] == ["size {m²}", len(gone), f"{len(gone) / 400:.1%}"]
    assert row[3] == pytest.approx(gone["price"].mean(), abs=1e-3)


def test_rare_classes_heavy_tails_caps_and_useless_columns_are_named(mixed_table, open_task):
    table = mixed_table().with_columns(pl.lit(1).alias("constant"))
    table = table.with_columns(pl.when(pl.col("row") < 5).then(pl.lit("odd")).otherwise("band").alias("band"))
    assert {"rare-classes", "useless-column"} <= kinds(list(open_task(table, "band").explore(table, None)))
    price = np.exp(np.random.default_rng(0).normal(scale=2, size=400))
    heavy = table.with_columns(pl.Series("price", price))
    sections = list(open_task(heavy, "price").explore(heavy, None))
    assert "heavy-tail" in kinds(sections)
    assert len(sections[0].blocks) == 3
    capped = table.with_columns(pl.col("price").clip(upper_bound=pl.col("price").quantile(0.9)))
    assert "capped-target" in kinds(list(open_task(capped, "price").explore(capped, None)))


def test_unknown_categories_of_the_test_rows_are_counted(mixed_table, open_task):
    table = mixed_table()
    test = table.drop("price").with_columns(
        pl.when(pl.col("row") < 100).then(pl.lit("부산")).otherwise("district").alias("district")
    )
    section = list(open_task(table, "price").explore(table, test))[-1]
    assert section.blocks[0].rows == [["district", "25.00%"]]
    assert section.findings[0].kind == "unknown-categories"
