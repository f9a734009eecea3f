"""A fifth of the rows is kept aside by a fixed seed, and looked at once, by one score at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sanmaru.errors import DataError

SEED = 2026
PARTS = 5
"""One of so many equal parts is kept aside."""


def keep_aside(
    table: pl.DataFrame, *, strata: str | None = None, group: str | None = None, time: str | None = None
) -> np.ndarray:
    """Say which rows are kept aside: bool (n,), a fifth of them.

    Args:
        table: The rows, before anything was learned from them.
        strata: Column whose values (or ten quantile bins of a number) are spread evenly.
        group: Column of the entity that a row belongs to; entities stay whole.
        time: Column that orders rows in time: the last fifth is kept aside, and rows of one time stay together.

    Raises:
        DataError: when `time` is combined with another, or nothing would be left on one side.
    """
    from sanmaru.tables.config import SplitConfig
    from sanmaru.tables.roles import Roles
    from sanmaru.tables.split import split

    if time is not None:
        if strata or group:
            raise DataError(f"rows are kept aside by time or by strata and groups, got {time!r} and another.")
        order = table[time]
        edge = order.sort()[len(order) - max(1, len(order) // PARTS)]
        aside: np.ndarray = (order >= edge).to_numpy()
    else:
        # One fold of five is a fifth, with the promises that folds make: groups whole, strata even.
        numbered = table.with_columns(pl.int_range(len(table)).alias("__row__"))
        roles = Roles(id="__row__", targets=(strata,) if strata else (), group=group)
        classes = not (strata and table[strata].dtype.is_float())
        kind: Any = "-".join([*(["stratified"] if strata else []), *(["grouped"] if group else [])]) or "random"
        folds = split(numbered, roles, SplitConfig(kind=kind, folds=PARTS, seed=SEED), classes=classes)
        aside = folds.fold == 0
    if not 0 < aside.sum() < len(aside):
        raise DataError(f"{int(aside.sum())} of {len(aside)} rows would be kept aside; bring more rows.")
    return aside


def write_parts(table: pl.DataFrame, aside: np.ndarray, folder: Path, *, target: str | list[str]) -> dict[str, int]:
    """Write `train.csv`, `aside.csv` and, as a competition hands them out, `test.csv` without the target.

    Returns:
        How many rows are where.
    """
    rest, kept = table.filter(~aside), table.filter(aside)
    rest.write_csv(folder / "train.csv")
    kept.write_csv(folder / "aside.csv")
    kept.drop(target).write_csv(folder / "test.csv")
    return {"rows to learn from": len(rest), "rows kept aside": len(kept)}


def link(source: Path, place: Path) -> None:
    """Make `place` show the folder `source`: by a symbolic link, or a copy where there are none."""
    import shutil

    if place.is_symlink():
        place.unlink()
    if place.exists():
        return
    try:
        place.symlink_to(source.resolve(), target_is_directory=True)
    except OSError:
        shutil.copytree(source, place)
