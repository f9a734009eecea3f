"""Hourly rows of three stations over 70 days, without a fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sanmaru.tasks.anomalies.config import TRAINING, AnomalyConfig
from sanmaru.tasks.anomalies.fitted import Fitted, fit_detector

SMALL = {
    "isolation-forest": {"trees": 50},
    "lof": {"rows": 1000},
    "one-class-svm": {"rows": 1000},
    "autoencoder": {"hidden": 24, "code": 6},
    "lstm-autoencoder": {"window": 8, "hidden": 16, "code": 6, "rows": 1500},
}


def hourly(days: int = 70, stations: tuple[str, ...] = ("a", "b", "c"), seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    parts = []
    for number, station in enumerate(stations):
        n = 24 * days
        hour = np.arange(n) % 24
        slow = np.convolve(generator.normal(size=n + 23), np.ones(24) / 24, mode="valid") * 4
        pm10 = np.round(np.exp(3.4 + 0.3 * slow + 0.15 * np.sin(hour / 24 * 6.3) + 0.1 * generator.normal(size=n)), 1)
        pm25 = np.round(0.6 * pm10 + generator.normal(size=n), 1)
        temperature = np.round(
            10 + 5 * number + 6 * np.sin((hour - 9) / 24 * 6.3) + slow + 0.3 * generator.normal(size=n), 1
        )
        rain = np.where(generator.random(n) < 0.05, np.round(generator.exponential(2, n), 1), 0.0)
        times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=place) for place in range(n)]
        parts.append(
            pl.DataFrame(
                {"series": station, "time": times, "pm10": pm10, "pm25": pm25, "temperature": temperature, "rain": rain}
            )
        )
    return pl.concat(parts).with_columns(pl.col("time").dt.cast_time_unit("us"))


def small_config(kind: str, **fields: object) -> AnomalyConfig:
    model = {"kind": kind, **SMALL.get(kind, {})}
    train = TRAINING.model_copy(update={"epochs": 4})
    return AnomalyConfig.model_validate({"model": model, "train": train, **fields})


_FITTED: dict[str, Fitted] = {}


@pytest.fixture(scope="session")
def stations() -> pl.DataFrame:
    return hourly()


@pytest.fixture(scope="session")
def fitted_of(stations):
    """Fits a kind of detector on the stations, once per session."""

    def fit(kind: str) -> Fitted:
        if kind not in _FITTED:
            _FITTED[kind] = fit_detector(stations, small_config(kind))
        return _FITTED[kind]

    return fit


@pytest.fixture(scope="session")
def make_hourly():
    return hourly


@pytest.fixture(scope="session")
def make_config():
    return small_config
