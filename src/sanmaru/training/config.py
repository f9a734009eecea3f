"""How a network is trained, and which rows choose its best epoch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from sanmaru.config import Config
from sanmaru.training.schedules import CosineSchedule, OneCycleSchedule, Schedule, StepSchedule, named

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

WARMUP = 0.05
"""Where `TrainConfig.warmup` is not given and the schedule does not rise by itself."""


class LossConfig(Config):
    """The loss. A mapping, or its name alone (`loss: focal`)."""

    kind: Literal["cross-entropy", "focal", "soft-macro-f1", "binary-cross-entropy", "logit-adjustment"] = (
        "cross-entropy"
    )
    """`focal`: hard rows count more. `soft-macro-f1`: 1 minus the macro F1 of the probabilities, over each batch.
    `binary-cross-entropy`: each class against the rest. `logit-adjustment`: cross-entropy of logits raised by the
    logarithm of each class's frequency, so that the plain logits treat classes alike."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is given to all classes alike. Not for soft-macro-f1."""
    class_weights: Literal["none", "balanced", "effective"] = "none"
    """`balanced` weighs each class by the inverse of its frequency, `effective` by that of its effective number of
    rows, which grows more slowly than their number. Not for soft-macro-f1 and logit-adjustment, which treat classes
    alike by themselves."""
    gamma: Annotated[float, Field(ge=0)] | None = None
    """Of focal, 2 where not given; 0 is cross-entropy."""
    tau: Annotated[float, Field(ge=0)] | None = None
    """Of logit-adjustment, 1 where not given; 0 is cross-entropy."""
    beta: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of effective class weights, 0.999 where not given; 0 weighs all alike, towards 1 it becomes `balanced`."""

    @model_validator(mode="after")
    def _fits_together(self) -> LossConfig:
        for name, user, used in (
            ("gamma", "kind: focal", self.kind == "focal"),
            ("tau", "kind: logit-adjustment", self.kind == "logit-adjustment"),
            ("beta", "class_weights: effective", self.class_weights == "effective"),
        ):
            if getattr(self, name) is not None and not used:
                raise ValueError(f"`{name}` belongs to `{user}`, which is not set. Remove `{name}`, or set that.")
        if self.kind in ("soft-macro-f1", "logit-adjustment") and self.class_weights != "none":
            raise ValueError(
                f"`class_weights: {self.class_weights}` cannot go with `kind: {self.kind}`, which treats classes alike "
                "by itself: they would be corrected twice. Remove one of them."
            )
        if self.kind == "soft-macro-f1" and self.label_smoothing:
            raise ValueError(
                "`label_smoothing` cannot go with `kind: soft-macro-f1`: no prediction reaches an F1 of 1 on smoothed "
                "labels. Remove one of them."
            )
        return self


class EarlyStoppingConfig(Config):
    """Stop when the named metric has not become better by `min_delta` for `patience` epochs; under `cosine` and
    `one-cycle` only the second half of the epochs counts."""

    patience: Annotated[int, Field(ge=1)] = 5
    min_delta: Annotated[float, Field(ge=0)] = 0.0


class TrainConfig(Config):
    """Training of a network. Estimators without epochs use only `selection` and `early_stopping`."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Rows that go through the network at once, on each device. Halved by itself where the memory does not hold
    them; the effective batch stays."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are added up before the weights move: the effective batch is batch_size · accumulate ·
    devices."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """`adamw` decays weights apart from the gradient, `adam` as a part of it; `sgd` runs with Nesterov's momentum."""
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of weights only, never of biases and norms."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of SGD, which runs with Nesterov's correction."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """Of Adam and AdamW: how slowly the means of the gradient and of its square follow."""
    eps: Positive = 1e-8
    """Of Adam and AdamW: added to the root of the mean square."""
    schedule: Schedule = CosineSchedule()
    """Of the learning rate: constant, step, cosine, warm-restarts or one-cycle; a mapping, or the name alone."""
    warmup: Fraction | None = None
    """Fraction of all steps over which the learning rate rises linearly from 0; 0.05 where not given, and 0 with
    one-cycle, which rises by itself."""
    clip: Positive | None = 1.0
    """Largest norm of the gradient; null leaves it unclipped."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, such as 0.999, which is then what is evaluated and kept. It follows
    faster at first: the decay of step t is at most (1 + t) / (10 + t)."""
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
    devices: Annotated[int, Field(ge=1)] | tuple[str, ...] | None = None
    """Train on several devices at once, each on its share of every batch: a number of them, or their names such as
    [cuda:0, cuda:1]. Null trains on `device` alone."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the forward pass. `auto`: bfloat16 on a GPU that has it, float16 on one that has not, float32 on a CPU.
    `fp16` needs a GPU; its loss is scaled so that small gradients do not vanish."""

    @field_validator("augment", "augment_valid", mode="before")
    @classmethod
    def _bare_names(cls, value: Any, info: ValidationInfo) -> Any:
        from sanmaru.training.augment_names import with_defaults

        return with_defaults(value, mixing=info.field_name == "augment")

    @field_validator("schedule", "loss", mode="before")
    @classmethod
    def _bare_kind(cls, value: Any) -> Any:
        return named(value)

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        if isinstance(self.schedule, OneCycleSchedule) and self.warmup:
            raise ValueError(
                f"`warmup: {self.warmup:g}` cannot go with `schedule: one-cycle`, which rises by itself. Set its "
                "`rise` instead, and remove `warmup`."
            )
        if isinstance(self.schedule, StepSchedule):
            late = [epoch for epoch in self.schedule.milestones if epoch >= self.epochs]
            if late:
                raise ValueError(
                    f"the milestone {late[0]} is never reached: training ends after {self.epochs} epochs. Set "
                    "`schedule.milestones` below `epochs`."
                )
        if self.precision == "fp16" and any(name.startswith("cpu") for name in self.named_devices):
            raise ValueError("`precision: fp16` needs a GPU. On a CPU use `bf16` or `fp32`.")
        if self.devices is not None and self.device != "auto":
            raise ValueError(
                f"`devices: {_shown(self.devices)}` and `device: {self.device}` both say where to train. Remove one "
                "of them."
            )
        if isinstance(self.devices, tuple):
            if not self.devices:
                raise ValueError("`devices` names no device. Write e.g. [cuda:0, cuda:1], or null for one.")
            if len({name.split(":")[0] for name in self.devices}) > 1:
                raise ValueError(f"`devices` must be of one kind, got {_shown(self.devices)}.")
            gpus = [name for name in self.devices if not name.startswith("cpu")]
            if len(set(gpus)) < len(gpus):
                raise ValueError(f"`devices` names a device twice: {_shown(self.devices)}.")
        return self

    @property
    def named_devices(self) -> tuple[str, ...]:
        """The devices that the file names; empty where they are found out when training begins."""
        if isinstance(self.devices, tuple):
            return self.devices
        return () if self.device == "auto" else (self.device,)

    @property
    def warmup_fraction(self) -> float:
        """`warmup` with its default filled in."""
        if self.warmup is not None:
            return self.warmup
        return 0.0 if isinstance(self.schedule, OneCycleSchedule) else WARMUP


def _shown(value: int | tuple[str, ...]) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)
