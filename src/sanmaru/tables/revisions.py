"""Late rows and revisions: what a newer reading of a long table says that an older one did not."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables.long import SERIES, TIME

KEYS = (SERIES, TIME)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Two readings made one."""

    table: pl.DataFrame
    """Every series and time of both, sorted; what is newer wins."""
    added: pl.DataFrame
    """`series` and `time` of rows that only the new reading has."""
    revised: pl.DataFrame
    """`series` and `time` of rows with another value than before."""
    late: int
    """Added rows that are older than the last one known of their series."""
    unchanged: int
    """Rows of the new reading that say nothing new."""

    @property
    def changed(self) -> pl.DataFrame:
        """`series` and `time` of every added or revised row, sorted: what depends on these must be done again."""
        return pl.concat([self.added, self.revised]).sort(*KEYS)


def merge_revisions(old: pl.DataFrame, new: pl.DataFrame) -> Merged:
    """Put a newer reading of a long table over an older one.

    A missing value in the new reading says nothing and leaves the old one; a value where there was none, or another
    value, is a revision. Columns that only one of the two has are kept.

    Args:
        old: A long table, one row per `series` and `time`; it may be empty.
        new: Rows of the same kind; of several rows for one time the last wins.

    Raises:
        DataError: when a table lacks `series` or `time`.
    """
    for name, table in (("old", old), ("new", new)):
        absent = [key for key in KEYS if key not in table.columns]
        if absent:
            raise DataError(f"the {name} table has no column {absent[0]!r}; a long table has {', '.join(KEYS)}.")
    new = new.unique(KEYS, keep="last", maintain_order=True)
    values = [name for name in new.columns if name not in KEYS]
    shared = [name for name in values if name in old.columns]
    if not old.width or not old.height:
        table = pl.concat([old, new], how="diagonal_relaxed") if old.width else new
        added = new.select(KEYS).sort(*KEYS)
        return Merged(table=table.sort(*KEYS), added=added, revised=added.clear(), late=0, unchanged=0)
    known = old.select(*KEYS, *shared, pl.lit(True).alias("__known"))
    beside = new.join(known, on=KEYS, how="left", suffix="__old", maintain_order="left")
    is_known = pl.col("__known").fill_null(False)
    differs = [
        pl.col(name).is_not_null() & pl.col(name).ne_missing(pl.col(f"{name}__old"))
        if name in shared
        else pl.col(name).is_not_null()
        for name in values
    ]
    changed = pl.any_horizontal(differs) if differs else pl.lit(False)
    added = beside.filter(~is_known).select(KEYS)
    revised = beside.filter(is_known & changed).select(KEYS)
    last = old.group_by(SERIES).agg(pl.col(TIME).max().alias("__last"))
    late = added.join(last, on=SERIES).filter(pl.col(TIME) < pl.col("__last")).height
    table = old.join(new, on=KEYS, how="full", coalesce=True, suffix="__new")
    table = table.with_columns(pl.coalesce(f"{name}__new", name).alias(name) for name in shared)
    table = table.drop(f"{name}__new" for name in shared)
    return Merged(
        table=table.sort(*KEYS),
        added=added.sort(*KEYS),
        revised=revised.sort(*KEYS),
        late=late,
        unchanged=new.height - added.height - revised.height,
    )
