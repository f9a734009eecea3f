"""`contract:` of the project file: what collected values must satisfy. What does not is set aside, value by value.

A row of a long table is a station's hour: that its temperature is impossible says nothing against its fine dust. So a
value that breaks a rule is taken out of its row, which goes on without it, and kept with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from sanmaru.config import Config

if TYPE_CHECKING:
    import polars as pl


class RuleConfig(Config):
    """What the values of one column must satisfy. A missing value breaks only `required`."""

    low: float | None = None
    """Smallest value that can be true."""
    high: float | None = None
    """Largest value that can be true."""
    allowed: Annotated[tuple[str | float, ...], Field(min_length=1)] | None = None
    """The only values that can be."""
    required: bool = False
    """Whether a value must be there."""

    @model_validator(mode="after")
    def _in_order(self) -> RuleConfig:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low: {self.low} lies above high: {self.high}")
        return self


def apply_rules(
    table: pl.DataFrame, rules: dict[str, RuleConfig], key: tuple[str, ...] = ("series", "time")
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take the values out of a table that break a rule.

    Args:
        table: Long table.
        rules: By column. A column that the table lacks counts as missing throughout.
        key: Columns that name a row.

    Returns:
        The table with such values missing, and one row per broken rule: the key, `column`, `value` (text), `rule`
        (`low`, `high`, `allowed`, `required`) and `reason`.
    """
    import polars as pl

    absent = [name for name in rules if name not in table.columns]
    whole = table.with_columns(pl.lit(None, pl.Float64).alias(name) for name in absent)
    cleaned, broken = whole, []
    for name, rule in rules.items():
        for short, wrong, reason in _checks(pl.col(name), rule):
            mask = whole.select(wrong.fill_null(False)).to_series()
            hits = whole.filter(mask)
            if hits.height:
                told = hits.select(*key, pl.col(name).cast(pl.String).fill_null("").alias("value"))
                broken.append(told.with_columns(column=pl.lit(name), rule=pl.lit(short), reason=pl.lit(reason)))
            if short != "required":
                # Decided on the table as it came: one value may break several rules, and each is told.
                cleaned = cleaned.with_columns(pl.when(mask).then(None).otherwise(pl.col(name)).alias(name))
    schema = {name: table.schema[name] for name in key}
    text = {name: pl.String() for name in ("column", "value", "rule", "reason")}
    empty = pl.DataFrame(schema={**schema, **text})
    return cleaned.select(table.columns), pl.concat([empty, *(one.select(empty.columns) for one in broken)])


def _checks(found: pl.Expr, rule: RuleConfig) -> list[tuple[str, pl.Expr, str]]:
    """Return (rule, what breaks it, why) of the rules that are set."""
    import polars as pl

    checks: list[tuple[str, pl.Expr, str]] = []
    if rule.low is not None:
        checks.append(("low", found < rule.low, f"below {rule.low:g}, which it cannot be"))
    if rule.high is not None:
        checks.append(("high", found > rule.high, f"above {rule.high:g}, which it cannot be"))
    if rule.allowed is not None:
        texts = all(isinstance(one, str) for one in rule.allowed)
        values = pl.Series([str(one) if texts else float(one) for one in rule.allowed])
        known = found.cast(pl.String if texts else pl.Float64).is_in(values.implode())
        checks.append(("allowed", found.is_not_null() & ~known, "not among the allowed values"))
    if rule.required:
        checks.append(("required", found.is_null(), "missing, and it must be there"))
    return checks
