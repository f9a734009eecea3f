"""A small state of the page: three districts, two kinds of dust and the temperature, with what may be odd."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sanmaru.publish import ForecastState, ModelInfo, Score, SeriesInfo, TargetInfo, Words

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
"""15:00 in Seoul."""
NAMES = ("종로구", "중구", '<b>나쁜</b> & "구" \'')
COLUMNS = ("pm10", "pm25", "t")


def observed(series: str, place: int) -> list[dict]:
    return [
        {
            "series": series,
            "time": NOW + timedelta(hours=hour),
            "pm10": None if hour == -20 else 20.0 + 30 * place + hour % 5,
            "pm25": 15.5 + 21 * place,
            "t": -3.25 + place,
            "anomaly": hour == -5 and place == 0,
            "anomaly.score": 9.5 if hour == -5 else 0.1,
            "anomaly.reason": "pm10 </script><script>alert(1)</script>" if hour == -5 else None,
        }
        for hour in range(-71, 1)
    ]


def ahead(series: str, place: int, origin: datetime, hours: int, shift: float = 0.0) -> list[dict]:
    rows = []
    for step in range(1, hours + 1):
        row = {"series": series, "origin": origin, "horizon": step, "time": origin + timedelta(hours=step)}
        for name, level in zip(COLUMNS, (20.0 + 30 * place, 15.5 + 21 * place, -3.25 + place), strict=True):
            point = level + shift + step
            row |= {name: point, f"{name}.q10": point - 10, f"{name}.q50": point, f"{name}.q90": point + 10}
        rows.append(row)
    return rows


def make_state(**changes) -> ForecastState:
    options = {
        "title": Words("Seoul <air>", "서울 <공기>"),
        "targets": [
            TargetInfo(name="pm10", unit="µg/m³", label=Words("PM10", "미세먼지"), grade="pm10"),
            TargetInfo(name="pm25", unit="µg/m³", label=Words("PM2.5", "초미세먼지"), grade="pm25"),
            TargetInfo(name="t", unit="°C", label=Words("Temperature", "기온"), digits=1),
        ],
        "series": [
            SeriesInfo(id=NAMES[0], label=Words("Jongno", NAMES[0]), place=(1, 1)),
            SeriesInfo(id=NAMES[1], label=Words("Jung", NAMES[1]), place=(1, 2)),
            SeriesInfo(id=NAMES[2], place=(2, 1)),
        ],
        "observations": pl.DataFrame([row for place, one in enumerate(NAMES) for row in observed(one, place)]),
        "forecast": pl.DataFrame([row for place, one in enumerate(NAMES) for row in ahead(one, place, NOW, 48)]),
        "earlier": pl.DataFrame(
            [row for n, one in enumerate(NAMES) for row in ahead(one, n, NOW - timedelta(hours=24), 24, shift=-3.0)]
        ),
        "model": ModelInfo(
            name="lstm<1>",
            version="7",
            trained_at=NOW - timedelta(days=10),
            score=Score(metric="MAE", value=6.24, unit="µg/m³", baseline="persistence", baseline_value=8.0),
        ),
        "generated_at": NOW + timedelta(minutes=24),
        "language": "en",
        "sources": Words("Data: <AirKorea>", "자료: <에어코리아>"),
    }
    return ForecastState(**{**options, **changes})


@pytest.fixture
def state() -> ForecastState:
    return make_state()


@pytest.fixture
def changed_state():
    return make_state
