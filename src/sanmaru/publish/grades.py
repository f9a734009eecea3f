"""The Korean grades of fine dust, as AirKorea publishes them: good, moderate, bad, very bad.

Limits in µg/m³ as in force since 2018-03-27 (AirKorea, www.airkorea.or.kr): PM10 0-30, 31-80, 81-150, 151 and more;
PM2.5 0-15, 16-35, 36-75, 76 and more. They are whole numbers, so a value is rounded, half up, before it is graded:
what is shown and its grade agree. AirKorea grades the day's mean in forecasts; here each hour is graded by the same
limits, as its one-hour grade does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Grade:
    """One of the four grades."""

    name: str
    en: str
    ko: str
    colour: str
    """AirKorea's blue, green, yellow-orange and red, all light enough for dark text (above 4.5:1)."""


GRADES = (
    Grade("good", "Good", "좋음", "#5aabff"),
    Grade("moderate", "Moderate", "보통", "#3fcf7a"),
    Grade("bad", "Bad", "나쁨", "#ffb03b"),
    Grade("very-bad", "Very bad", "매우나쁨", "#ff7b7b"),
)
SCALES: dict[str, tuple[int, int, int]] = {"pm10": (30, 80, 150), "pm25": (15, 35, 75)}
"""Scale -> the last whole value of good, moderate and bad, µg/m³."""


def grade(value: float | None, scale: str) -> Grade | None:
    """Return the grade of a value in µg/m³; None for a missing one.

    >>> grade(35.4, "pm25").ko, grade(35.5, "pm25").ko, grade(151, "pm10").en
    ('보통', '나쁨', 'Very bad')

    Raises:
        KeyError: for an unknown scale.
    """
    limits = SCALES[scale]
    if value is None or not math.isfinite(value):
        return None
    rounded = math.floor(value + 0.5)
    return GRADES[sum(rounded > limit for limit in limits)]
