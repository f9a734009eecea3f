"""From values and thresholds to alarms: raised after several windows in a row, cleared after several, told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sanmaru.monitoring.columns import Kind
from sanmaru.monitoring.config import Severity

SEVERITIES: dict[Kind | Literal["service"], Severity] = {
    "data": "warning", "prediction": "warning", "residual": "problem", "error": "problem", "service": "problem",
}  # fmt: skip
ORDER: tuple[Severity, ...] = ("info", "warning", "problem")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one window says of one cause.

    Attributes:
        at: End of the window, microseconds since 1970 UTC.
        beyond: Whether it lies beyond a threshold.
        at_once: Whether an alarm is raised without waiting for further windows, as sequential detectors ask, which
            have waited themselves.
        value: Of the statistic that lies furthest beyond its threshold.
        threshold: Of that statistic.
        statistic: Its name.
    """

    at: int
    beyond: bool
    value: float
    threshold: float
    statistic: str
    at_once: bool = False


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """How things stand for one cause.

    Attributes:
        cause: Key of a watched column, or `service:` and the figure.
        raised: Whether the alarm stands.
        since: End of the window that raised it; 0 where none did.
        over: Windows beyond the threshold in a row.
        under: Windows within it in a row.
        checked: End of the newest window that was looked at.
    """

    cause: str
    raised: bool = False
    since: int = 0
    over: int = 0
    under: int = 0
    checked: int = 0


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What people are told: an alarm began or ended."""

    cause: str
    event: Literal["raised", "cleared"]
    severity: Severity
    at: int
    value: float
    threshold: float
    statistic: str
    text: str

    @property
    def id(self) -> str:
        """The same alert has the same id, so that a receiver can drop one that arrives twice."""
        return f"{self.cause}|{self.event}|{self.at}"

    def body(self) -> dict[str, Any]:
        """Return what is sent: plain values."""
        from datetime import UTC, datetime

        time = datetime.fromtimestamp(self.at / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"id": self.id, **vars(self), "at": time}


def decide(
    alarm: Alarm, looks: Sequence[Look], severity: Severity, *, raise_after: int, clear_after: int
) -> tuple[Alarm, list[Alert]]:
    """Go on with an alarm over new windows; those looked at before are passed over.

    Args:
        alarm: How things stood.
        looks: In order of time.
        severity: Of the alerts.
        raise_after: Windows beyond the threshold in a row that raise it.
        clear_after: Windows within it in a row that clear it.

    Returns:
        How things stand now, and what people are to be told. While an alarm stands, nothing more is told of its cause.
    """
    alerts: list[Alert] = []
    for look in looks:
        if look.at <= alarm.checked:
            continue
        over = alarm.over + 1 if look.beyond else 0
        under = 0 if look.beyond else alarm.under + 1
        alarm = replace(alarm, over=over, under=under, checked=look.at)
        if not alarm.raised and look.beyond and (over >= raise_after or look.at_once):
            alarm = replace(alarm, raised=True, since=look.at)
            alerts.append(_alert(alarm.cause, "raised", severity, look))
        elif alarm.raised and under >= clear_after:
            alarm = replace(alarm, raised=False, since=0)
            alerts.append(_alert(alarm.cause, "cleared", severity, look))
    return alarm, alerts


def _alert(cause: str, event: Literal["raised", "cleared"], severity: Severity, look: Look) -> Alert:
    relation = "above" if event == "raised" else "back within"
    text = f"{cause}: {look.statistic} {look.value:.4g}, {relation} its threshold {look.threshold:.4g}"
    return Alert(
        cause=cause,
        event=event,
        severity=severity,
        at=look.at,
        value=look.value,
        threshold=look.threshold,
        statistic=look.statistic,
        text=text,
    )
