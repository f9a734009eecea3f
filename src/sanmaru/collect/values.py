"""From texts of sources to numbers: missing codes, units, times, and rows that stand twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from sanmaru.collect.config import MISSING
from sanmaru.tables.contract import Quarantine, Violation

MOMENT = pl.Datetime("us", "UTC")

_SPELLINGS = {
    "μg/m³": "µg/m³",  # Greek mu and micro sign
    "㎍/㎥": "µg/m³",
    "ug/m3": "µg/m³",
    "℃": "°C",
    "km/h": "km/h",
    "kmh": "km/h",
    "mp/h": "mph",
    "inch": "in",
}
_CONVERSIONS = {
    ("°F", "°C"): (5 / 9, -160 / 9),
    ("K", "°C"): (1.0, -273.15),
    ("km/h", "m/s"): (1 / 3.6, 0.0),
    ("mph", "m/s"): (0.44704, 0.0),
    ("kn", "m/s"): (1852 / 3600, 0.0),
    ("in", "mm"): (25.4, 0.0),
    ("cm", "mm"): (10.0, 0.0),
    ("Pa", "hPa"): (0.01, 0.0),
    ("ppb", "ppm"): (0.001, 0.0),
    ("mg/m³", "µg/m³"): (1000.0, 0.0),
}


def number(cell: Any, missing: Iterable[str] = MISSING, codes: Iterable[float] = ()) -> float | None:
    """Read a number; None for a missing one.

    Args:
        cell: Number, text or None.
        missing: Texts that stand for no value.
        codes: Numbers that stand for no value.

    Raises:
        ValueError: for a text that is neither a number nor known as missing, and for infinity.

    >>> number("12.5"), number("통신장애"), number(" - "), number(-999, codes=(-999.0,))
    (12.5, None, None, None)
    """
    if cell is None or isinstance(cell, bool):
        if cell is None:
            return None
        raise ValueError(f"{cell!r} is no number")
    if isinstance(cell, str):
        text = cell.strip()
        if text in missing:
            return None
        if "_" in text:  # float() reads 1_000
            raise ValueError(f"{text!r} is no number")
        value = float(text)
    elif isinstance(cell, int | float):
        value = float(cell)
    else:
        raise ValueError(f"{cell!r} is no number")
    if math.isnan(value) or value in codes:
        return None
    if math.isinf(value):
        raise ValueError(f"{cell!r} is no finite number")
    return value


def conversion(found: str, wanted: str) -> tuple[float, float] | None:
    """Return scale and offset from one unit to another; None where there is no known way.

    >>> conversion("km/h", "m/s"), conversion("μg/m³", "µg/m³")
    ((0.2777777777777778, 0.0), (1.0, 0.0))
    """
    here, there = _SPELLINGS.get(found, found), _SPELLINGS.get(wanted, wanted)
    return (1.0, 0.0) if here == there else _CONVERSIONS.get((here, there))


def moment(text: str, form: str, zone: ZoneInfo) -> datetime:
    """Read a local time; hour 24 is midnight of the next day.

    A time that the clocks show twice is taken as the first of the two.

    Args:
        text: Such as "2026-11-21 24:00".
        form: As `strptime` knows it.
        zone: Of the text, unless the form has an offset.

    Raises:
        ValueError: for a text that does not fit, or a time that the change of clocks skips.

    >>> moment("2026-11-21 24:00", "%Y-%m-%d %H:%M", ZoneInfo("Asia/Seoul")).isoformat()
    '2026-11-21T15:00:00+00:00'
    """
    try:
        read = datetime.strptime(text, form)
    except ValueError:
        earlier = _hour_24(text, form)
        if earlier is None:
            raise
        read = earlier + timedelta(days=1)
    local = read if read.tzinfo else read.replace(tzinfo=zone)
    utc = local.astimezone(UTC)
    if read.tzinfo is None and utc.astimezone(zone).replace(tzinfo=None) != read:
        raise ValueError(f"{text!r} is a time that clocks of {zone.key} never show")
    return utc


def _hour_24(text: str, form: str) -> datetime | None:
    """Read a text whose hour is 24 as one of hour 0; None where that is not what is wrong with it."""
    at = text.find("24")
    while at >= 0:  # the 24 of an hour may follow that of a year or a day
        try:
            zero, one = (datetime.strptime(f"{text[:at]}{hour}{text[at + 2 :]}", form) for hour in ("00", "01"))
            if one - zero == timedelta(hours=1) and zero.hour == zero.minute == zero.second == 0:
                return zero
        except ValueError:
            pass
        at = text.find("24", at + 1)
    return None


class Rows:
    """Rows of one answer as they are read, and those set aside.

    Args:
        columns: Names of the value columns.
        flags: Names of the text columns.
    """

    def __init__(self, columns: Sequence[str], flags: Sequence[str] = ()) -> None:
        self._columns, self._flags = tuple(columns), tuple(flags)
        self._rows: list[tuple[Any, ...]] = []
        self._places: list[int] = []
        self.violations: list[Violation] = []

    def add(self, place: int, series: str, time: datetime, values: dict[str, Any]) -> None:
        """Add a row; what `values` lacks is missing."""
        self._rows.append((series, time, *(values.get(name) for name in (*self._columns, *self._flags))))
        self._places.append(place)

    def aside(  # noqa: PLR0917 - the fields of a violation, in their order
        self, place: int, column: str, value: Any, rule: str, reason: str, series: str | None = None
    ) -> None:
        """Set a row, or one cell of it, aside."""
        shown = str(value)[:200]
        self.violations.append(Violation(row=place, id=series, column=column, value=shown, rule=rule, reason=reason))

    def finish(self) -> tuple[pl.DataFrame, Quarantine]:
        """Return the long table, in order of series and time, and what was set aside.

        Of rows that stand twice the last is kept; the earlier are set aside, as `repeated-row` where they are equal
        and as `conflicting-row` where not.
        """
        schema: dict[str, Any] = {"series": pl.String, "time": MOMENT, **dict.fromkeys(self._columns, pl.Float64)}
        schema |= dict.fromkeys(self._flags, pl.String)
        table = pl.DataFrame(self._rows, schema=schema, orient="row")
        last: dict[tuple[Any, Any], int] = {}
        for at, row in enumerate(self._rows):
            before = last.get(row[:2])
            last[row[:2]] = at
            if before is not None:
                same = self._rows[before] == row
                rule, what = ("repeated-row", "equal") if same else ("conflicting-row", "other")
                why = f"{row[0]} at {row[1]:%Y-%m-%dT%H:%MZ} stands again further on with {what} values"
                self.aside(self._places[before], "time", row[1], rule, why, row[0])
        kept = table[sorted(last.values())].sort("series", "time")
        return kept, Quarantine(tuple(self.violations))
