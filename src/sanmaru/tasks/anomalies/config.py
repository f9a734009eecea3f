"""What the project file says of anomaly detection: the table, the detector, the alarm budget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sanmaru.config import Config
from sanmaru.training.config import TrainConfig

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Budget(Config):
    """How many alarms may be raised though nothing is wrong. Flagged rows that lie close together are one alarm."""

    alarms: Positive = 1.0
    """In each span and, where that is a time, each series."""
    per: Literal["thousand-rows", "day", "week", "month"] = "thousand-rows"
    """The span; a month is 30 days."""


class BaseDetector(Config):
    """What every detector can be told."""


class StuckConfig(BaseDetector):
    """A value that stays the same for longer than this series' values do."""

    kind: Literal["stuck"] = "stuck"


class SeasonalConfig(BaseDetector):
    """A value far from the median of its hour of day (of its month, for daily tables), or a step that is too large."""

    kind: Literal["seasonal"] = "seasonal"


class RulesConfig(BaseDetector):
    """`stuck` and `seasonal` together, with missing values, and times that repeat or are left out."""

    kind: Literal["rules"] = "rules"


class IsolationForestConfig(BaseDetector):
    """Random trees that isolate strange rows early (Liu et al., 2008)."""

    kind: Literal["isolation-forest"] = "isolation-forest"
    trees: Count = 200
    sample: Annotated[int, Field(ge=2)] = 256
    """Rows that each tree sees."""


class LocalOutlierFactorConfig(BaseDetector):
    """Rows whose neighbourhood is thinner than those of their neighbours (Breunig et al., 2000)."""

    kind: Literal["lof"] = "lof"
    neighbours: Count = 20
    rows: Count = 5000
    """Rows kept to compare with, drawn at random where there are more."""


class OneClassSVMConfig(BaseDetector):
    """A boundary around the dense part of the rows (Schölkopf et al., 2001), with a Gaussian kernel."""

    kind: Literal["one-class-svm"] = "one-class-svm"
    nu: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Upper bound on the fraction of rows outside."""
    rows: Count = 5000
    """Rows learned from, drawn at random where there are more: the cost grows with their square."""


class ECODConfig(BaseDetector):
    """Rows in the tails of many columns' distributions (Li et al., 2022); nothing to set."""

    kind: Literal["ecod"] = "ecod"


class AutoEncoderConfig(BaseDetector):
    """A dense network that squeezes a row (or a short window) and cannot restore strange ones."""

    kind: Literal["autoencoder"] = "autoencoder"
    window: Annotated[int, Field(ge=1, le=48)] = 6
    """Rows that go in together, the last one scored; 1 looks at single rows."""
    hidden: Count = 128
    code: Count = 16
    """Numbers that a window is squeezed to."""


class LSTMAutoEncoderConfig(BaseDetector):
    """A recurrent network that squeezes a window of rows and cannot restore strange ones; the last row is scored."""

    kind: Literal["lstm-autoencoder"] = "lstm-autoencoder"
    window: Annotated[int, Field(ge=2, le=168)] = 24
    hidden: Count = 48
    code: Count = 12
    """Numbers that a window is squeezed to."""
    rows: Count = 10_000
    """Windows learned from, drawn at random where there are more."""


DetectorConfig = Annotated[
    RulesConfig
    | StuckConfig
    | SeasonalConfig
    | IsolationForestConfig
    | LocalOutlierFactorConfig
    | OneClassSVMConfig
    | ECODConfig
    | AutoEncoderConfig
    | LSTMAutoEncoderConfig,
    Field(discriminator="kind"),
]
KINDS = (
    "rules",
    "stuck",
    "seasonal",
    "isolation-forest",
    "lof",
    "one-class-svm",
    "ecod",
    "autoencoder",
    "lstm-autoencoder",
)

TRAINING = TrainConfig(epochs=20, batch_size=256, learning_rate=2e-3)
"""Of the autoencoders, where the project file says nothing."""


class AnomalySection(Config):
    """The section `anomalies` of a project that does something else with the same series, such as forecasting."""

    model: DetectorConfig = RulesConfig()
    """The detector."""
    columns: tuple[str, ...] = ()
    """Columns of numbers to watch; all columns of numbers where absent."""
    counters: tuple[str, ...] = ()
    """Columns that add up and are set back to the beginning, such as hours of rain so far: what they grow by is
    watched, and a reset is nothing strange."""
    budget: Budget = Budget()
    """How many alarms may be raised though nothing is wrong."""


class AnomalyConfig(Config):
    """All that `fit_detector` needs to know."""

    columns: tuple[str, ...] = ()
    """Columns of numbers to watch; all columns of numbers where empty."""
    counters: tuple[str, ...] = ()
    """As in `AnomalySection.counters`."""
    zone: str = "UTC"
    """Of the hour of day."""
    model: DetectorConfig = RulesConfig()
    budget: Budget = Budget()
    train: TrainConfig = TRAINING
    """Of the autoencoders; other detectors do not look at it."""
    seed: int = 7

    @model_validator(mode="after")
    def _counters_watched(self) -> AnomalyConfig:
        strange = [name for name in self.counters if self.columns and name not in self.columns]
        if strange:
            raise ValueError(f"counters names {strange[0]!r}, which is not among the watched columns")
        return self
