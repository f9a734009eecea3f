"""What monitoring remembers: alarms, alerts still to be sent, calibrations, estimates. A restart repeats nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from sanmaru.monitoring.decide import Alarm, Alert

_METADATA = sa.MetaData()
_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_ALARMS = sa.Table(
    "sanmaru_alarms",
    _METADATA,
    sa.Column("cause", sa.String(250), primary_key=True),
    sa.Column("raised", sa.Boolean, nullable=False),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("over", sa.Integer, nullable=False),
    sa.Column("under", sa.Integer, nullable=False),
    sa.Column("checked", sa.BigInteger, nullable=False),
    **_OPTIONS,
)
_ALERTS = sa.Table(
    "sanmaru_alerts",
    _METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("channel", sa.String(20), primary_key=True),
    sa.Column("noted", sa.Double, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    **_OPTIONS,
)
_CALIBRATIONS = sa.Table(
    "sanmaru_calibrations",
    _METADATA,
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("made", sa.Double, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    **_OPTIONS,
)
_ESTIMATES = sa.Table(
    "sanmaru_estimates",
    _METADATA,
    sa.Column("name", sa.String(150), primary_key=True),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("estimated", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
    sa.Column("realised", sa.Double),
    sa.Column("rows_known", sa.Integer, nullable=False),
    **_OPTIONS,
)
KEPT_CALIBRATIONS = 20


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """An alert for one channel."""

    id: str
    channel: str
    state: str
    """`waiting`, `sent`, or `failed`: given up."""
    tries: int
    error: str
    body: dict[str, Any]


class MonitorState:
    """The state in a database.

    Example:
        >>> from pathlib import Path
        >>> from sanmaru.database import open_engine
        >>> state = MonitorState(open_engine("sqlite://", Path()))
        >>> state.alarms()
        {}
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        _METADATA.create_all(engine)

    def alarms(self) -> dict[str, Alarm]:
        """Return how things stand, by cause."""
        with self.engine.connect() as connection:
            return {row.cause: Alarm(**row._mapping) for row in connection.execute(sa.select(_ALARMS))}

    def keep(self, alarms: Iterable[Alarm], alerts: Sequence[Alert], channels: Sequence[str]) -> None:
        """Keep alarms, and alerts to be sent, in one transaction: an alert is never lost and never made twice.

        Args:
            alarms: As they stand now.
            alerts: New ones.
            channels: That each is to be sent by; `none` is added where there are none, so that it is on record.
        """
        now = time.time()
        rows = [
            {"id": _short(alert.id), "channel": channel, "noted": now + place * 1e-5, "tries": 0, "error": "",
             "state": "waiting" if channels else "sent", "body": json.dumps(alert.body(), ensure_ascii=False)}
            for place, alert in enumerate(alerts)
            for channel in (channels or ("none",))
        ]  # fmt: skip
        with self.engine.begin() as connection:
            for alarm in alarms:
                connection.execute(sa.delete(_ALARMS).where(_ALARMS.c.cause == alarm.cause))
                connection.execute(sa.insert(_ALARMS).values(**vars(alarm)))
            for row in rows:
                place = (_ALERTS.c.id == row["id"], _ALERTS.c.channel == row["channel"])
                if connection.execute(sa.select(_ALERTS.c.id).where(*place)).first() is None:
                    connection.execute(sa.insert(_ALERTS).values(**row))

    def outgoing(self, *states: str) -> list[Outgoing]:
        """Return alerts in these states (all where none is named), oldest first."""
        rows = sa.select(_ALERTS).order_by(_ALERTS.c.noted, _ALERTS.c.id)
        if states:
            rows = rows.where(_ALERTS.c.state.in_(states))
        with self.engine.connect() as connection:
            found = [dict(row._mapping) for row in connection.execute(rows)]
        for row in found:
            row.pop("noted")
            row["body"] = json.loads(row["body"])
        return [Outgoing(**row) for row in found]

    def sent(self, alert: Outgoing, error: str, retries: int) -> Outgoing:
        """Record a try; `error` is empty where it went well. After `retries` further failures it is given up."""
        tries = alert.tries + 1
        state = "sent" if not error else "failed" if tries > retries else "waiting"
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(_ALERTS)
                .where(_ALERTS.c.id == alert.id, _ALERTS.c.channel == alert.channel)
                .values(state=state, tries=tries, error=error[:2000])
            )
        return replace(alert, state=state, tries=tries, error=error)

    def calibration(self, fingerprint: str) -> dict[str, Any] | None:
        """Return a kept calibration, or None."""
        with self.engine.connect() as connection:
            body = connection.execute(
                sa.select(_CALIBRATIONS.c.body).where(_CALIBRATIONS.c.fingerprint == fingerprint)
            ).scalar()
        return None if body is None else json.loads(body)

    def keep_calibration(self, fingerprint: str, body: Mapping[str, Any]) -> None:
        """Keep a calibration; the oldest ones go."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(_CALIBRATIONS).where(_CALIBRATIONS.c.fingerprint == fingerprint))
            connection.execute(
                sa.insert(_CALIBRATIONS).values(fingerprint=fingerprint, made=time.time(), body=json.dumps(body))
            )
            newest = sa.select(_CALIBRATIONS.c.fingerprint).order_by(_CALIBRATIONS.c.made.desc())
            old = list(connection.execute(newest).scalars())[KEPT_CALIBRATIONS:]
            connection.execute(sa.delete(_CALIBRATIONS).where(_CALIBRATIONS.c.fingerprint.in_(old)))

    def keep_estimates(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep estimates of one model and measure, by window.

        An estimate that stands is not changed, for it is what was said before the truth came; `realised` is filled in
        and corrected.
        """
        with self.engine.begin() as connection:
            known = set(connection.execute(sa.select(_ESTIMATES.c.at).where(_ESTIMATES.c.name == name)).scalars())
            for row in rows:
                if row["at"] in known:
                    changed = {one: row[one] for one in ("realised", "rows_known")}
                    place = (_ESTIMATES.c.name == name, _ESTIMATES.c.at == row["at"])
                    connection.execute(sa.update(_ESTIMATES).where(*place).values(**changed))
                else:
                    connection.execute(sa.insert(_ESTIMATES).values(name=name, **row))

    def estimates(self, name: str) -> list[dict[str, Any]]:
        """Return the kept estimates in order of time: at, estimated, low, high, realised, rows_known."""
        rows = sa.select(_ESTIMATES).where(_ESTIMATES.c.name == name).order_by(_ESTIMATES.c.at)
        with self.engine.connect() as connection:
            return [
                {one: value for one, value in row._mapping.items() if one != "name"} for row in connection.execute(rows)
            ]


def _short(text: str) -> str:
    """An id that any database takes as a key."""
    return hashlib.sha256(text.encode()).hexdigest()[:40]
