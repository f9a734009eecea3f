"""Open-Meteo: hourly values of weather and air-quality models for any place, without a key.

Read from https://open-meteo.com/en/docs, /en/docs/historical-weather-api and /en/docs/air-quality-api (2026-11):
several places go into one request, comma separated, and then the answer is a list; hourly values come in columns
beside `time`; times are local times at `utc_offset_seconds`, so GMT is asked for; units stand in `hourly_units`; an
error is `{"error": true, "reason": ...}`. The free service allows 600 requests a minute and 10,000 a day.

The answers do not say when their forecast was issued. The moment of fetching stands for it: the forecast was known
then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sanmaru.collect.base import Answer, BaseSource, CollectError, Parsed, Problem, Request, Span
from sanmaru.collect.config import OpenMeteoConfig
from sanmaru.collect.values import Rows, conversion, number

URLS = {
    "forecast": "https://api.open-meteo.com/v1/forecast",
    "archive": "https://archive-api.open-meteo.com/v1/archive",
    "air-quality": "https://air-quality-api.open-meteo.com/v1/air-quality",
}


class OpenMeteo(BaseSource):
    """Open-Meteo as a source.

    Args:
        config: Its part of the project file.
    """

    def __init__(self, config: OpenMeteoConfig) -> None:
        self.config = config

    def expected(self) -> Sequence[str]:
        """Return the places."""
        return tuple(self.config.places)

    def requests(self, span: Span) -> list[Request]:
        """Return one request for all places and whole days."""
        config = self.config
        last = span.end - timedelta(microseconds=1)
        if config.api != "archive":
            last = max(last, span.now + timedelta(days=config.ahead_days)) if config.ahead_days else last
        params = {
            "latitude": ",".join(f"{place[0]:g}" for place in config.places.values()),
            "longitude": ",".join(f"{place[1]:g}" for place in config.places.values()),
            "hourly": ",".join(config.columns),
            "start_date": f"{span.start.astimezone(UTC):%Y-%m-%d}",
            "end_date": f"{last.astimezone(UTC):%Y-%m-%d}",
            "timezone": "GMT",
        }
        if config.api != "air-quality":
            params["wind_speed_unit"] = "ms"
        if config.models:
            params["models"] = config.models
        return [Request(url=config.url or URLS[config.api], params=params)]

    def problem(self, answer: Answer) -> Problem | None:
        """Tell errors, limits and pages that are no JSON from data."""
        try:
            content = json.loads(answer.text())
        except ValueError:
            return Problem("retry", f"no JSON but {answer.text().strip()[:80]!r}")
        if isinstance(content, dict) and content.get("error"):
            reason = str(content.get("reason", "no reason given"))
            if "limit exceeded" not in reason:
                return Problem("refused", reason)
            return Problem("retry" if "inutely" in reason else "later", reason)
        places = content if isinstance(content, list) else [content]
        if len(places) != len(self.config.places):
            return Problem("retry", f"{len(places)} places instead of {len(self.config.places)}")
        for place in places:
            hourly = place.get("hourly") if isinstance(place, dict) else None
            if isinstance(place, dict) and not isinstance(place.get("utc_offset_seconds", 0), int):
                return Problem("retry", f"utc_offset_seconds is {place['utc_offset_seconds']!r}")
            if not isinstance(hourly, dict) or not isinstance(hourly.get("time"), list):
                return Problem("retry", "an answer without hourly: time")
            for name in self.config.columns:
                if not isinstance(hourly.get(name), list) or len(hourly[name]) != len(hourly["time"]):
                    return Problem("retry", f"hourly: {name} is absent or not as long as time")
        return None

    def parse(self, answer: Answer) -> Parsed:
        """Return what lies before the moment of fetching as rows, and what lies after it as rows ahead.

        Nulls at the end of an archive, where reanalysis has not come yet, make no rows.

        Raises:
            CollectError: when a unit is not the column's and cannot be converted into it.
        """
        content = json.loads(answer.text())
        names = [column.name for column in self.config.columns.values()]
        past, ahead = Rows(names), Rows(names)
        place_number = 0
        for series, place in zip(self.config.places, content if isinstance(content, list) else [content], strict=True):
            scales = {name: self._scale(name, place.get("hourly_units") or {}) for name in self.config.columns}
            offset = timedelta(seconds=int(place.get("utc_offset_seconds", 0)))
            for row, text in enumerate(place["hourly"]["time"]):
                at = place_number + row
                try:
                    time = datetime.fromisoformat(text).replace(tzinfo=UTC) - offset
                except (TypeError, ValueError):
                    past.aside(at, "time", text, "no-time", f"{text!r} is no time", series)
                    continue
                values: dict[str, float | None] = {}
                for name, column in self.config.columns.items():
                    cell = place["hourly"][name][row]
                    try:
                        read = number(cell)
                    except ValueError as error:
                        past.aside(at, name, cell, "not-a-number", str(error), series)
                        continue
                    scale, shift = scales[name]
                    values[column.name] = None if read is None else read * scale + shift
                if any(value is not None for value in values.values()):
                    (past if time <= answer.fetched_at else ahead).add(at, series, time, values)
            place_number += len(place["hourly"]["time"])
        rows, quarantine = past.finish()
        later, more = ahead.finish()
        return Parsed(rows=rows, quarantine=quarantine + more, ahead=None if self.config.api == "archive" else later)

    def _scale(self, name: str, units: Mapping[str, str]) -> tuple[float, float]:
        column = self.config.columns[name]
        scale, shift = 1.0, 0.0
        found = units.get(name, "")
        if column.unit and found:
            known = conversion(found, column.unit)
            if known is None and (column.scale, column.offset) == (1.0, 0.0):
                raise CollectError(
                    f"Open-Meteo gives {name} in {found!r}, and the column {column.name!r} wants {column.unit!r}: no "
                    f"conversion is known. Set scale: and offset: of the column (collect: columns: {name})."
                )
            scale, shift = known or (1.0, 0.0)
        return scale * column.scale, shift * column.scale + column.offset
