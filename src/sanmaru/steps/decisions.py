"""What was decided and what was asked for, kept beside the ledger, one row each."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from sanmaru.steps.triggers import Decision

_METADATA = sa.MetaData()
_DECISIONS = sa.Table(
    "sanmaru_decisions",
    _METADATA,
    sa.Column("pipeline", sa.String(80), primary_key=True),
    sa.Column("what", sa.String(80), primary_key=True),
    sa.Column("start", sa.String(20), primary_key=True),
    sa.Column("yes", sa.Boolean, nullable=False),
    sa.Column("fired", sa.String(40), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
    sa.Column("verdicts", sa.Text, nullable=False),
    sa.Column("decided", sa.String(40), nullable=False),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)
_REQUESTS = sa.Table(
    "sanmaru_requests",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pipeline", sa.String(80), nullable=False),
    sa.Column("what", sa.String(80), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_by", sa.String(200), nullable=False),
    sa.Column("asked", sa.String(40), nullable=False),
    sa.Column("taken_by", sa.String(20), nullable=False),
    sa.Index("sanmaru_requests_open", "pipeline", "what", "taken_by"),
    mysql_charset="utf8mb4",
    mysql_collate="utf8mb4_bin",
)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A decision as it was recorded."""

    what: str
    interval: str
    yes: bool
    trigger: str
    reason: str
    figures: Mapping[str, Any]
    verdicts: Sequence[Mapping[str, Any]]
    decided: str
    """When, UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


class Decisions:
    """The decisions and requests of one pipeline.

    Args:
        engine: Of the ledger's database; tables are made where they are absent.
        pipeline: Name.
    """

    def __init__(self, engine: sa.Engine, pipeline: str) -> None:
        self.engine = engine
        self.pipeline = pipeline
        _METADATA.create_all(engine)

    def request(self, what: str, reason: str) -> None:
        """Ask for something; the next decision takes it up."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.insert(_REQUESTS).values(
                    pipeline=self.pipeline, what=what, reason=reason, asked_by=_user(), asked=_now(), taken_by=""
                )
            )

    def open_requests(self, what: str, interval: str = "") -> list[str]:
        """Return the reasons of requests that no decision has taken up, but for the one of `interval` itself."""
        with self.engine.connect() as connection:
            return [row.reason for row in connection.execute(self._requests(what, interval))]

    def decide(self, what: str, interval: str, make: Callable[[Sequence[str]], Decision]) -> Decision:
        """Decide, and record the decision and the requests it took up in one transaction.

        A decision that is made again for the same interval sees the requests it saw before and takes the old one's
        place: nothing is asked for twice, and nothing that was asked for is lost.

        Args:
            what: Such as `retrain`.
            interval: Name of the data interval.
            make: Given the reasons of open requests, returns the decision.
        """
        with self.engine.begin() as connection:
            asked = list(connection.execute(self._requests(what, interval)))
            decision = make([row.reason for row in asked])
            place = (
                _DECISIONS.c.pipeline == self.pipeline, _DECISIONS.c.what == what, _DECISIONS.c.start == interval
            )  # fmt: skip
            connection.execute(sa.delete(_DECISIONS).where(*place))
            connection.execute(
                sa.insert(_DECISIONS).values(
                    pipeline=self.pipeline, what=what, start=interval, yes=decision.yes, fired=decision.trigger,
                    reason=decision.reason, figures=_text(decision.figures.to_dict()),
                    verdicts=_text([asdict(one) for one in decision.verdicts]), decided=_now(),
                )
            )  # fmt: skip
            if asked:
                taken = sa.update(_REQUESTS).where(_REQUESTS.c.id.in_([row.id for row in asked]))
                connection.execute(taken.values(taken_by=interval))
        return decision

    def newest(self, limit: int = 20) -> list[Recorded]:
        """Return decisions, newest interval first."""
        rows = (
            sa.select(_DECISIONS)
            .where(_DECISIONS.c.pipeline == self.pipeline)
            .order_by(_DECISIONS.c.start.desc(), _DECISIONS.c.what)
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [
                Recorded(
                    what=row.what, interval=row.start, yes=bool(row.yes), trigger=row.fired, reason=row.reason,
                    figures=json.loads(row.figures), verdicts=json.loads(row.verdicts), decided=row.decided,
                )
                for row in connection.execute(rows)
            ]  # fmt: skip

    def _requests(self, what: str, interval: str) -> sa.Select[Any]:
        open_ones = _REQUESTS.c.taken_by.in_(["", interval])
        return (
            sa.select(_REQUESTS)
            .where(_REQUESTS.c.pipeline == self.pipeline, _REQUESTS.c.what == what, open_ones)
            .order_by(_REQUESTS.c.id)
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
