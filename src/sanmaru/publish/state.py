"""What a forecast page shows, as plain inputs: whoever made the forecasts fills them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from sanmaru.publish.grades import SCALES

if TYPE_CHECKING:
    import polars as pl

Language = Literal["en", "ko"]


@dataclass(frozen=True)
class Words:
    """A text in both languages."""

    en: str
    ko: str


@dataclass(frozen=True, kw_only=True)
class TargetInfo:
    """A forecast quantity: a column of the tables, its unit and its grades."""

    name: str
    unit: str = ""
    label: Words | None = None
    """None: the column's name."""
    grade: str | None = None
    """`pm10` or `pm25`: the Korean grades by which values are coloured; None for quantities without grades."""
    digits: int = 0
    """Decimals shown."""

    def __post_init__(self) -> None:
        if self.grade is not None and self.grade not in SCALES:
            raise ValueError(f"grade must be one of {', '.join(SCALES)} or None; got {self.grade!r} ({self.name})")


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """A place, such as a district."""

    id: str
    label: Words | None = None
    """None: its id."""
    place: tuple[int, int] | None = None
    """(row, column) in a map of tiles, from 1; None lists it."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well the model did, beside the best baseline on the same rows; lower is better."""

    metric: str
    value: float
    unit: str = ""
    baseline: str = ""
    baseline_value: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The registered model that made the forecasts."""

    name: str
    version: str
    trained_at: datetime | None = None
    score: Score | None = None
    old_after: timedelta = timedelta(days=45)
    """From then on the page says loudly that the model is old."""


@dataclass(frozen=True, kw_only=True)
class ForecastState:
    """Everything a forecast page says.

    Raises:
        ValueError: for times without a zone, no target or series, or tables without the columns named below.
    """

    title: Words
    targets: Sequence[TargetInfo]
    series: Sequence[SeriesInfo]
    observations: pl.DataFrame
    """Long table of about the last three days: series, time, a column per target, and where a detector ran `anomaly`,
    `anomaly.score`, `anomaly.reason`."""
    forecast: pl.DataFrame
    """Forecast table from the newest origin of each series, about 48 hours."""
    earlier: pl.DataFrame | None = None
    """Forecast table of about a day before, to be shown against what came."""
    model: ModelInfo | None = None
    generated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    every: timedelta = timedelta(hours=1)
    """Between observations."""
    stale_after: timedelta = timedelta(hours=3)
    """Age of the newest observation from which on the page says loudly that its data is stale."""
    zone: str = "Asia/Seoul"
    language: Language = "ko"
    """Shown first; the reader's choice is remembered."""
    live: bool = True
    """Whether ages count from the reader's clock; a replay of old data counts from `generated_at`."""
    sources: Words = field(default_factory=lambda: Words("", ""))
    """Where the data comes from, for the foot of the page."""

    def __post_init__(self) -> None:
        if not self.targets or not self.series:
            raise ValueError("a forecast page needs at least one of targets and of series")
        moments = {"generated_at": self.generated_at}
        if self.model is not None and self.model.trained_at is not None:
            moments["model.trained_at"] = self.model.trained_at
        for name, moment in moments.items():
            if moment.tzinfo is None:
                raise ValueError(f"{name} must have a time zone, got {moment.isoformat()}. Use e.g. datetime.now(UTC).")
        names = [target.name for target in self.targets]
        needed: Mapping[str, tuple[pl.DataFrame | None, list[str]]] = {
            "observations": (self.observations, ["series", "time", *names]),
            "forecast": (self.forecast, ["series", "origin", "horizon", "time", *names]),
            "earlier": (self.earlier, ["series", "origin", "horizon", "time", *names]),
        }
        for what, (table, columns) in needed.items():
            missing = [column for column in columns if table is not None and column not in table.columns]
            if missing:
                raise ValueError(f"{what} lacks the columns {', '.join(missing)}; it has {', '.join(table.columns)}")  # type: ignore[union-attr]
