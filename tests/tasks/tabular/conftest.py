"""Small tables, a task over them, and the context of a fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sanmaru.metrics.base import find_metric
from sanmaru.tables.roles import Roles
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.tabular.task import Tabular

MISSING = ("", "?", "NA")


def _mixed_table(n: int = 400, *, seed: int = 0) -> pl.DataFrame:
    """Numbers, booleans, categories, dates and missing values, and targets of every kind that depend on them."""
    generator = np.random.default_rng(seed)
    size = generator.normal(50, 10, n)
    rooms = generator.integers(1, 6, n)
    district = generator.choice(["강남", "마포", "노원", "성북"], n, p=[0.4, 0.3, 0.2, 0.1])
    lift = generator.random(n) < 0.5
    days = generator.integers(0, 700, n)
    price = size * 3 + rooms * 5 + np.where(district == "강남", 60, 0) + lift * 10 + generator.normal(0, 5, n)
    sold = (price + generator.normal(0, 15, n) > np.median(price)).astype(np.int64)
    return pl.DataFrame(
        {
            "row": np.arange(n),
            "size {m²}": pl.Series(np.where(generator.random(n) < 0.1, np.nan, size)).fill_nan(None),
            "rooms": rooms,
            "district": pl.Series(district.tolist()),
            "lift": lift,
            "listed": pl.Series(days + 18_000).cast(pl.Int32).cast(pl.Date).cast(pl.Datetime("us")),
            "price": price,
            "sold": sold,
            "band": pl.Series(np.array(["cheap", "fair", "dear"])[np.digitize(price, np.quantile(price, [0.3, 0.7]))]),
        }
    )


def _open_task(table: pl.DataFrame, target: str, **options: object) -> Tabular:
    features = tuple(name for name in table.columns if name not in {"row", "price", "sold", "band"})
    return Tabular.open(table, Roles(id="row", targets=(target,), features=features), missing=MISSING, **options)


@pytest.fixture
def mixed_table() -> Callable[..., pl.DataFrame]:
    return _mixed_table


@pytest.fixture
def open_task() -> Callable[..., Tabular]:
    return _open_task


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., FitContext]:
    """Make the context of a fit: `context("rmse")`."""

    def make(metric: str, **options: object) -> FitContext:
        folder = tmp_path / f"fold-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return FitContext(folder=folder, cache=tmp_path, seed=3, metric=find_metric(metric), **options)

    return make
