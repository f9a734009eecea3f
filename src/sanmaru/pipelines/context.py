"""What a step is given, and the two ways in which it may say that it did nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


class NotReady(Exception):  # noqa: N818 - not an error: the step is asked again later
    """Raised by a step whose data is not there yet: it is asked again, and what needs it waits."""


class NothingNew(Exception):  # noqa: N818 - not an error
    """Raised by a step that has nothing to do for its interval: complete, and what needs only it is, too."""


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """One step for one interval.

    A step returns a mapping of names to what it made: paths of files (their content is hashed; relative ones lie in
    the project folder), or plain values. What needs it runs again only when these change. A step may be repeated at any
    time, by another machine too, so it should write its results whole and under names that depend on its interval.
    """

    folder: Path
    """Of the project."""
    pipeline: str
    step: str
    start: datetime
    """Of the interval, UTC."""
    end: datetime
    inputs: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Step, then name of the interval, to the outputs recorded for it."""
    settings: Mapping[str, Any]
    """`with:` of the project file."""
    attempt: int = 1
    ledger: str = "sqlite:///pipeline.db"
    """Database URL of the ledger, for steps that keep records beside it."""

    @property
    def interval(self) -> str:
        """Name of the interval."""
        from sanmaru.pipelines.intervals import Interval

        return Interval(self.start, self.end).name

    def input(self, step: str) -> Mapping[str, Any]:
        """Return the outputs of a needed step for this very interval.

        Raises:
            KeyError: when the step is not among the needs, or not for this interval.
        """
        return self.inputs[step][self.interval]
