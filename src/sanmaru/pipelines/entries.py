"""The ledger's two tables, and what a row of each is in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

State = Literal["waiting", "running", "done", "nothing", "failed"]
"""`nothing`: complete, and there was nothing new to do. `failed`: given up until somebody asks for a retry."""
COMPLETE = ("done", "nothing")

METADATA = sa.MetaData()
ENTRIES = sa.Table(
    "sanmaru_ledger",
    METADATA,
    sa.Column("pipeline", sa.String(80), primary_key=True),
    sa.Column("step", sa.String(80), primary_key=True),
    sa.Column("start", sa.String(20), primary_key=True),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("marks", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("next_try", sa.Double, nullable=False),
    sa.Column("done_key", sa.String(64), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("outputs", sa.Text, nullable=False),
    sa.Column("outputs_hash", sa.String(64), nullable=False),
    sa.Column("ended", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("sanmaru_ledger_open", "pipeline", "state", "start"),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
ATTEMPTS = sa.Table(
    "sanmaru_attempts",
    METADATA,
    sa.Column("pipeline", sa.String(80), primary_key=True),
    sa.Column("step", sa.String(80), primary_key=True),
    sa.Column("start", sa.String(20), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("step_key", sa.String(64), nullable=False),
    sa.Column("began", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)


class FencedError(Exception):
    """This attempt is no longer the one that counts: its lease ran out and the step was given to another."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How one step stands for one interval."""

    step: str
    start: str
    """Name of the interval."""
    state: State = "waiting"
    attempt: int = 0
    """Number of the newest attempt; a worker's fence."""
    tries: int = 0
    """Failures since the last success."""
    marks: int = 0
    """How often an input changed since it was begun; while there are marks it is looked at again."""
    owner: str = ""
    lease_until: float = 0.0
    next_try: float = 0.0
    done_key: str = ""
    """Hash of code, settings and inputs that the outputs belong to; empty while there are none."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What it was made from: `step@interval` to the hash of its outputs."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    outputs_hash: str = ""
    ended: float = 0.0
    seconds: float = 0.0
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether what depends on it may start."""
        return self.state in COMPLETE and not self.marks


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The right to do a step, until the lease runs out."""

    pipeline: str
    step: str
    start: str
    number: int
    key: str
    owner: str


def entry_of(row: sa.Row[Any]) -> Entry:
    """Return the entry that a row of the database holds."""
    values = dict(row._mapping)
    values.pop("pipeline")
    for name in ("inputs", "outputs"):
        values[name] = json.loads(values[name])
    return Entry(**values)
