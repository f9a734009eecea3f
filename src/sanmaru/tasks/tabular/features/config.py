"""Feature steps as the project file names them.

A list of names and mappings: `features: [dates, {target_encoding: {columns: [dong], smoothing: 20}}]`. A step's one
leading field may stand alone: `{ratios: [[rooms, households]]}` is `{ratios: {pairs: [[rooms, households]]}}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator

from sanmaru.config import Config
from sanmaru.errors import nearest

Key = str | tuple[str, ...]
"""A column, or several whose values together make one key."""
DatePart = Literal["quarter", "week", "day_of_year", "weekend", "month_start", "month_end", "minute", "second"]
Gain = Literal["auto", "permute", "refit", "none"]
"""How it is told what a step gains: its columns shuffled among held rows, the model fitted without it, or not."""
Statistic = Literal["mean", "std", "min", "median", "max", "count", "rank", "difference"]


class BaseStep(Config):
    """A step of one kind."""

    leading: ClassVar[str] = "columns"
    """The field that may be given without its name."""

    def used(self) -> tuple[str, ...]:
        """Columns that the step names."""
        return _flat(getattr(self, self.leading))


class DatesConfig(BaseStep):
    """More parts of dates than every model gets (days, year, month, day, weekday, hour), and spans between dates."""

    step: Literal["dates"] = "dates"
    columns: tuple[str, ...] | None = None
    """Columns of dates; all where absent."""
    parts: tuple[DatePart, ...] = ("quarter", "week", "day_of_year", "weekend", "month_start", "month_end")
    between: bool = True
    """Also the days between each two of the columns."""


class CyclicConfig(BaseStep):
    """Sine and cosine of what comes round: hours, weekdays, months, angles, so that 23 and 0 are neighbours."""

    step: Literal["cyclic"] = "cyclic"
    columns: tuple[str, ...] | dict[str, Annotated[float, Field(gt=0)]] | None = None
    """Columns of dates, or of numbers; a mapping also says the length of the cycle (`{wind_direction: 360}`).
    Where absent: all dates, and numbers called hour, weekday, month ... that lie in the cycle."""


class TargetEncodingConfig(BaseStep):
    """Each category's mean target (share of each class), drawn to the overall mean (Micci-Barreca, 2001).

    Training rows get theirs from other training rows only (inner folds), so that no row sees its own target.
    """

    step: Literal["target_encoding"] = "target_encoding"
    columns: tuple[Key, ...] | None = None
    """Columns; a list among them is one key of several columns. Where absent: categories with many values."""
    smoothing: Annotated[float, Field(ge=0)] = 20.0
    """Rows' worth of the overall mean that each category's is mixed with."""
    parts: Annotated[int, Field(ge=2, le=50)] = 5
    """Inner folds for the training rows."""
    per: str | None = None
    """A column of numbers that a regression target is divided by before it is averaged, such as the area of a flat:
    prices per square metre compare where prices do not. Rows where it is missing or not positive tell nothing."""
    unknown: Literal["mean", "missing"] = "mean"
    """What a category gets that no other row has: the overall mean, or nothing, which trees then learn to know."""

    def used(self) -> tuple[str, ...]:
        """Columns that the step names."""
        return (*super().used(), *(() if self.per is None else (self.per,)))


class CountEncodingConfig(BaseStep):
    """How often a category, or a key of several, occurs among the training rows: log(1 + rows)."""

    step: Literal["count_encoding"] = "count_encoding"
    columns: tuple[Key, ...] | None = None
    """As for `target_encoding`."""


class GroupStatisticsConfig(BaseStep):
    """What other columns are like in the rows of the same group: mean, spread, and where a row stands among them."""

    leading: ClassVar[str] = "by"
    step: Literal["group_statistics"] = "group_statistics"
    by: tuple[Key, ...]
    """Columns that make the groups; a list among them is one key of several columns."""
    of: tuple[str, ...]
    """Columns of numbers."""
    statistics: tuple[Statistic, ...] = ("mean", "std", "count", "rank")
    """`rank` is the fraction of the group's values below the row's, `difference` the row's value less the mean."""

    def used(self) -> tuple[str, ...]:
        """Columns that the step names."""
        return (*_flat(self.by), *self.of)


class RatiosConfig(BaseStep):
    """Quotients of two columns of numbers."""

    leading: ClassVar[str] = "pairs"
    step: Literal["ratios"] = "ratios"
    pairs: Literal["auto"] | tuple[tuple[str, str], ...] = "auto"
    """(numerator, denominator). `auto` tries each pair inside the fold and keeps those that tell more of the target
    than both of their columns do."""
    most: Annotated[int, Field(ge=1, le=100)] = 5
    """Pairs that `auto` keeps."""

    def used(self) -> tuple[str, ...]:
        """Columns that the step names."""
        return () if self.pairs == "auto" else _flat(self.pairs)


class NeighboursConfig(BaseStep):
    """What the nearest rows by coordinates hold, and how far they are.

    Training rows look among the rows of other inner folds only, so that no row sees its own target.
    """

    step: Literal["neighbours"] = "neighbours"
    columns: tuple[str, ...] | None = None
    """Coordinates: latitude and longitude, or any numbers (then each is scaled by its spread). Where absent, the
    columns called latitude and longitude."""
    k: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = (10,)
    """Neighbours; several numbers make several columns."""
    of: Literal["target"] | tuple[str, ...] = "target"
    """What is averaged over them: the target, or columns of numbers."""
    parts: Annotated[int, Field(ge=2, le=50)] = 5
    """Inner folds for the training rows."""

    @field_validator("k", mode="before")
    @classmethod
    def _one_k(cls, value: object) -> object:
        return (value,) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("columns")
    @classmethod
    def _several(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(value) < 2:
            raise ValueError(f"give two or more columns of coordinates, got {list(value)}")
        return value

    def used(self) -> tuple[str, ...]:
        """Columns that the step names."""
        return (*(self.columns or ()), *(() if self.of == "target" else self.of))


class TfidfConfig(BaseStep):
    """The most frequent words (or runs of letters) of text columns, weighted by how rare they are."""

    step: Literal["tfidf"] = "tfidf"
    columns: tuple[str, ...] | None = None
    """Columns of text; where absent, all that hold sentences."""
    terms: Annotated[int, Field(ge=1, le=2000)] = 50
    """Terms per column, those that the most rows hold."""
    analyzer: Literal["word", "char"] = "word"
    ngrams: tuple[Annotated[int, Field(ge=1, le=6)], Annotated[int, Field(ge=1, le=6)]] | None = None
    """Smallest and largest number of words (default 1 to 1) or letters (2 to 3) of a term."""

    @field_validator("ngrams")
    @classmethod
    def _ordered(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"the smallest length comes first, got {list(value)}")
        return value


StepConfig = (
    DatesConfig
    | CyclicConfig
    | TargetEncodingConfig
    | CountEncodingConfig
    | GroupStatisticsConfig
    | RatiosConfig
    | NeighboursConfig
    | TfidfConfig
)
KINDS: dict[str, type[BaseStep]] = {
    kind.model_fields["step"].default: kind
    for kind in (
        DatesConfig,
        CyclicConfig,
        TargetEncodingConfig,
        CountEncodingConfig,
        GroupStatisticsConfig,
        RatiosConfig,
        NeighboursConfig,
        TfidfConfig,
    )
}


def parse_steps(value: Any) -> Any:
    """Turn what the project file says into step configs.

    Raises:
        ValueError: for an unknown step or field, naming the nearest known one, or a wrong value.
    """
    if value is None or value == "none":
        return ()
    if value == "auto":
        return value
    if isinstance(value, str | dict | BaseStep):
        value = (value,)
    return tuple(parse_step(item) for item in value)


def parse_step(item: Any) -> BaseStep:
    """Turn `dates`, `{dates: {...}}`, `{dates: [columns]}` or `{step: dates, ...}` into a step's config.

    Raises:
        ValueError: as `parse_steps`.
    """
    if isinstance(item, BaseStep):
        return item
    if isinstance(item, str):
        item = {item: None}
    if isinstance(item, dict) and "step" in item:
        item = {str(item["step"]): {key: value for key, value in item.items() if key != "step"}}
    if not isinstance(item, dict) or len(item) != 1:
        raise ValueError(f"a feature step is a name or {{name: {{fields}}}}, got {item!r}")
    ((name, fields),) = item.items()
    if name not in KINDS:
        raise ValueError(f"unknown feature step {name!r}. {nearest(str(name), KINDS)}")
    kind = KINDS[name]
    if isinstance(fields, str) and fields != "auto":
        fields = [fields]
    if fields is not None and not (isinstance(fields, dict) and set(fields) & (set(kind.model_fields) | {"step"})):
        # A mapping without any of the step's fields is its leading field, such as the cycles' lengths of `cyclic`.
        unknown = isinstance(fields, dict) and kind is not CyclicConfig
        fields = fields if unknown else {kind.leading: fields}
    try:
        return kind.model_validate(fields or {})
    except ValidationError as error:
        raise ValueError("; ".join(_worded(name, kind, problem) for problem in error.errors())) from None


def _worded(name: str, kind: type[BaseStep], problem: Any) -> str:
    fields = [field for field in kind.model_fields if field != "step"]
    location = [str(part) for part in problem["loc"] if not str(part).startswith(("tuple[", "dict[", "literal["))]
    key = ".".join([name, *location])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}. {nearest(location[-1], fields)}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})"


def _flat(value: Sequence[Any] | dict[str, Any] | None) -> tuple[str, ...]:
    out: list[str] = []
    for item in value or ():
        out += [item] if isinstance(item, str) else item
    return tuple(out)


def _schema() -> dict[str, Any]:
    """The JSON schema of what may be written, for editors."""
    forms: list[dict[str, Any]] = [{"enum": list(KINDS)}]
    for name, kind in KINDS.items():
        fields = kind.model_json_schema()
        fields["properties"].pop("step")
        leading = {k: v for k, v in fields["properties"][kind.leading].items() if k != "default"}
        inside = {"anyOf": [fields, leading]}
        forms.append(
            {"type": "object", "properties": {name: inside}, "required": [name], "additionalProperties": False}
        )
    return {"anyOf": [{"const": "auto"}, {"type": "array", "items": {"anyOf": forms}}], "default": []}


FeatureSteps = Annotated[
    Literal["auto"] | tuple[StepConfig, ...], BeforeValidator(parse_steps), WithJsonSchema(_schema())
]
"""The field `features` of a project file: `auto`, or a list of steps."""
