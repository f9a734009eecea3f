"""Sending what is to be sent: a channel that fails is tried again with the next look, and never stops monitoring."""

from __future__ import annotations

from pathlib import Path

from sanmaru.monitoring.channels import append_file, send_email, send_webhook
from sanmaru.monitoring.config import AlertConfig
from sanmaru.monitoring.decide import ORDER, Alarm, Alert
from sanmaru.monitoring.state import MonitorState, Outgoing


def channels_of(config: AlertConfig) -> tuple[str, ...]:
    """Names of the channels that are set."""
    return tuple(
        name
        for name, value in (("webhook", config.webhook), ("email", config.email), ("file", config.file))
        if value is not None
    )


def note(state: MonitorState, alarms: list[Alarm], alerts: list[Alert], config: AlertConfig) -> None:
    """Keep alarms and alerts; those below `at_least` are kept for no channel."""
    loud = [alert for alert in alerts if ORDER.index(alert.severity) >= ORDER.index(config.at_least)]
    quiet = [alert for alert in alerts if alert not in loud]
    if quiet:
        state.keep((), quiet, ())
    state.keep(alarms, loud, channels_of(config))


def deliver(state: MonitorState, config: AlertConfig, folder: Path) -> list[Outgoing]:
    """Send every alert that waits, each channel by itself, and record how it went.

    A channel that failed is not asked again for further alerts of the same look, so that a dead server costs one
    time-out.

    Args:
        state: Where the alerts wait.
        config: Of the channels.
        folder: The project's.

    Returns:
        What was tried, with its new state and error.
    """
    dead: set[str] = set()
    tried = []
    for alert in state.outgoing("waiting"):
        if alert.channel in dead:
            continue
        error = _send(alert, config, folder)
        if error:
            dead.add(alert.channel)
        tried.append(state.sent(alert, error, config.retries))
    return tried


def _send(alert: Outgoing, config: AlertConfig, folder: Path) -> str:
    """Send one alert; return what went wrong, or an empty text."""
    try:
        match alert.channel:
            case "webhook" if config.webhook is not None:
                send_webhook(config.webhook, alert.body, config.timeout_s)
            case "email" if config.email is not None:
                send_email(config.email, alert.body, config.timeout_s)
            case "file" if config.file is not None:
                append_file(folder / config.file, alert.body)
            case _:
                return f"the channel {alert.channel!r} is not set any more"
    except Exception as error:  # whatever a server answers must not stop the watch; http.client has its own errors
        return f"{type(error).__name__}: {error}"
    return ""
