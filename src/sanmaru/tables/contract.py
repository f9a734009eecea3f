"""What a row must look like: the contract that every entry checks, and the record of a row that broke it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["number", "integer", "boolean", "category", "text", "date", "image"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one column of a table holds."""

    name: str
    kind: Kind
    required: bool = False
    """Whether a missing value breaks the contract."""
    categories: tuple[str, ...] | None = None
    """Values seen in training, most frequent first; at prediction others are taken as "unknown", not refused."""
    low: float | None = None
    """Smallest number seen in training (information for forms and drift, not a bound)."""
    high: float | None = None
    example: Any = None
    date_format: str | None = None
    unit: str | None = None
    """What numbers are written with, such as ㎡, % or $; it may stand with a number, and is taken off."""

    @property
    def form(self) -> str | None:
        """How its cells are written: the format of dates, or the unit of numbers."""
        return self.date_format if self.kind == "date" else self.unit

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Column:
        """Rebuild a column from `to_json`."""
        categories = value.get("categories")
        return cls(**{**value, "categories": None if categories is None else tuple(categories)})


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A row set aside, and why."""

    row: int
    """Position in the source, from 0, header not counted."""
    id: str | None
    column: str
    value: str
    """At most 200 characters of what stood there."""
    rule: str
    """Short name: `unreadable-image`, `not-a-number`, `missing-target`, `duplicate-id` ..."""
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """The rows that could not be used; never silent, always counted."""

    violations: tuple[Violation, ...] = field(default=())

    def __len__(self) -> int:
        return len({violation.row for violation in self.violations})

    def counts(self) -> dict[str, int]:
        """Number of violations per rule."""
        out: dict[str, int] = {}
        for violation in self.violations:
            out[violation.rule] = out.get(violation.rule, 0) + 1
        return out

    def __add__(self, other: Quarantine) -> Quarantine:
        return Quarantine(self.violations + other.violations)
