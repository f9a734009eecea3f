"""What a pipeline's steps are made from: which outputs of which intervals each needs, and who needs whose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from sanmaru.pipelines.config import PipelineConfig, StepConfig
from sanmaru.pipelines.entries import Entry
from sanmaru.pipelines.functions import code_of
from sanmaru.pipelines.intervals import Every, Interval, interval_start, parse_moment


@dataclass(frozen=True)
class Plan:
    """A pipeline as configured.

    Args:
        name: Of the pipeline.
        config: `pipeline:` of the project file.
        folder: The project's.
    """

    name: str
    config: PipelineConfig
    folder: Path

    @cached_property
    def every(self) -> Every:
        """How long intervals are."""
        return Every.parse(self.config.every, self.config.zone)

    @cached_property
    def first(self) -> Interval:
        """The first interval."""
        return self.every.at(parse_moment(self.config.start, self.config.zone))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Steps, each after those it needs."""
        return self.config.order()

    @cached_property
    def rank(self) -> Mapping[str, int]:
        """Place of each step in `order`."""
        return {step: place for place, step in enumerate(self.order)}

    @cached_property
    def reach(self) -> int:
        """How many intervals back any step's needs go; 0 or negative."""
        return min((need.first for step in self.config.steps.values() for need in step.needs), default=0)

    def step(self, name: str) -> StepConfig:
        """Return a step's config."""
        return self.config.steps[name]

    def interval(self, start: str) -> Interval:
        """Return the interval of a name."""
        return self.every.at(interval_start(start))

    def due(self, since: datetime | None, until: datetime) -> Iterator[str]:
        """Yield the names of the intervals that have ended by `until`, from the first, or `since`, on."""
        begin = self.first.start if since is None else max(since, self.first.start)
        for interval in self.every.between(begin, until):
            yield interval.name

    def needs(self, step: str, start: str) -> list[tuple[str, str]]:
        """Return the (step, interval) whose outputs a step needs; intervals before the first one do not exist."""
        interval = self.interval(start)
        found = []
        for need in self.step(step).needs:
            for shift in range(need.first, need.last + 1):
                other = self.every.after(interval, shift)
                if other.start >= self.first.start:
                    found.append((need.step, other.name))
        return found

    def dependents(self, step: str, start: str) -> list[tuple[str, str]]:
        """Return the (step, interval) that need the outputs of a step for an interval."""
        interval = self.interval(start)
        return [
            (name, self.every.after(interval, -shift).name)
            for name, config in self.config.steps.items()
            for need in config.needs
            if need.step == step
            for shift in range(need.first, need.last + 1)
        ]

    def below(self, step: str) -> list[str]:
        """Return a step and all that need it, directly or not, in order."""
        reached = {step}
        for name in self.order:
            if any(need.step in reached for need in self.step(name).needs):
                reached.add(name)
        return [name for name in self.order if name in reached]

    def key(self, step: str, inputs: Mapping[str, str]) -> str:
        """Return the hash of code, settings and inputs that a step's outputs belong to.

        Args:
            step: Its name.
            inputs: `step@interval` to the hash of its outputs.

        Raises:
            UserError: when its function cannot be found.
        """
        config = self.step(step)
        if step not in self._code:
            self._code[step] = code_of(config, self.folder)
        content = [self._code[step], config.version, config.settings, dict(inputs)]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @cached_property
    def _code(self) -> dict[str, str]:
        return {}


def inputs_of(needed: list[tuple[str, str]], entries: Mapping[tuple[str, str], Entry]) -> dict[str, str] | str:
    """Return `step@interval` to outputs hash of what is needed; or, where some of it is not complete, a sentence."""
    missing = [place for place in needed if place not in entries or not entries[place].complete]
    if missing:
        step, start = missing[0]
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"waits for {step} of {start}{more}"
    return {f"{step}@{start}": entries[step, start].outputs_hash for step, start in needed}
