"""What a proposal says of a table's odd cells and of the feature steps its columns speak for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from sanmaru.tables.config import MISSING_MARKERS, MISSING_WORDS
from sanmaru.tables.odd import Oddity, oddities, told, twins
from sanmaru.tables.profile import Profile
from sanmaru.tables.propose_features import Looks, propose_steps
from sanmaru.tables.roles import Roles

ALL_MARKERS = (*MISSING_MARKERS, *MISSING_WORDS)


def odd_reasons(
    table: pl.DataFrame, columns: Mapping[str, Profile], features: Sequence[str], target: str, id_: str | None
) -> dict[str, str]:
    """Say how odd cells are read, under the keys of the project file that change it.

    Args:
        table: As it was read, untyped.
        columns: What was told of them.
        features: Columns to learn from.
        target: The column to predict.
        id_: The column that names rows, where there is one.
    """
    found: list[Oddity] = []
    for name in (*features, target):
        markers = MISSING_MARKERS if name == target else ALL_MARKERS
        found += oddities(table[name], columns[name].column, markers)
    why = {}
    for key, kinds in (
        ("data.missing", {"missing-marker"}),
        ("data.types", {"unit", "thousands", "words", "date-format"}),
    ):
        sentences = told([one for one in found if one.kind in kinds])
        if sentences:
            why[key] = "; ".join(sentences) + "."
    same = twins(table.select(list(columns)), Roles(id=id_ or "", targets=(target,)))
    copies = int((same.is_not_null() & ~same.is_first_distinct()).sum())
    if copies:
        why["data.duplicates"] = (
            f"{copies:,} rows equal an earlier one. They are kept; drop leaves them out, so that none is learned from "
            "and scored on at once."
        )
    return why


def steps(columns: Mapping[str, Profile], features: Sequence[str]) -> list[tuple[dict[str, Any], str]]:
    """The feature steps that columns speak for, each with its reason."""
    looks = [_looks(columns[name]) for name in features]
    return [(step.content, step.why) for step in propose_steps(looks)]


def _looks(column: Profile) -> Looks:
    low = high = None
    if column.is_number and column.distinct:
        low, high = float(column.values.min()), float(column.values.max())  # type: ignore[arg-type]
    again = 0
    if column.kind == "category":
        counts = column.values.drop_nulls().value_counts(name="#n")["#n"]
        again = int((counts > 1).sum())
    kinds = {"integer": "number", "number": "number", "category": "category", "text": "text", "date": "date"}
    return Looks(
        name=column.name,
        kind=kinds.get(column.kind, "other"),  # type: ignore[arg-type]
        distinct=again,
        low=low,
        high=high,
        missing_share=column.missing_share,
    )
