"""`monitor:` of the project file: what is watched, how often it may cry wolf, and who is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sanmaru.config import Config

Statistic = Literal["ks", "wasserstein", "psi", "js"]
Sequential = Literal["page-hinkley", "adwin", "ddm", "eddm"]
Severity = Literal["info", "warning", "problem"]
DAYS = r"^[1-9][0-9]*(h|d|w)$"


class ServiceLimits(Config):
    """Fixed limits for figures of the service and the machine; a figure without a limit is shown and never alarms."""

    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """Of 95 in 100 requests, at most."""
    error_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Requests answered with an error (status 500 and above), at most."""
    freshness_h: Annotated[float, Field(gt=0)] | None = None
    """Hours since the newest row of the watched table, at most."""
    model_age_d: Annotated[float, Field(gt=0)] | None = None
    """Days since the first row predicted by the newest version, at most."""
    missing_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Missing values of a watched column in the newest window, at most."""


class EmailConfig(Config):
    """Alerts by e-mail. User and password are read from SANMARU_SMTP_USER and SANMARU_SMTP_PASSWORD."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    sender: str
    to: Annotated[tuple[str, ...], Field(min_length=1)]
    security: Literal["starttls", "tls", "none"] = "starttls"


class AlertConfig(Config):
    """Who is told of an alarm, and of its end."""

    webhook: str | None = None
    """Gets a JSON object by POST; `${NAME}` stands for a variable of the environment."""
    email: EmailConfig | None = None
    file: str | None = None
    """JSON lines, one per alert, relative to the project folder."""
    at_least: Severity = "warning"
    """Alerts of a lower severity are kept in the state only."""
    timeout_s: Annotated[float, Field(gt=0)] = 10
    retries: Annotated[int, Field(ge=0)] = 5
    """Further tries for a channel that fails, one with each later look; what failed is recorded."""

    @field_validator("webhook")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://", "${")):
            raise ValueError("a webhook is an address that begins with http:// or https://")
        return value


class EstimateConfig(Config):
    """How wrong predictions are before the truth is known, learned on the reference."""

    residual: str | None = None
    """Column of truth minus prediction: the mean of its size is estimated from the inputs (direct loss estimation)."""
    error: str | None = None
    """Column of 0 and 1 that says whether a class was wrong: its rate is estimated from the confidence."""
    inputs: tuple[str, ...] = ()
    """Columns that the size of a residual is told from: inputs, the prediction, its quantiles. Where a `.q10` and a
    `.q90` are among them, the width between them is added."""
    confidence: str | None = None
    """Column with the probability of the predicted class."""
    model: Literal["lightgbm", "ridge"] = "lightgbm"

    @model_validator(mode="after")
    def _one_kind(self) -> EstimateConfig:
        if (self.residual is None) == (self.error is None):
            raise ValueError("estimate: name either residual: (numbers) or error: (classes)")
        if self.residual is not None and not self.inputs:
            raise ValueError("estimate: residual needs inputs: that its size is told from")
        if self.error is not None and self.confidence is None:
            raise ValueError("estimate: error needs confidence:, the probability of the predicted class")
        return self


class MonitorConfig(Config):
    """What is watched in windows of time, against which reference, at which rate of false alarms."""

    reference: str | None = None
    """Table of the undisturbed period (csv or parquet); needed by `sanmaru monitor`."""
    current: str | None = None
    """Table of what came since."""
    requests: str | None = None
    """Log of requests with `time`, and `latency_ms`, `status`, `version` where it has them: a table, or the database
    URL that `sanmaru serve --log` writes to."""
    time: str = "time"
    """Column with the time of each row."""
    series: str | None = None
    """Column with the series; each is then watched by itself."""
    zone: str = "UTC"
    """Time zone of the clock that seasons follow, and of times without one."""
    data: tuple[str, ...] = ()
    """Input columns. Where data, predictions and residuals are all empty, every column but time and series is one."""
    predictions: tuple[str, ...] = ()
    residuals: tuple[str, ...] = ()
    """Columns of truth minus prediction; sequential detectors watch these."""
    errors: tuple[str, ...] = ()
    """Columns of 0 and 1 (or false and true) that say whether a prediction was wrong; DDM and EDDM watch these."""
    window: Annotated[str, Field(pattern=DAYS)] = "7d"
    """Length of the windows that are compared with the reference: 24h, 7d, 4w."""
    step: Annotated[str, Field(pattern=DAYS)] = "1d"
    """From one window to the next."""
    season: Literal["auto", "none", "hour", "month-hour"] = "auto"
    """What is taken off before comparing: mean and spread by hour of day, or by month and hour; `auto` takes
    month-hour where the reference covers two years, else hour."""
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ("ks", "wasserstein")
    """For numbers; categories are always compared by Jensen-Shannon distance."""
    sequential: tuple[Sequential, ...] = ("page-hinkley",)
    """Detectors that follow residuals (page-hinkley, adwin) and errors (ddm, eddm) value by value."""
    false_alarms_per_year: Annotated[float, Field(gt=0)] = 1.0
    """Over everything that is watched together, sequential detectors included."""
    thresholds: Literal["calibrated", "textbook"] = "calibrated"
    """`textbook` takes KS p < 0.05, Wasserstein 0.1 of a standard deviation, PSI 0.2, Jensen-Shannon 0.1, for
    comparison; its false-alarm rate is unknown."""
    power: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """With which probability the smallest detectable shift is found."""
    raise_after: Annotated[int, Field(ge=1)] = 2
    """Consecutive windows beyond the threshold before an alarm is raised."""
    clear_after: Annotated[int, Field(ge=1)] = 3
    """Consecutive windows within the threshold before it is cleared."""
    fullness: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Windows with fewer values than this share of the usual number are not judged."""
    estimate: EstimateConfig | None = None
    """Estimate the error while the truth is still missing."""
    seed: int = 7
    """Of the resampled blocks."""
    state: str = "sqlite:///monitor.db"
    """Database of alarms, checks and calibrations; relative to the project folder."""
    limits: ServiceLimits = ServiceLimits()
    alerts: AlertConfig = AlertConfig()

    @model_validator(mode="after")
    def _fits(self) -> MonitorConfig:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        if hours(self.step) > hours(self.window):
            raise ValueError(f"step: {self.step} is longer than window: {self.window}; rows would never be looked at")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"zone: {self.zone!r} is no time zone. Write e.g. Asia/Seoul") from None
        if "adwin" in self.sequential and not self.residuals and self.errors:
            raise ValueError("sequential: adwin follows residuals, and residuals: names none")
        return self


def hours(text: str) -> int:
    """Return a length of time in hours.

    >>> hours("7d"), hours("36h")
    (168, 36)
    """
    return int(text[:-1]) * {"h": 1, "d": 24, "w": 168}[text[-1]]
