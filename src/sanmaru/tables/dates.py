"""Dates written as text: finding the format of a column, and reading it."""

from __future__ import annotations

import re

import polars as pl

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y. %m. %d", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y")
_NAMED = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y년 %m월 %d일", "%Y-%m")
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f")
FORMATS = (
    *_DAYS,
    *_NAMED,
    *(f"{day} {time}" for day in _DAYS for time in _TIMES),
    *(f"%Y-%m-%dT{time}{zone}" for time in _TIMES for zone in ("", "%z")),
    *(f"%Y-%m-%d {time}%z" for time in _TIMES),
)
"""As Python's `strptime` knows them. Ambiguous columns (day or month first) take the one that keeps rows in order."""

_COMPACT = "%Y%m%d"
_COMPACT_NAMES = re.compile(r"date|day|\bdt\b|_dt|날짜|일자|일시|일$", re.IGNORECASE)
_COMPACT_CELLS = 50
"""So many cells that are all eight digits and all real days are dates whatever the column is called."""
_LOOKS_LIKE_DATE = re.compile(r"\d{4}|\d{1,2}[-/. ](\d{1,2}|[A-Za-z]{3})")
_SAMPLE = 200


def find_format(name: str, cells: pl.Series, share: float) -> str | None:
    """Return the format in which at least `share` of the cells are dates, or None.

    Args:
        name: The column's name; a few cells of eight digits are dates only where the name says so.
        cells: Texts without blanks around and without nulls.
        share: Fraction in (0, 1].
    """
    if not len(cells):
        return None
    step = max(1, len(cells) // _SAMPLE)
    sample = cells.gather_every(step).head(_SAMPLE)
    may_be_compact = len(cells) >= _COMPACT_CELLS or _COMPACT_NAMES.search(name)
    if may_be_compact and sample.str.contains(r"^(19|20)\d{6}$").all():
        return _COMPACT if _fits(parse(cells, _COMPACT), share) else None
    if not any(_LOOKS_LIKE_DATE.search(cell) for cell in sample.head(20).to_list()):
        return None
    likely = [form for form in FORMATS if _fits(parse(sample, form), 0.9)]
    fitting = [(form, dates) for form, dates in ((form, parse(cells, form)) for form in likely) if _fits(dates, share)]
    if not fitting:
        return None
    return max(fitting, key=lambda pair: (pair[1].is_not_null().sum(), _steadiness(pair[1])))[0]


def parse(cells: pl.Series, form: str) -> pl.Series:
    """Read texts as Datetime (µs, naive; an offset is turned into UTC). What does not fit becomes null."""
    if form == "%Y-%m":
        cells, form = cells.str.replace(r"^(\d{4}-\d{1,2})$", "${1}-01"), "%Y-%m-%d"
    # chrono's names for what Python calls .%f and %z (with Z allowed)
    form = form.replace(".%f", "%.f").replace("%z", "%#z")
    if form == _COMPACT:
        cells = pl.select(pl.when(cells.str.contains(r"^\d{8}$")).then(cells)).to_series()
    dates = cells.str.to_datetime(form, strict=False, time_unit="us")
    if dates.dtype.time_zone is not None:  # type: ignore[attr-defined]
        dates = dates.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return dates.alias(cells.name)


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
