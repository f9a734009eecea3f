"""How a network is trained, and which rows choose its best epoch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from sanmaru.config import Config

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class LossConfig(Config):
    """The loss. `class_weights: balanced` weighs each class by the inverse of its frequency."""

    kind: Literal["cross-entropy"] = "cross-entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["none", "balanced"] = "none"


class EarlyStoppingConfig(Config):
    """Stop when the named metric has not become better by `min_delta` for `patience` epochs."""

    patience: Annotated[int, Field(ge=1)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class TrainConfig(Config):
    """Training of a network. Estimators without epochs use only `selection` and `early_stopping`."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 64
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    momentum: Fraction = 0.9
    """Of SGD, which runs with Nesterov's correction."""
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Fraction = 0.05
    """Fraction of all steps over which the learning rate rises linearly from 0."""
    clip: Positive | None = 1.0
    """Largest norm of the gradient; null leaves it unclipped."""
    loss: LossConfig = LossConfig()
    augment: tuple[dict[str, Any], ...] = ()
    """Of the training rows, such as [hflip, {rotate: 10}, {crop: 0.1}, {scale: 0.1}, {translate: 0.1}]; a bare name
    takes its default, a strength is a number or a mapping."""
    augment_valid: tuple[dict[str, Any], ...] = ()
    """Of the rows that select the best epoch, named like those of `augment`; drawn once, with a fixed seed, so that
    every epoch is judged on the same pictures."""
    sampling: Literal["natural", "balanced"] = "natural"
    """`natural`: an epoch is every row once. `balanced`: as many rows, drawn with replacement so that each class comes
    equally often."""
    selection: Literal["inner", "fold", "none"] = "inner"
    """Rows that choose the best epoch (or number of trees): `inner`, a tenth of the fold's own training rows, keeps
    the score honest; `fold`, the validation rows themselves, wins those rows back but flatters the score, and the
    report says so; `none` keeps the last epoch."""
    early_stopping: EarlyStoppingConfig | None = EarlyStoppingConfig()
    device: str = "auto"
    """`auto` takes a GPU where there is one; else a torch device such as `cpu` or `cuda:1`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @field_validator("augment", "augment_valid", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        from sanmaru.training.augment_names import with_defaults

        return with_defaults(value)
