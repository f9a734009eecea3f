"""Models that forecast, and what is forecast from what, as the project file names them."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config

_DURATION = re.compile(r"^[1-9]\d*(s|m|h|d|w|mo)$")


def _duration(value: Any) -> Any:
    if isinstance(value, str) and not _DURATION.match(value):
        raise ValueError("a duration is a whole number and s, m, h, d, w or mo (months), such as 1h, 30m or 1d")
    return value


class BaseForecastModel(Config):
    """What every model that forecasts can be told."""


class PersistenceConfig(BaseForecastModel):
    """The last value seen, for every step ahead."""

    kind: Literal["persistence"] = "persistence"


class SeasonalNaiveConfig(BaseForecastModel):
    """The value one season before, such as that of the same hour yesterday."""

    kind: Literal["seasonal-naive"] = "seasonal-naive"


class RidgeConfig(BaseForecastModel):
    """Ridge regression on lags, one for each step ahead."""

    kind: Literal["ridge"] = "ridge"
    penalty: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """L2 strength relative to the number of windows, on standardised numbers; `auto` picks it for each step on blocks
    of time left out."""
    most_windows: Annotated[int, Field(ge=1)] = 100_000
    """Training windows used at most; more are thinned evenly."""


class LightGBMForecastConfig(BaseForecastModel):
    """Gradient-boosted trees on lags."""

    kind: Literal["lightgbm"] = "lightgbm"
    strategy: Literal["pooled", "per-step"] = "pooled"
    """`pooled` grows one model for all steps, told how far ahead each row lies; `per-step` one for each step."""
    steps_per_window: Annotated[int, Field(ge=1)] = 4
    """Steps of each training window that `pooled` learns from, drawn anew for each window; neighbouring windows show
    the others."""
    most_rows: Annotated[int, Field(ge=1)] = 300_000
    """Rows learned from at most; more windows are thinned evenly."""
    trees: Annotated[int, Field(ge=1)] = 500
    """At most; early stopping on the inner rows usually takes fewer."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    leaves: Annotated[int, Field(ge=2)] = 15
    min_rows_per_leaf: Annotated[int, Field(ge=1)] = 100
    feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    row_fraction: Annotated[float, Field(gt=0, le=1)] = 0.7
    l2: Annotated[float, Field(ge=0)] = 5.0
    objective: Literal["auto", "squared", "absolute"] = "auto"
    """What is minimised for the number; `auto` is squared for rmse and absolute for all other metrics."""
    start: Literal["nothing", "last", "ridge"] = "ridge"
    """What the trees correct: nothing (they learn the value), the last known value, or what a ridge regression says,
    which sees straight lines that trees approach in steps."""
    bands: Literal["objective", "errors"] = "objective"
    """Quantiles by trees of their own that minimise the pinball loss, or from the errors on held-out rows."""
    refit: bool = True
    """Grow the number of trees that the inner rows chose once more, on all the fold's training rows."""


class ETSConfig(BaseForecastModel):
    """Exponential smoothing, fitted anew to each window's history; needs `pip install 'sanmaru[series]'`."""

    kind: Literal["ets"] = "ets"
    method: Literal["auto-ets", "mstl"] = "auto-ets"
    """`auto-ets` chooses error, trend and season by information criterion; `mstl` takes the season off by loess and
    smooths the rest."""
    history: Annotated[int, Field(ge=1)] | None = None
    """Steps of the window used, counted back from the origin; all where absent."""


class LSTMConfig(BaseForecastModel):
    """A recurrent network over the window; `train` says how it is trained."""

    kind: Literal["lstm"] = "lstm"
    mode: Literal["direct", "encoder-decoder"] = "direct"
    """`direct` reads the history and gives all steps at once; `encoder-decoder` hands its state to a second LSTM that
    walks through what is known of the steps ahead."""
    width: Annotated[int, Field(ge=1)] = 64
    """Numbers in the state of each layer."""
    layers: Annotated[int, Field(ge=1)] = 1
    history: Annotated[int, Field(ge=1)] | None = None
    """Steps of the window read, counted back from the origin; all where absent."""
    members: Annotated[int, Field(ge=1)] = 1
    """Networks of other first weights that are trained together and averaged."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Of what enters the last layers."""
    offset: Literal["last", "none"] = "last"
    """`last` learns the change since the last known value of each target, `none` the value."""
    scale: Literal["training", "window"] = "training"
    """What a target is divided by: its spread in training, or in the window's own history."""
    objective: Literal["auto", "squared", "absolute"] = "auto"
    """What is minimised for the number; `auto` is squared for rmse and absolute for all other metrics."""


ForecastModelConfig = Annotated[
    PersistenceConfig | SeasonalNaiveConfig | RidgeConfig | LightGBMForecastConfig | ETSConfig | LSTMConfig,
    Field(discriminator="kind"),
]

Steps = Annotated[int, Field(ge=1)] | str
"""A number of steps, or a duration that is a whole number of them, such as 24h."""


class OriginsConfig(Config):
    """The moments that are forecast from to tell how well a model forecasts."""

    every: str = "1d"
    """Distance from one origin to the next. Whole days keep the same hour of the day in `forecast.zone`."""
    at: str | None = None
    """Local time of the origin, such as "23:00", where `every` is whole days and steps are shorter; the step before
    midnight where absent, so that the first step forecast begins a day."""
    reach: Annotated[float, Field(gt=0, lt=1)] | str = 0.2
    """How far back origins reach: a fraction of the time from first to last step, or a duration such as 90d."""
    gap: Steps | Literal[0] = 0
    """Steps (or a duration) between the last target that a fold learns from and the first origin it is judged on."""

    @field_validator("every", "reach", "gap")
    @classmethod
    def _durations(cls, value: Any) -> Any:
        return _duration(value)

    @field_validator("at")
    @classmethod
    def _clock(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"^([01]\d|2[0-3]):[0-5]\d$", value):
            raise ValueError('a time of day is written as "23:00"')
        return value


class ForecastConfig(Config):
    """What is forecast: steps, horizon, and what of the past a window shows."""

    every: str = "auto"
    """Distance of steps: a whole number and s, m, h, d, w or mo; told from the times where `auto`."""
    horizon: Steps | Literal["auto"] = "auto"
    """Steps forecast, or a duration; one season where `auto`."""
    lookback: Steps | Literal["auto"] = "auto"
    """Steps of history a window shows, or a duration; seven seasons (four of a week) where `auto`."""
    season: Steps | Literal["auto"] = "auto"
    """What seasonal-naive repeats and MASE scales by: a day of shorter steps, a week of days, a year of months."""
    zone: str = "UTC"
    """Time zone in which times without one were written, such as Asia/Seoul, and in which days begin."""
    origins: OriginsConfig = OriginsConfig()
    """The moments that are forecast from to judge a model."""
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.5, 0.9)
    """Levels forecast beside the number, rising."""
    stride: Annotated[int, Field(ge=1)] = 1
    """Steps from one training window to the next."""
    final: Literal["refit", "last"] = "refit"
    """The model of the package: fitted once more on everything after the folds, or the last fold's."""

    @field_validator("every", "horizon", "lookback", "season")
    @classmethod
    def _durations(cls, value: Any) -> Any:
        return value if value == "auto" else _duration(value)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("no such time zone; write one such as Asia/Seoul, Europe/Berlin or UTC") from error
        return value

    @model_validator(mode="after")
    def _rising(self) -> ForecastConfig:
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError("`quantiles` must rise, such as [0.1, 0.5, 0.9]")
        return self
