"""Which column of a table plays which role."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sanmaru.tables.joint import JointTarget

ROW_ID = "row"
"""Name of the id column that is made where the data has none: the row's position from 0."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Column names by role. Every name stands in the table that was read with it."""

    id: str
    targets: tuple[str, ...]
    features: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    image: str | None = None
    joint: JointTarget | None = None
    """The targets behind the first name of `targets`, where it is a joint label; their columns stand in the training
    table too."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Columns of the targets that make the joint label; none where the target is a column of the data."""
        return () if self.joint is None else tuple(name for name in self.joint.names if name not in self.targets)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Roles:
        """Rebuild roles from `to_json`."""
        joint = value.get("joint")
        return cls(
            **{
                **value,
                "targets": tuple(value["targets"]),
                "features": tuple(value["features"]),
                "joint": None if joint is None else JointTarget.from_json(joint),
            }
        )
