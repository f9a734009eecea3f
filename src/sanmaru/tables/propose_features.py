"""The feature steps that a table's columns speak for, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

MANY = 50
"""Different values, each in two rows at least, from which a column of categories is encoded by its target."""
_LATITUDE = re.compile(r"^(.*[\W_])?(lat|latitude|위도)([\W_].*)?$", re.IGNORECASE)
_LONGITUDE = re.compile(r"^(.*[\W_])?(lon|lng|long|longitude|경도)([\W_].*)?$", re.IGNORECASE)
_CYCLES = (
    (re.compile(r"(^|[_\W])(hour|hr|hours)([_\W]|$)|시간?$|시각", re.IGNORECASE), 24.0, 0.0, 24.0),
    (re.compile(r"week_?day|day_?of_?week|dow|요일", re.IGNORECASE), 7.0, 0.0, 7.0),
    (re.compile(r"(^|[_\W])(month|mon|mnth)([_\W]|$)|월$", re.IGNORECASE), 12.0, 1.0, 12.0),
    (re.compile(r"(^|[_\W])minutes?([_\W]|$)|분$", re.IGNORECASE), 60.0, 0.0, 60.0),
    (re.compile(r"direction|bearing|azimuth|angle|풍향|방위", re.IGNORECASE), 360.0, 0.0, 360.0),
)
"""Names of numbers that come round: pattern, length of the cycle, smallest and largest value it may hold."""


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What is known of a column when steps are proposed."""

    name: str
    kind: Literal["number", "category", "text", "date", "other"]
    distinct: int = 0
    """Different values that occur at least twice, of a category."""
    low: float | None = None
    high: float | None = None
    missing_share: float = 0.0


@dataclass(frozen=True)
class ProposedStep:
    """A step as the project file names it, and why."""

    content: dict[str, Any]
    why: str


def propose_steps(columns: Sequence[Looks]) -> list[ProposedStep]:
    """Return the steps that columns speak for; none where they are plain numbers and small categories."""
    out = []
    many = [column for column in columns if column.kind == "category" and column.distinct > MANY]
    if many:
        shown = ", ".join(f"{column.name} ({column.distinct:,})" for column in many[:4])
        out.append(
            ProposedStep(
                {"target_encoding": {"columns": [column.name for column in many]}},
                f"Categories with many values, each replaced by its mean target from other rows: {shown}.",
            )
        )
    where = coordinates({c.name: (c.low, c.high) for c in columns if c.kind == "number"})
    if where:
        out.append(
            ProposedStep(
                {"neighbours": {"columns": list(where), "k": 10}},
                f"{where[0]} and {where[1]} are coordinates: what the nearest rows hold tells of a row.",
            )
        )
    dates = [column.name for column in columns if column.kind == "date" and column.missing_share < 0.5]
    if len(dates) > 1:
        out.append(
            ProposedStep(
                {"dates": {"columns": dates}},
                "The days between dates, and quarter, week and weekend beside the year, month, day and weekday that "
                "every model gets.",
            )
        )
    texts = [column.name for column in columns if column.kind == "text"]
    if texts:
        out.append(ProposedStep({"tfidf": {"columns": texts, "terms": 50}}, "Free text: its most frequent words."))
    return out


def coordinates(ranges: dict[str, tuple[float | None, float | None]]) -> tuple[str, str] | None:
    """Find the columns of latitude and longitude by name and range.

    Args:
        ranges: Smallest and largest value per column of numbers.

    Returns:
        (latitude, longitude), or None where there are none.
    """
    found = []
    for pattern, bound in ((_LATITUDE, 90.0), (_LONGITUDE, 180.0)):
        for name, (low, high) in ranges.items():
            if pattern.match(name) and low is not None and high is not None and -bound <= low <= high <= bound:
                found.append(name)
                break
    return (found[0], found[1]) if len(found) == 2 else None


def cycle_of(column: Looks) -> float | None:
    """The length of the cycle that a column of numbers runs through, told from its name and range, or None."""
    if column.kind != "number" or column.low is None or column.high is None:
        return None
    for pattern, length, low, high in _CYCLES:
        if pattern.search(column.name) and low <= column.low and column.high <= high:
            return length
    return None
