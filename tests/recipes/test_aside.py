from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.recipes.aside import keep_aside, link, write_parts


def people(n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "id": np.arange(n),
            "person": rng.integers(0, 60, n),
            "day": [f"2022-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(n)],
            "price": rng.lognormal(size=n),
            "answer": np.where(rng.random(n) < 0.1, "yes", "no"),
        }
    )


def test_a_fifth_is_kept_aside_the_same_each_time() -> None:
    table = people()
    aside = keep_aside(table)
    assert aside.sum() == 60
    assert (keep_aside(table) == aside).all()


def test_strata_are_even_and_groups_whole() -> None:
    table = people()
    aside = keep_aside(table, strata="answer")
    yes = (table["answer"] == "yes").to_numpy()
    assert abs(yes[aside].sum() - yes.sum() / 5) < 1
    aside = keep_aside(table, strata="answer", group="person")
    person = table["person"].to_numpy()
    assert not set(person[aside]) & set(person[~aside])
    assert 0.15 < aside.mean() < 0.25


def test_numbers_are_spread_over_their_range() -> None:
    table = people(1000)
    aside = keep_aside(table, strata="price")
    top = (table["price"] > table["price"].quantile(0.9)).to_numpy()
    assert abs(int(top[aside].sum()) - 20) <= 2


def test_the_last_fifth_of_the_time_is_kept_and_no_day_is_torn() -> None:
    table = people().with_columns(pl.col("day").str.slice(0, 7))  # months
    aside = keep_aside(table.sample(fraction=1, shuffle=True, seed=1), time="day")
    days = table.sample(fraction=1, shuffle=True, seed=1)["day"].to_numpy()
    assert max(days[~aside]) < min(days[aside])


def test_time_goes_alone_and_something_is_left() -> None:
    with pytest.raises(DataError, match="by time or by strata"):
        keep_aside(people(), time="day", group="person")
    with pytest.raises(DataError, match="5 of 5 rows would be kept aside"):
        keep_aside(people(5).with_columns(day=pl.lit("2022-01-01")), time="day")


def test_the_test_table_has_no_target(tmp_path: Path) -> None:
    table = people()
    counts = write_parts(table, keep_aside(table), tmp_path, target=["answer", "price"])
    assert counts == {"rows to learn from": 240, "rows kept aside": 60}
    assert pl.read_csv(tmp_path / "test.csv").columns == ["id", "person", "day"]
    assert pl.read_csv(tmp_path / "aside.csv").columns == table.columns


def test_a_link_shows_the_folder_and_is_renewed(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.txt").write_text(name)
        link(tmp_path / name, tmp_path / "pictures")
        assert (tmp_path / "pictures" / "file.txt").read_text() == name
