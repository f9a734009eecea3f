"""Pieces of HTML in both languages at once; the page's style shows one of them, so that no script is needed."""

from __future__ import annotations

import math

from sanmaru.html.charts.svg import escape
from sanmaru.publish.state import Words


def both(en: object, ko: object) -> str:
    """Return two texts, each marked with its language; both are escaped."""
    if en == ko:
        return escape(en)
    return f'<span class="en" lang="en">{escape(en)}</span><span class="ko" lang="ko">{escape(ko)}</span>'


def words(said: Words) -> str:
    """Return a text in both languages."""
    return both(said.en, said.ko)


def shown(value: float | None, digits: int) -> str:
    """Write a value with fixed decimals, rounded half up as its grade is; a dash for a missing one.

    >>> shown(35.5, 0), shown(-3.25, 1), shown(None, 0), shown(-0.2, 0)
    ('36', '−3.2', '–', '0')
    """
    if value is None or not math.isfinite(value):
        return "–"
    scale = 10**digits
    rounded = math.floor(value * scale + 0.5) / scale
    text = f"{rounded:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
