"""When to train again: new data, the calendar, errors, drift, anomalies, or somebody asks.

Pure functions of figures that were measured elsewhere. Every trigger gives a verdict, also where it does not fire or
its figure is unknown, so that a decision can be read later with what made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from sanmaru.config import Config

Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


class RetrainConfig(Config):
    """When a model is trained again. A trigger without a threshold is off; a request always counts."""

    every_days: Positive | None = None
    """Days since the champion was trained."""
    new_rows: Annotated[int, Field(ge=1)] | None = None
    """Rows with their target known that came since the champion was trained."""
    new_fraction: Positive | None = None
    """The same, as a fraction of the rows that the champion was trained on."""
    worse_by: Positive | None = None
    """How much larger the champion's rolling error is than at its evaluation, as a fraction: 0.2 is a fifth more."""
    least_errors: Annotated[int, Field(ge=1)] = 100
    """A rolling error made of fewer rows decides nothing."""
    drift: Fraction | None = None
    """Fraction of the watched columns that drift."""
    anomaly_rate: Fraction | None = None
    """Fraction of the recent rows that are anomalous."""
    cooldown_days: Annotated[float, Field(ge=0)] = 1.0
    """Days after a training in which only a request starts another, whether its model was promoted or not."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is known at the moment of a decision; None where it is not known."""

    now: datetime
    """End of the data interval, with its time zone."""
    champion_trained: datetime | None = None
    """End of the data that the champion was trained on; None where there is no champion."""
    last_training: datetime | None = None
    """When a challenger was trained last, promoted or not."""
    champion_rows: int | None = None
    new_rows: int | None = None
    """Since the champion was trained."""
    champion_error: float | None = None
    """At its evaluation."""
    rolling_error: float | None = None
    """The same metric on what came since; lower is better."""
    rolling_rows: int = 0
    drift: float | None = None
    anomaly_rate: float | None = None
    requests: Sequence[str] = ()
    """Reasons of open requests."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one trigger says."""

    trigger: str
    fired: bool
    figure: float | None
    """What was measured."""
    threshold: float | None
    """From which on it fires."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether to train again, and why."""

    yes: bool
    trigger: str
    """The first that fired; `cooldown` where that held it back; empty where none fired."""
    reason: str
    verdicts: tuple[Verdict, ...]
    figures: Figures


def decide(config: RetrainConfig, figures: Figures) -> Decision:
    """Decide whether to train again.

    A request and the lack of a champion start a training at once; the others wait until `cooldown_days` have passed
    since the last one.
    """
    pressing = (_requested(figures), _no_champion(figures))
    others = (
        _schedule(config, figures),
        _volume(config, figures),
        _volume_fraction(config, figures),
        _metric(config, figures),
        _level("drift", "of the watched columns drift", figures.drift, config.drift),
        _level("anomalies", "of the recent rows are anomalous", figures.anomaly_rate, config.anomaly_rate),
    )
    verdicts = (*pressing, *others)
    fired = next((one for one in verdicts if one.fired), None)
    if fired is None:
        return Decision(yes=False, trigger="", reason="no trigger fired", verdicts=verdicts, figures=figures)
    resting = _cooldown(config, figures)
    if fired in others and resting:
        reason = f"{fired.reason}; but {resting}"
        return Decision(yes=False, trigger="cooldown", reason=reason, verdicts=verdicts, figures=figures)
    return Decision(yes=True, trigger=fired.trigger, reason=fired.reason, verdicts=verdicts, figures=figures)


def _requested(figures: Figures) -> Verdict:
    asked = list(figures.requests)
    reason = f"asked for: {'; '.join(asked)}" if asked else "nobody asked"
    return Verdict(trigger="request", fired=bool(asked), figure=len(asked), threshold=1, reason=reason)


def _no_champion(figures: Figures) -> Verdict:
    absent = figures.champion_trained is None
    reason = "there is no champion yet" if absent else "there is a champion"
    return Verdict(trigger="first", fired=absent, figure=None, threshold=None, reason=reason)


def _schedule(config: RetrainConfig, figures: Figures) -> Verdict:
    if figures.champion_trained is None:
        return _unknown("schedule", config.every_days, "there is no champion")
    newest = max(figures.champion_trained, figures.last_training or figures.champion_trained)
    days = (figures.now - newest) / timedelta(days=1)
    return _compared("schedule", days, config.every_days, f"{days:.1f} days since the last training")


def _volume(config: RetrainConfig, figures: Figures) -> Verdict:
    if figures.new_rows is None:
        return _unknown("rows", config.new_rows, "the number of new rows is not known")
    return _compared("rows", figures.new_rows, config.new_rows, f"{figures.new_rows:,} new rows")


def _volume_fraction(config: RetrainConfig, figures: Figures) -> Verdict:
    if figures.new_rows is None or not figures.champion_rows:
        return _unknown("volume", config.new_fraction, "how many rows are new, or were trained on, is not known")
    part = figures.new_rows / figures.champion_rows
    text = f"{figures.new_rows:,} new rows beside {figures.champion_rows:,} trained on ({part:.0%})"
    return _compared("volume", part, config.new_fraction, text)


def _metric(config: RetrainConfig, figures: Figures) -> Verdict:
    rolling, before = figures.rolling_error, figures.champion_error
    if rolling is None or not before:
        return _unknown("metric", config.worse_by, "the champion's error, rolling or at its evaluation, is not known")
    if figures.rolling_rows < config.least_errors:
        few = f"the rolling error is made of {figures.rolling_rows} rows, fewer than {config.least_errors}"
        return _unknown("metric", config.worse_by, few)
    worse = rolling / before - 1
    return _compared(
        "metric", worse, config.worse_by, f"error {rolling:.4g}, at its evaluation {before:.4g} ({worse:+.0%})"
    )


def _level(trigger: str, what: str, figure: float | None, threshold: float | None) -> Verdict:
    if figure is None:
        return _unknown(trigger, threshold, "not measured")
    return _compared(trigger, figure, threshold, f"{figure:.1%} {what}")


def _cooldown(config: RetrainConfig, figures: Figures) -> str:
    """Why to wait; empty where there is no reason to."""
    if figures.last_training is None:
        return ""
    days = (figures.now - figures.last_training) / timedelta(days=1)
    if days >= config.cooldown_days:
        return ""
    return f"the last training was {days:.1f} days ago, and {config.cooldown_days:g} are to lie between two"


def _compared(trigger: str, figure: float, threshold: float | None, text: str) -> Verdict:
    if threshold is None:
        return Verdict(
            trigger=trigger, fired=False, figure=figure, threshold=None, reason=f"{text}; no threshold is set"
        )
    fired = figure >= threshold
    relation = "reaches" if fired else "stays below"
    return Verdict(
        trigger=trigger, fired=fired, figure=figure, threshold=threshold, reason=f"{text}: {relation} {threshold:g}"
    )


def _unknown(trigger: str, threshold: float | None, why: str) -> Verdict:
    return Verdict(trigger=trigger, fired=False, figure=None, threshold=threshold, reason=why)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return list(value) if isinstance(value, tuple | list) else value
