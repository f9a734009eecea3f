"""What the project file says of the data and of the split."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config
from sanmaru.errors import nearest
from sanmaru.tables.target_config import JointConfig, TargetConfig

COLUMN_TYPES = ("number", "integer", "category", "text", "boolean", "date")
MISSING_MARKERS = ("", "NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None", "?", "-")
INSTRUMENT_WORDS = ("통신장애", "점검및교정", "장비점검", "자료이상")
"""What AirKorea writes where an instrument gave no value: no connection, calibration, maintenance, faulty data."""
MISSING_WORDS = (
    *("none", "NONE", ".", "--", "#N/A", "N.A.", "없음", "해당없음", "해당 없음", "미상", "결측"),
    *INSTRUMENT_WORDS,
)
"""More texts that mean "no value" in a feature; a target may well have a class of that name."""


class TimeConfig(Config):
    """When a row of a long table is, written in one or several columns."""

    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Falling in size: [year, month, day, hour], or a date and an hour; minute and second may follow."""
    format: str | None = None
    """How the cells, joined by blanks, are written, such as "%d/%m/%Y %H"; told from the cells where absent."""

    @field_validator("columns", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class DataConfig(Config):
    """Where the data lies and which column plays which role. Paths are relative to the project folder."""

    train: str
    """Table (csv, tsv, parquet, jsonl) or a folder with one sub-folder of pictures per class."""
    test: str | None = None
    """Rows to predict, in the same form, usually without the target."""
    layout: Literal["table", "person-folders"] = "table"
    """`person-folders`: a table of people (or a folder) and a folder of photos per person, called mask1 to mask5,
    incorrect_mask and normal, become one row per photo with the columns photo (the id), image, person (the group)
    and mask."""
    images: str | None = None
    """Folder that the paths in the image column are relative to; the table's own folder where absent."""
    id: str | None = None
    """Column that names a row. Where absent, rows are numbered from 0 in a column `row`."""
    target: tuple[str | TargetConfig, ...] = ()
    """Column (or columns) to predict, each a name or a mapping such as {name: age, bands: [30, 60]}. A folder per
    class needs none: the target is called `label`."""
    joint: JointConfig = JointConfig()
    """What several targets are called and written together."""
    group: str | None = None
    """Column of the entity that a row belongs to; rows of one group are never torn apart by a split."""
    time: str | TimeConfig | None = None
    """Column that orders rows in time. For series also several columns, such as [year, month, day, hour], or a mapping
    such as {columns: [Date, Hour], format: "%d/%m/%Y %H"}."""
    learn_time: bool = False
    """Whether the column of time is learned from as well: how much time has passed and, of dates, month, weekday and
    hour. Tables only; `features`, where given, names it instead."""
    series: str | None = None
    """Column that names the series a row of a long table belongs to; one series where absent. Forecasting only."""
    known: tuple[str, ...] = ()
    """Columns whose values are known before their time, such as holidays or another's forecast. Forecasting only."""
    static: tuple[str, ...] = ()
    """Columns that hold one number per series, such as a latitude. Forecasting only."""
    revised: str | None = None
    """Column that orders what is said of one time: the last row wins; the order of rows where absent. Forecasting
    only."""
    image: str | None = None
    """Column with the path of a picture."""
    features: tuple[str, ...] | None = None
    """Columns to learn from; where absent, all that have no other role and are not dropped."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    missing: tuple[str, ...] = (*MISSING_MARKERS, *MISSING_WORDS)
    """Cell texts that mean "no value". Words such as `없음` and `none` mean so in features only, not in the target."""
    types: dict[str, str] = Field(default_factory=dict)
    """What columns hold, where it is told wrongly: `number`, `integer`, `category`, `text`, `boolean`, `date`, or a
    format of dates: `{zip: category, joined: "%d.%m.%y"}`."""
    duplicates: Literal["keep", "drop"] = "keep"
    """Whether rows of a table that equal an earlier one in every column but the id are learned from."""
    encoding: str = "utf-8"
    """Text encoding of csv, tsv and jsonl files, e.g. `cp949` for many Korean office exports."""

    @field_validator("types")
    @classmethod
    def _known_types(cls, value: dict[str, str]) -> dict[str, str]:
        for name, kind in value.items():
            if kind not in COLUMN_TYPES and not re.search(r"%[a-zA-Z]", kind):
                raise ValueError(
                    f"column {name!r} cannot be {kind!r}. {nearest(kind, COLUMN_TYPES)} Or give a format of dates, "
                    'such as "%Y%m%d"'
                )
        return value

    @field_validator("time", mode="before")
    @classmethod
    def _columns_of_time(cls, value: object) -> object:
        return {"columns": value} if isinstance(value, list | tuple) else value

    @field_validator("target", "features", "drop", "missing", "known", "static", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str | dict | TargetConfig) else value

    @model_validator(mode="after")
    def _different_targets(self) -> DataConfig:
        names = self.target_names
        if len(set(names)) < len(names):
            raise ValueError(f"data.target names {next(n for n in names if names.count(n) > 1)!r} more than once")
        return self

    @property
    def time_column(self) -> str | None:
        """The column of time, where it is one column of which no more is said."""
        return self.time if isinstance(self.time, str) else None

    @property
    def time_columns(self) -> tuple[str, ...]:
        """Every column that says when a row is."""
        return (self.time,) if isinstance(self.time, str) else self.time.columns if self.time else ()

    @property
    def target_names(self) -> tuple[str, ...]:
        """The columns that `target` names."""
        return tuple(target if isinstance(target, str) else target.name for target in self.target)

    @property
    def targets(self) -> tuple[TargetConfig, ...]:
        """What is said of each target; a bare name says no more."""
        return tuple(TargetConfig(name=target) if isinstance(target, str) else target for target in self.target)


class SplitConfig(Config):
    """How rows are divided into folds."""

    kind: Literal["random", "stratified", "grouped", "stratified-grouped", "time", "column"] = "random"
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    seed: int = 7
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Quantile bins of a numeric target, when a stratified split is asked for."""
    column: str | None = None
    """Column with the fold of each row (whole numbers from 0; missing = only ever trained on), kind `column`."""
    gap: Annotated[int, Field(ge=0)] = 0
    """Rows (in time order) left out between training and validation, kind `time`."""
    window: Literal["expanding", "rolling"] = "expanding"
    """Whether training starts at the beginning of time or at a fixed distance, kind `time`."""
    final: Literal["auto", "folds", "refit"] = "auto"
    """What a package predicts with: the estimators of the folds, averaged, or one fitted once more on every row. `auto`
    fits once more where the kind is `time`, for the folds know only what lies before their blocks."""
    reuse: str | None = None
    """A run whose stored folds are taken as they are (rows are matched by id)."""

    @model_validator(mode="after")
    def _column_named(self) -> SplitConfig:
        if self.kind == "column" and not self.column:
            raise ValueError("split.kind 'column' needs split.column, the column that holds each row's fold")
        return self
