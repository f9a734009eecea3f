"""`features: auto`: the steps that a table's columns speak for."""

from __future__ import annotations

from sanmaru.tables.propose_features import Looks, propose_steps
from sanmaru.tasks.tabular.features.config import StepConfig, parse_step
from sanmaru.tasks.tabular.schema import Feature, Schema


def auto_steps(schema: Schema) -> tuple[StepConfig, ...]:
    """Return the steps, the same as `sanmaru new` proposes; none where columns speak for none."""
    looks = [looks_of(feature) for feature in schema.features]
    return tuple(parse_step(step.content) for step in propose_steps(looks))  # type: ignore[misc]


def looks_of(feature: Feature) -> Looks:
    """What a feature shows to those who propose steps."""
    kind = "category" if feature.kind == "many" else feature.kind
    return Looks(
        name=feature.name,
        kind="other" if kind == "boolean" else kind,
        distinct=len(feature.categories),
        low=feature.low,
        high=feature.high,
        missing_share=feature.missing_fraction,
    )
