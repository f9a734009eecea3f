"""Rows of two tables matched by id; what does not match is refused, with counts."""

from __future__ import annotations

import numpy as np
import polars as pl

from sanmaru.errors import DataError


def align(left: pl.Series, right: pl.Series, *, left_name: str, right_name: str, subset: bool = False) -> np.ndarray:
    """Return, for each id of `left`, its position in `right`.

    Ids are compared as text, so that 7 in one file and "7" in another are the same row.

    Args:
        left: Ids, each once.
        right: Ids, each once; the same set as `left`.
        left_name: How to call the left table in a message.
        right_name: How to call the right table in a message.
        subset: Whether `right` may have ids that `left` has not.

    Returns:
        int64 (len(left),).

    Raises:
        DataError: when the sets differ or an id stands twice, with counts and examples.
    """
    sides = [pl.DataFrame({"id": _text(ids)}).with_row_index("at") for ids in (left, right)]
    problems = []
    for side, name in zip(sides, (left_name, right_name), strict=True):
        repeated = side["id"].filter(side["id"].is_duplicated()).unique(maintain_order=True)
        if len(repeated):
            problems.append(f"{len(repeated):,} ids stand more than once in {name} (e.g. {_some(repeated)})")
        if side["id"].null_count():
            problems.append(f"{side['id'].null_count():,} rows of {name} have no id")
    ours, theirs = sides
    absent = ours.join(theirs, on="id", how="anti", maintain_order="left")["id"].drop_nulls()
    extra = theirs.join(ours, on="id", how="anti", maintain_order="left")["id"].drop_nulls()
    if len(absent):
        problems.append(
            f"{len(absent):,} of {len(left):,} ids of {left_name} are missing in {right_name} (e.g. {_some(absent)})"
        )
    if len(extra) and not subset:
        problems.append(f"{right_name} has {len(extra):,} ids that {left_name} has not (e.g. {_some(extra)})")
    if problems:
        raise DataError(f"the rows of {left_name} and {right_name} do not match: " + "; ".join(problems) + ".")
    joined = ours.join(theirs, on="id", how="left", maintain_order="left")
    return joined["at_right"].cast(pl.Int64).to_numpy()


def _text(ids: pl.Series) -> pl.Series:
    if ids.dtype.is_float() and bool(((ids == ids.round()) | ids.is_null()).all()):
        ids = ids.cast(pl.Int64)  # an id column with a gap becomes 7.0 in other tools
    return ids.cast(pl.String)


def _some(ids: pl.Series) -> str:
    return ", ".join(repr(value) for value in ids.head(3).to_list())
