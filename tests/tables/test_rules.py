"""What collected values must satisfy, and what is done with those that do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sanmaru.tables.rules import RuleConfig, apply_rules

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def long_table(**columns: list[object]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    times = pl.Series("time", [BEGIN + timedelta(hours=i) for i in range(n)], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"series": ["a"] * n, "time": times, **columns})


def test_only_the_wrong_value_is_taken_out_of_its_row() -> None:
    table = long_table(pm25=[12.0, -999.0, None, 2000.0], pm10=[30.0, 31.0, 32.0, 33.0])
    kept, broken = apply_rules(table, {"pm25": RuleConfig(low=0, high=1000)})
    assert kept["pm25"].to_list() == [12.0, None, None, None]
    assert kept["pm10"].to_list() == [30.0, 31.0, 32.0, 33.0]
    assert broken.select("column", "value", "rule").rows() == [
        ("pm25", "-999.0", "low"),
        ("pm25", "2000.0", "high"),
    ]
    assert broken["time"].to_list() == [BEGIN + timedelta(hours=1), BEGIN + timedelta(hours=3)]


def test_required_tells_and_takes_nothing() -> None:
    table = long_table(pm25=[None, 3.0])
    kept, broken = apply_rules(table, {"pm25": RuleConfig(required=True), "o3": RuleConfig(required=True)})
    assert kept.equals(table)
    assert broken.select("column", "rule").rows() == [("pm25", "required"), ("o3", "required"), ("o3", "required")]


def test_allowed_values_may_be_texts_or_numbers() -> None:
    table = long_table(wind=["NW", "cv", "XX"], code=[1.0, 2.0, 3.0])
    kept, broken = apply_rules(table, {"wind": RuleConfig(allowed=("NW", "cv")), "code": RuleConfig(allowed=(1, 2))})
    assert kept["wind"].to_list() == ["NW", "cv", None]
    assert kept["code"].to_list() == [1.0, 2.0, None]
    assert broken["value"].to_list() == ["XX", "3.0"]


def test_bounds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"low: 5.0 lies above high: 1.0"):
        RuleConfig(low=5, high=1)


@given(
    st.lists(st.one_of(st.none(), st.floats(-50, 50)), min_size=1, max_size=40), st.floats(-20, 20), st.floats(0, 20)
)
def test_no_value_is_lost(values: list[float | None], low: float, length: float) -> None:
    table = long_table(x=pl.Series(values, dtype=pl.Float64).to_list()).with_columns(pl.col("x").cast(pl.Float64))
    kept, broken = apply_rules(table, {"x": RuleConfig(low=low, high=low + length)})
    within = [None if value is None or not low <= value <= low + length else value for value in values]
    assert kept["x"].to_list() == within
    assert broken.height == sum(value is not None for value in values) - sum(value is not None for value in within)
    assert kept.select("series", "time").equals(table.select("series", "time"))
