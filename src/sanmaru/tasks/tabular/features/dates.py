"""More parts of dates, and spans between them. Nothing is learned."""

from __future__ import annotations

from datetime import datetime
from itertools import combinations

import numpy as np

from sanmaru.tasks.tabular.features.config import DatesConfig
from sanmaru.tasks.tabular.features.rows import Known, Places

_MILLISECONDS = 86_400_000


class Dates:
    """The calendar parts of `DatesConfig`."""

    def __init__(self, config: DatesConfig, places: Places) -> None:
        names = config.columns or tuple(name for name, one in places.features.items() if one.kind == "date")
        dates = [places.date(name) for name in names]
        self._columns = [(places.of(name), _start(one.reference)) for name, one in zip(names, dates, strict=True)]
        self._parts = config.parts
        self._pairs = list(combinations(range(len(names)), 2)) if config.between else []
        self.columns = (
            *(f"{name} ({part.replace('_', ' ')})" for name in names for part in config.parts),
            *(f"days from {names[i]} to {names[j]}" for i, j in self._pairs),
        )

    def fit(self, matrix: np.ndarray, known: Known) -> np.ndarray:
        """Learn, and return the columns of these rows."""
        return self.apply(matrix)

    def apply(self, matrix: np.ndarray) -> np.ndarray:
        """Return the columns of rows."""
        moments = [moments_of(matrix[:, place], start) for place, start in self._columns]
        out = [_part(moment, part) for moment in moments for part in self._parts]
        out += [_between(moments[i], moments[j]) for i, j in self._pairs]
        return np.stack(out, axis=1) if out else np.empty((len(matrix), 0))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return nothing."""
        return {}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back nothing."""


def _start(reference: str | None) -> np.datetime64:
    return np.datetime64(datetime.fromisoformat(reference or ""), "us")


def moments_of(days: np.ndarray, start: np.datetime64) -> np.ndarray:
    """Turn days since a reference, float64 (n,), back into moments, datetime64[us] (n,); NaN becomes NaT."""
    present = ~np.isnan(days)
    # A double holds a century of days to about a microsecond; rounded to milliseconds, a whole second stays one.
    offset = np.round(np.where(present, days, 0.0) * _MILLISECONDS).astype("timedelta64[ms]")
    return np.where(present, start + offset, np.datetime64("NaT", "us"))


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    span = (second - first) / np.timedelta64(_MILLISECONDS, "ms")
    return np.asarray(span, dtype=np.float64)


def _part(moment: np.ndarray, part: str) -> np.ndarray:
    present = ~np.isnat(moment)
    safe = np.where(present, moment, np.datetime64(0, "us"))
    day = safe.astype("datetime64[D]")
    month = safe.astype("datetime64[M]")
    match part:
        case "quarter":
            values = month.astype(np.int64) % 12 // 3 + 1
        case "day_of_year":
            values = (day - safe.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
        case "week":
            values = iso_week(day)
        case "weekend":
            values = ((day.astype(np.int64) + 3) % 7 >= 5).astype(np.int64)
        case "month_start":
            values = (day == month.astype("datetime64[D]")).astype(np.int64)
        case "month_end":
            values = (day + 1 == (month + 1).astype("datetime64[D]")).astype(np.int64)
        case "minute":
            values = (safe - day).astype("timedelta64[m]").astype(np.int64) % 60
        case _:
            values = (safe - day).astype("timedelta64[s]").astype(np.int64) % 60
    return np.where(present, values.astype(np.float64), np.nan)


def iso_week(day: np.ndarray) -> np.ndarray:
    """Return the ISO 8601 week, 1 to 53, of days datetime64[D]: the week belongs to the year of its Thursday."""
    thursday = day + (3 - (day.astype(np.int64) + 3) % 7)
    first = thursday.astype("datetime64[Y]").astype("datetime64[D]")
    return np.asarray((thursday - first).astype(np.int64) // 7 + 1)
