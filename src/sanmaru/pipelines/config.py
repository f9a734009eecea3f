"""`pipeline:` of the project file: steps, what each needs, and how long data intervals are."""

from __future__ import annotations

from datetime import date
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config
from sanmaru.errors import nearest

Seconds = Annotated[float, Field(gt=0)]
NAME = r"^[a-z][a-z0-9_-]{0,79}$"


class NeedConfig(Config):
    """A step whose outputs are needed, of one interval or several."""

    step: str
    first: int = 0
    """The first interval, counted from the step's own: -23 with `last: 0` is a day of hours."""
    last: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> NeedConfig:
        if not self.first <= self.last <= 0:
            raise ValueError(f"first: {self.first} and last: {self.last} should satisfy first <= last <= 0")
        return self


class StepConfig(Config):
    """One step: a built-in one, a Python function or a command, tied to the steps it needs by their completion."""

    use: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] | None = None
    """A built-in step by its name, such as `collect`; `with:` holds its settings."""
    call: str | None = None
    """`package.module:function`, or `file.py:function` of the project folder; it takes a `StepContext`."""
    command: str | None = None
    """A shell command. Exit status 75 says that its data is not there yet, 99 that there is nothing new."""
    needs: tuple[NeedConfig, ...] = ()
    """Names of steps, or {step: NAME, first: -23} for the outputs of several intervals."""
    settings: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Handed to the step as they are; a change makes it run again."""
    version: str = "1"
    """Change it to make the step run again although nothing else changed."""
    delay: Annotated[float, Field(ge=0)] = 0
    """Seconds after the end of the interval before which the step is not tried."""
    retries: Annotated[int, Field(ge=0)] = 3
    retry_wait_s: Annotated[float, Field(ge=0)] = 60
    """Until the first try after a failure; doubled with each further one."""
    poll_s: Seconds = 300
    """Until it is looked at again when its data is not there yet."""
    timeout_s: Seconds = 3600

    @field_validator("needs", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        return [{"step": one} if isinstance(one, str) else one for one in names] if isinstance(names, list) else names

    @model_validator(mode="after")
    def _one_way(self) -> StepConfig:
        if sum(way is not None for way in (self.use, self.call, self.command)) != 1:
            raise ValueError(
                "a step has one of use: (a built-in step), call: (a Python function) or command: (a shell command)"
            )
        if self.call is not None and not all(self.call.partition(":")):
            raise ValueError(f"call: {self.call!r} should be package.module:function or file.py:function")
        return self


class PipelineConfig(Config):
    """Steps that run for every data interval, each as soon as what it needs is complete."""

    every: str
    """Length of a data interval: 15min, 1h, 1d, 1w."""
    zone: str = "UTC"
    """Time zone in which days begin."""
    start: str
    """The first interval is the one that holds this date or time."""
    steps: Annotated[dict[Annotated[str, Field(pattern=NAME)], StepConfig], Field(min_length=1)]
    ledger: str = "sqlite:///pipeline.db"
    """Database of the ledger: SQLite in the project folder, or a PostgreSQL or MySQL URL."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Steps done at once by one runner."""
    lease_s: Annotated[float, Field(ge=1)] = 60
    """A runner that is silent for so long is taken for dead, and its step is given to another."""

    logs: str = "logs/pipeline"
    """Folder of what steps print, a file for each attempt that printed something."""
    logs_days: Annotated[float, Field(gt=0)] = 30
    """`schedule` removes older ones."""

    @field_validator("start", mode="before")
    @classmethod
    def _date_as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value  # YAML reads a bare date as one

    @model_validator(mode="after")
    def _ties(self) -> PipelineConfig:
        for name, step in self.steps.items():
            for need in step.needs:
                if need.step not in self.steps:
                    raise ValueError(f"step {name!r} needs {need.step!r}. {nearest(need.step, self.steps)}")
        try:
            self.order()
        except CycleError as error:
            raise ValueError(f"the steps need each other in a circle: {' -> '.join(error.args[1])}") from None
        return self

    def order(self) -> tuple[str, ...]:
        """Return the steps, each after those it needs."""
        needed = {name: [need.step for need in step.needs] for name, step in self.steps.items()}
        return tuple(TopologicalSorter(needed).static_order())

    @model_validator(mode="after")
    def _times(self) -> PipelineConfig:
        from sanmaru.pipelines.intervals import Every, parse_moment

        Every.parse(self.every, self.zone)
        parse_moment(self.start, self.zone)
        return self
