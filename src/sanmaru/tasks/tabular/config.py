"""Models for tables, as the project file names them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sanmaru.config import Config

Fraction = Annotated[float, Field(gt=0, le=1)]


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
    class_weights: Literal["none", "balanced"] = "none"


class LinearConfig(BaseTabularModel):
    """Ridge regression or multinomial logistic regression on scaled numbers and one-hot categories."""

    kind: Literal["linear"] = "linear"
    penalty: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """L2 strength relative to the number of rows; `auto` picks it inside the fold by cross-validation."""
    class_weights: Literal["none", "balanced"] = "none"


TabularModelConfig = Annotated[LightGBMConfig | LinearConfig, Field(discriminator="kind")]
