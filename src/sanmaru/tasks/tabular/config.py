"""Models for tables, as the project file names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sanmaru.config import Config

Fraction = Annotated[float, Field(gt=0, le=1)]
Direction = Literal["increasing", "decreasing"]
Transform = Literal["auto", "none", "log"]
Objective = Literal["auto", "squared", "absolute", "percentage"]
ClassWeights = Literal["none", "balanced"]


def _rising(levels: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("a level stands twice")
    return tuple(sorted(levels))


Quantiles = Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], AfterValidator(_rising)]


class BaseTabularModel(Config):
    """What every model for tables can be told."""


class LightGBMConfig(BaseTabularModel):
    """Gradient-boosted trees (Ke et al., 2017)."""

    kind: Literal["lightgbm"] = "lightgbm"
    trees: Annotated[int, Field(ge=1)] = 1000
    """At most; early stopping on the inner rows usually takes fewer."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    refit: bool = True
    """Grow the number of trees that the inner rows chose once more, on all the fold's training rows."""
    leaves: Annotated[int, Field(ge=2)] = 31
    min_rows_per_leaf: Annotated[int, Field(ge=1)] = 20
    feature_fraction: Fraction = 0.9
    row_fraction: Fraction = 1.0
    l1: Annotated[float, Field(ge=0)] = 0.0
    l2: Annotated[float, Field(ge=0)] = 1.0
    objective: Objective = "auto"
    """What is minimised for numbers; `auto` follows the metric."""
    target_transform: Transform = "auto"
    """`log` learns the logarithm of a number; `auto` does so for rmsle and mape, and where the tail is heavy."""
    monotone: dict[str, Direction] = Field(default_factory=dict)
    """Columns of numbers with which the prediction may only rise or fall, such as {rooms: increasing}."""
    quantiles: Quantiles = ()
    """Levels in (0, 1) to predict beside a number, such as [0.1, 0.5, 0.9]."""
    class_weights: ClassWeights = "none"


class CatBoostConfig(BaseTabularModel):
    """Gradient-boosted oblivious trees (Prokhorenkova et al., 2018); needs `pip install 'sanmaru[catboost]'`."""

    kind: Literal["catboost"] = "catboost"
    trees: Annotated[int, Field(ge=1)] = 2000
    """At most; early stopping on the inner rows usually takes fewer."""
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = 0.1
    """`auto` is CatBoost's own, from the numbers of rows and trees."""
    refit: bool = True
    """Grow the number of trees that the inner rows chose once more, on all the fold's training rows."""
    depth: Annotated[int, Field(ge=1, le=16)] = 6
    l2: Annotated[float, Field(ge=0)] = 3.0
    objective: Objective = "auto"
    """What is minimised for numbers; `auto` follows the metric."""
    target_transform: Transform = "auto"
    """`log` learns the logarithm of a number; `auto` does so for rmsle and mape, and where the tail is heavy."""
    monotone: dict[str, Direction] = Field(default_factory=dict)
    """Columns of numbers with which the prediction may only rise or fall, such as {rooms: increasing}."""
    quantiles: Quantiles = ()
    """Levels in (0, 1) to predict beside a number, such as [0.1, 0.5, 0.9]."""
    class_weights: ClassWeights = "none"


class LinearConfig(BaseTabularModel):
    """Ridge regression or multinomial logistic regression on scaled numbers and one-hot categories."""

    kind: Literal["linear"] = "linear"
    penalty: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """L2 strength relative to the number of rows; `auto` picks it inside the fold by cross-validation."""
    target_transform: Transform = "auto"
    """`log` learns the logarithm of a number; `auto` does so where the metric is rmsle or mape."""
    quantiles: Quantiles = ()
    """Levels in (0, 1) to predict beside a number, such as [0.1, 0.5, 0.9]."""
    class_weights: ClassWeights = "none"


class NearestNeighboursConfig(BaseTabularModel):
    """The training rows most like a row predict it."""

    kind: Literal["neighbours"] = "neighbours"
    n_neighbours: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """How many count; `auto` picks it inside the fold, by the named metric, with cross-validation."""
    weights: Literal["uniform", "distance"] = "distance"
    """`distance` weighs a neighbour by the inverse of its distance."""
    metric: Literal["euclidean", "manhattan"] = "euclidean"
    target_transform: Transform = "auto"
    """`log` learns the logarithm of a number; `auto` does so where the metric is rmsle or mape."""
    quantiles: Quantiles = ()
    """Levels in (0, 1) to predict beside a number, such as [0.1, 0.5, 0.9]."""


class TableNetworkConfig(BaseTabularModel):
    """A small residual network on embedded numbers and categories; `train` says how it is trained."""

    kind: Literal["network"] = "network"
    width: Annotated[int, Field(ge=4)] = 128
    blocks: Annotated[int, Field(ge=0)] = 2
    members: Annotated[int, Field(ge=1)] = 8
    """Members that share all blocks and are averaged: an ensemble for little more than the price of one."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    frequency: Annotated[float, Field(ge=0)] = 0.3
    """Spread of the first frequencies by which numbers are embedded; 0 takes numbers as they are."""
    target_transform: Transform = "auto"
    """`log` learns the logarithm of a number; `auto` does so where the metric is rmsle or mape."""
    quantiles: Quantiles = ()
    """Levels in (0, 1) to predict beside a number, such as [0.1, 0.5, 0.9]."""


TabularModelConfig = Annotated[
    LightGBMConfig | CatBoostConfig | LinearConfig | NearestNeighboursConfig | TableNetworkConfig,
    Field(discriminator="kind"),
]
