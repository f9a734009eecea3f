"""Swarms: one row of points per name, spread where they crowd; the shade of a point says a second number."""

from __future__ import annotations

from collections.abc import Sequence

from sanmaru.html.blocks import Swarm
from sanmaru.html.charts.axes import nothing
from sanmaru.html.charts.scale import Scale, domain, drawable, ticks
from sanmaru.html.charts.svg import WIDTH, fit, number, picture, tag, text, text_width
from sanmaru.html.numbers import compact

SHADES = 7
"""Steps from the lowest to the highest shade; the style sheet names them `sh0` to `sh6`."""
_BAND = 30.0
"""Height of a row in px."""
_BIN = 3.0
"""Points whose places differ by less, in px, are put above and below each other."""


def draw_swarm(swarm: Swarm, width: float = WIDTH) -> str:
    """Draw the rows from the top in the order given. Values that cannot be drawn are left out."""
    n_points = sum(len(values) for _, values, _ in swarm.rows)
    label = f"{swarm.title}. {swarm.x_label} of {len(swarm.rows)} rows, {n_points} points."
    kept = [value for _, values, _ in swarm.rows for value in values if drawable(value)]
    if not kept:
        return picture(nothing(width, 120), width=width, height=120.0, label=label, kind="swarm")
    left = min(max(text_width(name) for name, _, _ in swarm.rows) + 10, width * 0.42)
    top, bottom = 22.0, 22.0 + _BAND * len(swarm.rows)
    x = Scale(*domain(kept, zero=True), left + 6, width - 12)
    parts = [_key(swarm, width)]
    values, step = ticks(x.low, x.high, 4)
    for value in values:
        at = x(value)
        parts.append(tag("line", x1=at, x2=at, y1=top, y2=bottom, class_="axis" if value == 0 else "grid"))
        shown = compact(value, step)
        middle = min(max(at, text_width(shown) / 2), width - 2 - text_width(shown) / 2)
        parts.append(text(middle, bottom + 17, shown, class_="tick", text_anchor="middle"))
    for row, (name, places, shades) in enumerate(swarm.rows):
        y = top + _BAND * (row + 0.5)
        parts.append(text(left - 6, y + 4.5, fit(name, left - 10), class_="tick name", text_anchor="end"))
        parts.append(_points(x, y, places, shades))
    middle = (left + width - 12) / 2
    parts.append(text(middle, bottom + 36, fit(swarm.x_label, width - left - 12), class_="label", text_anchor="middle"))
    return picture(*parts, width=width, height=bottom + 44, label=label, kind="swarm")


def _points(x: Scale, y: float, places: Sequence[float], shades: Sequence[float | None]) -> str:
    """One path per shade keeps a chart of thousands of points light."""
    stacked: dict[int, int] = {}
    paths: dict[str, list[str]] = {}
    for value, shade in zip(places, shades, strict=False):
        if not drawable(value):
            continue
        at = x(float(value))
        cell = int(at / _BIN)
        height = stacked.get(cell, 0)
        stacked[cell] = height + 1
        # 0, +1, -1, +2, -2 ... times a step, held inside the band
        offset = ((height + 1) // 2) * (1 if height % 2 else -1) * 1.6
        offset = max(-_BAND / 2 + 3, min(_BAND / 2 - 3, offset))
        kind = "none" if shade is None or not drawable(shade) else f"sh{min(SHADES - 1, max(0, int(shade * SHADES)))}"
        paths.setdefault(kind, []).append(f"M{number(at)} {number(y + offset)}h0")
    return "".join(tag("path", d="".join(steps), class_=f"cloud swarm {kind}") for kind, steps in paths.items())


def _key(swarm: Swarm, width: float) -> str:
    """What the shades say: low to high, from the left."""
    low, high = swarm.shades
    right = width - 12 - text_width(high) - 6
    start = right - 9.0 * SHADES
    parts = [text(start - 6, 12, low, class_="tick", text_anchor="end"), text(right + 6, 12, high, class_="tick")]
    for shade in range(SHADES):
        parts.append(tag("path", d=f"M{number(start + 9 * shade + 4)} 8h0", class_=f"cloud swarm key sh{shade}"))
    return "".join(parts)
