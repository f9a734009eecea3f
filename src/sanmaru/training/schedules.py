"""Learning-rate schedules: the rate is a function of the step alone, so that a resumed run has nothing to restore."""

from __future__ import annotations

import bisect
import math
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field, model_validator

from sanmaru.config import Config

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class ConstantSchedule(Config):
    """The rate stays."""

    kind: Literal["constant"] = "constant"


class StepSchedule(Config):
    """The rate is multiplied by `gamma` at the beginning of named epochs, or every so many epochs."""

    kind: Literal["step"] = "step"
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Epochs after which the rate falls, rising: [30, 60] trains 30 epochs, falls, trains 30, falls."""
    every: Annotated[int, Field(ge=1)] | None = None
    """Instead of `milestones`: the rate falls after each so many epochs; a third of the epochs where neither is
    given."""
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _one_of_both(self) -> StepSchedule:
        if self.milestones and self.every is not None:
            raise ValueError("a step schedule takes `milestones` or `every`, not both. Remove one of them.")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}. Write e.g. [30, 60].")
        return self


class CosineSchedule(Config):
    """The rate falls along half a cosine (Loshchilov & Hutter, 2017), after the last step to `floor`."""

    kind: Literal["cosine"] = "cosine"
    floor: Fraction = 0.0
    """Where it ends, as a fraction of the learning rate."""


class WarmRestartsSchedule(Config):
    """Half cosines one after another, each from the full rate again (SGDR: Loshchilov & Hutter, 2017)."""

    kind: Literal["warm-restarts"] = "warm-restarts"
    first: Annotated[int, Field(ge=1)] = 10
    """Epochs of the first cosine."""
    multiplier: Annotated[float, Field(ge=1)] = 1.0
    """Each cosine is so many times as long as the one before."""
    floor: Fraction = 0.0


class OneCycleSchedule(Config):
    """The rate rises to its full value and falls to nearly nothing, while momentum does the opposite.

    After Smith & Topin (2018) as `torch.optim.lr_scheduler.OneCycleLR` runs it, with cosines for lines.
    """

    kind: Literal["one-cycle"] = "one-cycle"
    rise: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Fraction of all steps over which the rate rises."""
    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Where it begins, as a fraction of the learning rate."""
    end: Fraction = 4e-6
    """Where it ends, as a fraction of the learning rate."""
    momentum: tuple[Fraction, Fraction] | None = (0.85, 0.95)
    """Least and most of SGD's momentum or Adam's first beta, the least at the full rate; null leaves it alone."""

    @model_validator(mode="after")
    def _least_first(self) -> OneCycleSchedule:
        if self.momentum is not None and not self.momentum[0] <= self.momentum[1] < 1:
            raise ValueError(f"momentum must be [least, most] with most < 1, got {list(self.momentum)}.")
        return self


Schedule = Annotated[
    ConstantSchedule | StepSchedule | CosineSchedule | WarmRestartsSchedule | OneCycleSchedule,
    Field(discriminator="kind"),
]


def named(value: Any) -> Any:
    """Turn ``"cosine"`` into ``{"kind": "cosine"}``; leave anything else."""
    return {"kind": value} if isinstance(value, str) else value


def learning_rate(schedule: Schedule, peak: float, step: int, *, total: int, epochs: int, warmup: float) -> float:
    """Return the learning rate of a step.

    It rises linearly over the first `warmup · total` steps to what the schedule asks for. Cosines begin after the
    warm-up; milestones count from the fit's beginning.

    Args:
        schedule: Which, and its parameters.
        peak: The full learning rate.
        step: From 0.
        total: Steps of the whole fit.
        epochs: Of the whole fit; `total` is a multiple of it.
        warmup: Fraction of all steps; a one-cycle has its own rise and takes 0.
    """
    warm = round(warmup * total)
    if step < warm:
        return peak * (step + 1) / warm
    match schedule:
        case ConstantSchedule():
            return peak
        case StepSchedule():
            return peak * schedule.gamma ** _falls(schedule, step * epochs // total, epochs)
        case CosineSchedule():
            return _cosine(peak, schedule.floor * peak, (step - warm) / max(1, total - warm))
        case WarmRestartsSchedule():
            done = (step - warm) * epochs / total
            return _cosine(peak, schedule.floor * peak, _within(done, schedule.first, schedule.multiplier))
        case OneCycleSchedule():
            risen, fallen = _cycle(schedule, step, total)
            return _cosine(_cosine(schedule.start * peak, peak, risen), schedule.end * peak, fallen)
        case _:
            assert_never(schedule)


def momentum(schedule: Schedule, step: int, *, total: int) -> float | None:
    """Return the momentum of a step, or None where the schedule leaves it alone."""
    if not isinstance(schedule, OneCycleSchedule) or schedule.momentum is None:
        return None
    least, most = schedule.momentum
    risen, fallen = _cycle(schedule, step, total)
    return _cosine(_cosine(most, least, risen), most, fallen)


def _cosine(begin: float, end: float, done: float) -> float:
    """Half a cosine from `begin` (done = 0) to `end` (done = 1)."""
    return end + (begin - end) * 0.5 * (1 + math.cos(math.pi * done))


def _falls(schedule: StepSchedule, epoch: int, epochs: int) -> int:
    if schedule.milestones:
        return bisect.bisect_right(schedule.milestones, epoch)
    return epoch // (schedule.every or max(1, -(-epochs // 3)))


def _within(done: float, first: int, multiplier: float) -> float:
    """Share of the current cosine that lies behind, where the k-th is first · multiplier^k long."""
    if multiplier == 1:
        return math.fmod(done, first) / first
    # Epochs before the k-th cosine: first · (multiplier^k - 1) / (multiplier - 1). The logarithm may miss by one
    # at a border, hence the two corrections.
    k = int(math.log(done / first * (multiplier - 1) + 1, multiplier))
    for number in (k + 1, k, k - 1):
        begin = first * (multiplier**number - 1) / (multiplier - 1)
        if begin <= done + 1e-9:
            return max(0.0, done - begin) / (first * multiplier**number)
    raise AssertionError("the cosine before the current one begins before it")


def _cycle(schedule: OneCycleSchedule, step: int, total: int) -> tuple[float, float]:
    """Shares of the rise and of the fall that lie behind."""
    top = schedule.rise * total - 1
    last = total - 1
    if step <= top or last == 0:
        return (step / top if top > 0 else 1.0), 0.0
    return 1.0, (step - top) / (last - top) if last > top else 0.0
