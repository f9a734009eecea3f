"""The steps of a project: resolved against a table once, made anew for each fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from sanmaru.errors import DataError
from sanmaru.tasks.tabular.features.config import (
    CountEncodingConfig,
    CyclicConfig,
    DatesConfig,
    Gain,
    GroupStatisticsConfig,
    NeighboursConfig,
    RatiosConfig,
    StepConfig,
    TargetEncodingConfig,
    TfidfConfig,
    parse_step,
)
from sanmaru.tasks.tabular.features.rows import Places, Step, check_steps
from sanmaru.tasks.tabular.features.tfidf import Terms, Tfidf, learn_terms
from sanmaru.tasks.tabular.schema import Schema

REFIT_ROWS = 50_000
"""Rows times steps up to which `features_gain: auto` fits the model again without each step."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The feature steps of a task, and the terms that its rows are counted for."""

    configs: tuple[StepConfig, ...] = ()
    terms: tuple[tuple[Terms, ...], ...] = ()
    """Per step, the text columns it counts; empty for steps that count none."""
    gain: Gain = "none"
    """How it is told what each of them gains; `auto` is decided when the steps are opened."""

    def __bool__(self) -> bool:
        return bool(self.configs)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return {
            "configs": [config.model_dump(mode="json") for config in self.configs],
            "gain": self.gain,
            "terms": [[one.to_json() for one in terms] for terms in self.terms],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Steps:
        """Rebuild from `to_json`."""
        return cls(
            configs=tuple(parse_step(config) for config in value["configs"]),  # type: ignore[misc]
            gain=value["gain"],
            terms=tuple(tuple(Terms.from_json(one) for one in terms) for terms in value["terms"]),
        )

    def make(self, schema: Schema) -> list[Step]:
        """Make unfitted steps."""
        places = Places(schema)
        start, made = places.width, []
        for config, terms in zip(self.configs, self.terms, strict=True):
            made.append(_make(config, places, terms, start))
            start += sum(len(one.terms) for one in terms)
        return made


def open_steps(
    steps: Literal["auto"] | Sequence[StepConfig],
    table: pl.DataFrame,
    schema: Schema,
    missing: Sequence[str],
    *,
    gain: Gain = "auto",
) -> Steps:
    """Resolve steps against the whole training table, without a look at its target.

    Raises:
        DataError: when a step names a column that is not there, or has none to work on.
    """
    if steps == "auto":
        from sanmaru.tasks.tabular.features.auto import auto_steps

        steps = auto_steps(schema)
    assert not isinstance(steps, str)
    check_steps(steps, schema)
    terms: list[tuple[Terms, ...]] = []
    for config in steps:
        learned: tuple[Terms, ...] = ()
        if isinstance(config, TfidfConfig):
            names = config.columns or tuple(one.name for one in schema.features if one.kind == "text")
            learned = tuple(learn_terms(config, table, names, missing))
        terms.append(learned)
    if gain == "auto":
        gain = "refit" if table.height * len(steps) <= REFIT_ROWS else "permute"
    opened = Steps(configs=tuple(steps), terms=tuple(terms), gain=gain)
    for config, step, learned in zip(opened.configs, opened.make(schema), opened.terms, strict=True):
        if not learned and not _works(config, step):
            raise DataError(
                f"features: {config.step} finds no column to work on. Name its columns, or leave the step out."
            )
    return opened


def _works(config: StepConfig, step: Step) -> bool:
    """Whether a step has columns to work on, as far as that is known before a fit."""
    if isinstance(config, DatesConfig | CyclicConfig | CountEncodingConfig):
        return bool(step.columns)
    if isinstance(config, TargetEncodingConfig):
        return bool(step.keys)  # type: ignore[attr-defined]
    return not isinstance(config, TfidfConfig)


def _make(config: StepConfig, places: Places, terms: Sequence[Terms], start: int) -> Step:
    match config:
        case DatesConfig():
            from sanmaru.tasks.tabular.features.dates import Dates

            return Dates(config, places)
        case CyclicConfig():
            from sanmaru.tasks.tabular.features.cyclic import Cyclic

            return Cyclic(config, places)
        case TargetEncodingConfig():
            from sanmaru.tasks.tabular.features.target_encoding import TargetEncoding

            return TargetEncoding(config, places)
        case CountEncodingConfig():
            from sanmaru.tasks.tabular.features.count_encoding import CountEncoding

            return CountEncoding(config, places)
        case GroupStatisticsConfig():
            from sanmaru.tasks.tabular.features.group_statistics import GroupStatistics

            return GroupStatistics(config, places)
        case RatiosConfig():
            from sanmaru.tasks.tabular.features.ratios import Ratios

            return Ratios(config, places)
        case NeighboursConfig():
            from sanmaru.tasks.tabular.features.neighbours import Neighbours

            return Neighbours(config, places)
        case TfidfConfig():
            return Tfidf(config, terms, start)
