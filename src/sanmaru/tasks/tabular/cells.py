"""One cell of a table as a number: the functions that both encoders are built on.

A cell arrives from a table (polars types) or from a JSON body (str, int, float, bool, None). Each maker below returns
a function that takes any such value and gives a float, with NaN for "no value". The table encoder calls it once per
distinct value, the row encoder once per cell, and so the two cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sanmaru.tables import dates, quantities
from sanmaru.tables.types import FALSE, TRUE

NAN = math.nan
MICROSECONDS_PER_DAY = 86_400_000_000.0
EPOCH = datetime(1970, 1, 1)


class WrongCellError(Exception):
    """A value of the wrong type; the encoders add the row and the column."""


def cell_text(value: Any) -> str:
    """Return the text under which a value is counted as a category.

    Whole numbers lose their decimals, so that 3, 3.0 and "3" are one category, whichever way a file was read.

    >>> cell_text(3.0), cell_text(" a "), cell_text(True)
    ('3', 'a', 'true')
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        try:
            return str(value)
        except ValueError as error:  # Python refuses to print integers of more than 4300 digits
            raise WrongCellError("a number of thousands of digits") from error
    if isinstance(value, float | Decimal):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(value, date):  # a datetime is a date
        return value.isoformat()
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy scalar
        return cell_text(value.item())
    raise WrongCellError(f"expected a text or a number, got {_shown(value)}")


def number(missing: frozenset[str], unit: str | None = None) -> Callable[[Any], float]:
    """Make a function that reads numbers. Infinite ones count as missing: no model here can use them.

    Args:
        missing: Cell texts that mean "no value".
        unit: What may stand with a number in a text, such as ㎡.
    """

    def read(value: Any) -> float:
        kind = type(value)
        if kind is float:
            # inf - inf is NaN, so this is a test for finite numbers without a call
            return value if value - value == 0.0 else NAN
        if kind is int:
            try:
                return float(value)
            except OverflowError:
                return NAN
        if value is None:
            return NAN
        return other(value)

    def other(value: Any) -> float:
        if isinstance(value, str):
            text = value.strip()
            if text in missing:
                return NAN
            parsed = _parse_number(text, unit)
            if parsed is None:
                raise WrongCellError(f"expected a number, got {_shown(value)}")
        elif isinstance(value, bool | int | float | Decimal):
            parsed = float(value)
        elif hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            return read(value.item())
        else:
            raise WrongCellError(f"expected a number, got {_shown(value)}")
        return parsed if math.isfinite(parsed) else NAN

    return read


def boolean(missing: frozenset[str]) -> Callable[[Any], float]:
    """Make a function that reads yes or no as 1.0 or 0.0, from booleans, 0 and 1, or the usual words."""

    def read(value: Any) -> float:
        if value is None:
            return NAN
        if value is True or value is False:
            return 1.0 if value else 0.0
        if isinstance(value, float) and math.isnan(value):
            return NAN
        text = cell_text(value)
        if text in missing:
            return NAN
        word = text.lower()
        if word in TRUE:
            return 1.0
        if word in FALSE:
            return 0.0
        raise WrongCellError(f"expected true or false, got {_shown(value)}")

    return read


def lookup(values: Mapping[str, float], other: float, missing: frozenset[str]) -> Callable[[Any], float]:
    """Make a function that looks a category up.

    Args:
        values: What each known category becomes.
        other: What an unknown one becomes.
        missing: Cell texts that mean "no value".
    """
    # Most cells are exactly a known text: one dictionary access answers for them.
    known: dict[Any, float] = {**values, None: NAN, **dict.fromkeys(missing, NAN)}
    # A column of the words True and False, read elsewhere as booleans, keeps its categories.
    spelled = {"true": "True", "false": "False"} if "true" not in values and "false" not in values else {}

    def read(value: Any) -> float:
        try:
            found = known.get(value)
        except TypeError:  # a list or a mapping
            raise WrongCellError(f"expected a text or a number, got {_shown(value)}") from None
        if found is not None:
            return found
        if isinstance(value, float) and math.isnan(value):
            return NAN
        text = cell_text(value)
        if isinstance(value, bool):
            text = spelled.get(text, text)
        return known.get(text, other)

    return read


def text_number(measure: Callable[[str], float], missing: frozenset[str]) -> Callable[[Any], float]:
    """Make a function that measures a text, e.g. its length."""

    def read(value: Any) -> float:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return NAN
        text = cell_text(value)
        return NAN if text in missing else measure(text)

    return read


def plain_text(missing: frozenset[str]) -> Callable[[Any], str]:
    """Make a function that gives a value's text, and the empty one for "no value"."""

    def read(value: Any) -> str:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        text = cell_text(value)
        return "" if text in missing else text

    return read


def moment(missing: frozenset[str], date_format: str | None) -> Callable[[Any], datetime | None]:
    """Make a function that reads dates and times: date, datetime, ISO 8601 text, or text in `date_format`.

    Times with a zone become UTC; the others are taken as they are.
    """

    def read(value: Any) -> datetime | None:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if date_format and type(value) in {int, float}:  # 20261121 under the format %Y%m%d
            value = cell_text(value)
        if isinstance(value, str):
            text = value.strip()
            if text in missing:
                return None
            value = _parse_date(text, date_format)
            if value is None:
                wanted = f"a date like {date_format!r}" if date_format else "a date such as 2026-11-21"
                raise WrongCellError(f"expected {wanted}, got {_shown(text)}")
        if isinstance(value, datetime):
            return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day)
        raise WrongCellError(f"expected a date, got {_shown(value)}")

    return read


def days_since(value: datetime, reference: datetime) -> float:
    """Return the days from `reference` to `value`, with the time of day as a fraction."""
    delta = value - reference
    microseconds = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    return float(microseconds) / MICROSECONDS_PER_DAY


DATE_PARTS: dict[str, Callable[[datetime, datetime], float]] = {
    "days": days_since,
    "year": lambda value, _: float(value.year),
    "month": lambda value, _: float(value.month),
    "day": lambda value, _: float(value.day),
    "weekday": lambda value, _: float(value.isoweekday()),
    "hour": lambda value, _: float(value.hour),
}
"""What a date becomes: days since the first one in training, and calendar numbers (weekday 1 = Monday)."""


def _parse_number(text: str, unit: str | None) -> float | None:
    if "_" in text:  # Python reads 1_000; no data file means it
        return None
    try:
        return float(text)
    except ValueError:
        return quantities.read(text, unit)


def _parse_date(text: str, date_format: str | None) -> datetime | None:
    if date_format:
        try:
            return datetime.strptime(dates.plain(text), date_format)
        except ValueError:
            pass
    text = dates.plain(text)
    for candidate in (text, text.replace("/", "-").replace(".", "-").rstrip("-")):
        try:
            return datetime.fromisoformat(candidate)
        except ValueError:
            continue
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    text = text if len(text) <= 80 else text[:77] + "..."
    return f"{text} ({type(value).__name__})"
