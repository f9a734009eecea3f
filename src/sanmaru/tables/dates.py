"""Dates written as text: finding the format of a column, and reading it."""

from __future__ import annotations

import re

import polars as pl

_DAYS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y. %m. %d",
    "%Y. %m. %d.",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
)
_KOREAN = ("%Y년 %m월 %d일", "%Y년%m월%d일")
_SHORT = ("%y.%m.%d", "%y-%m-%d", "%y/%m/%d", "%y년 %m월 %d일")
_NAMED = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y")
_MONTHS = ("%Y-%m", "%Y.%m", "%Y/%m", "%Y년 %m월", "%Y년%m월")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
_HALVES = ("%p %I:%M:%S", "%p %I:%M", "%I:%M:%S %p", "%I:%M %p")
FORMATS = (
    *_DAYS,
    *_KOREAN,
    *_NAMED,
    *_MONTHS,
    *_SHORT,
    *(f"{day} {time}" for day in (*_DAYS, *_KOREAN) for time in _TIMES),
    *(f"{day} %H시 %M분" for day in _KOREAN),
    *(f"{day} {time}" for day in (*_DAYS, *_KOREAN) for time in _HALVES),
    *(f"{day} {time}" for day in _SHORT for time in _TIMES),
    *(f"%Y-%m-%dT{time}{zone}" for time in _TIMES for zone in ("", "%z")),
    *(f"%Y-%m-%d {time}%z" for time in _TIMES),
)
"""As Python's `strptime` knows them. Ambiguous columns (day or month first) take the one that keeps rows in order."""

COMPACT = "%Y%m%d"
_COMPACT_MONTH = "%Y%m"
_COMPACT_FORMS = (
    (r"^(19|20)\d{6}$", COMPACT),
    (r"^(19|20)\d{2}(0[1-9]|1[0-2])$", _COMPACT_MONTH),
    (r"^(19|20)\d{12}$", "%Y%m%d%H%M%S"),
    (r"^(19|20)\d{10}$", "%Y%m%d%H%M"),
    (r"^(19|20)\d{2}\.(0[1-9]|1[0-2])$", "%Y.%m"),
)
_COMPACT_NAMES = re.compile(r"date|day|\bdt\b|_dt|month|\bym\b|_ym|날짜|일자|일시|일$|년월|연월|월$", re.IGNORECASE)
_COMPACT_CELLS = 50
"""So many cells that are all digits of real days are dates whatever the column is called."""
_LOOKS_LIKE_DATE = re.compile(r"\d{4}|\d{1,2}[-/. 년](\s?\d{1,2}|[A-Za-z]{3})")
_SAMPLE = 200
_HALF_DAYS = (("오전", "AM"), ("오후", "PM"))


def find_format(name: str, cells: pl.Series, share: float) -> str | None:
    """Return the format in which at least `share` of the cells are dates, or None.

    Args:
        name: The column's name; a few cells of eight digits are dates only where the name says so.
        cells: Texts without blanks around and without nulls.
        share: Fraction in (0, 1].
    """
    if not len(cells):
        return None
    compact = find_compact(name, cells, share)
    if compact:
        return compact
    sample = _sample(cells)
    if not any(_LOOKS_LIKE_DATE.search(cell) for cell in sample.head(20).to_list()):
        return None
    likely = [form for form in FORMATS if _fits(parse(sample, form), 0.9)]
    fitting = [(form, dates) for form, dates in ((form, parse(cells, form)) for form in likely) if _fits(dates, share)]
    if not fitting:
        return None
    return max(fitting, key=lambda pair: (pair[1].is_not_null().sum(), _steadiness(pair[1])))[0]


def find_compact(name: str, cells: pl.Series, share: float) -> str | None:
    """Return the format of dates written as digits only (20260131, 202601 ...), or None.

    Args:
        name: The column's name; few cells are dates only where it says so.
        cells: Texts of whole numbers, without nulls.
        share: Fraction in (0, 1].
    """
    if not len(cells) or not (len(cells) >= _COMPACT_CELLS or _COMPACT_NAMES.search(name)):
        return None
    sample = _sample(cells)
    for pattern, form in _COMPACT_FORMS:
        if sample.str.contains(pattern).all():
            named = _COMPACT_NAMES.search(name)
            if form == "%Y.%m" and not named:  # 2022.03 is a number as well
                return None
            # Six digits are a common size of numbers: where nothing in the name says month, all must be one.
            enough = 1.0 if form == _COMPACT_MONTH and not named else share
            return form if _fits(parse(cells, form), enough) else None
    return None


def plain(text: str) -> str:
    """Return a text with 오전 and 오후 as AM and PM."""
    for word, half in _HALF_DAYS:
        text = text.replace(word, half)
    return text


def parse(cells: pl.Series, form: str) -> pl.Series:
    """Read texts as Datetime (µs, naive; an offset is turned into UTC). What does not fit becomes null."""
    if "%p" in form:
        for word, half in _HALF_DAYS:
            cells = cells.str.replace_all(word, half, literal=True)
    if form in {COMPACT, _COMPACT_MONTH} or form.startswith("%Y%m%d%H"):
        digits = {COMPACT: 8, _COMPACT_MONTH: 6, "%Y%m%d%H%M": 12}.get(form, 14)
        cells = pl.select(pl.when(cells.str.contains(rf"^\d{{{digits}}}$")).then(cells)).to_series()
    if "%d" not in form:  # a month is its first day; a blank keeps the added digits apart
        cells, form = cells + " 01", form + " %d"
    # chrono's names for what Python calls .%f and %z (with Z allowed)
    form = form.replace(".%f", "%.f").replace("%z", "%#z")
    dates = cells.str.to_datetime(form, strict=False, time_unit="us")
    if dates.dtype.time_zone is not None:  # type: ignore[attr-defined]
        dates = dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    # chrono reads 22 as the year 22; Python's strptime, and people, do not
    return pl.select(pl.when(dates.dt.year() >= 1000).then(dates).alias(cells.name)).to_series()


def _sample(cells: pl.Series) -> pl.Series:
    return cells.gather_every(max(1, len(cells) // _SAMPLE)).head(_SAMPLE)


def _fits(dates: pl.Series, share: float) -> bool:
    return len(dates) - dates.null_count() >= share * len(dates)


def _steadiness(dates: pl.Series) -> float:
    """Fraction of steps that go the way most steps go: 1 for a column in order."""
    steps = dates.drop_nulls().diff().drop_nulls()
    if not len(steps):
        return 0.0
    up = float((steps.dt.total_microseconds() >= 0).mean())  # type: ignore[arg-type]
    down = float((steps.dt.total_microseconds() <= 0).mean())  # type: ignore[arg-type]
    return max(up, down)
