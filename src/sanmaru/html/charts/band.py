"""A value over time: what was observed, what is forecast with its band, and what an earlier forecast had said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sanmaru.html.charts.scale import Scale, domain, drawable, rounded, ticks
from sanmaru.html.charts.svg import escape, number, picture, tag, text, text_width
from sanmaru.html.numbers import compact

Values = Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Values on a regular grid of x."""

    start: float
    step: float
    values: Values
    low: Values = ()
    high: Values = ()
    """Edges of a band, as long as `values`, or empty."""

    def x(self, place: int) -> float:
        """Return the x of a value."""
        return self.start + self.step * place


@dataclass(frozen=True, kw_only=True)
class Band:
    """A chart of up to three lines. x is any number that grows with time, such as seconds."""

    title: str
    unit: str
    observed: Line | None = None
    forecast: Line | None = None
    earlier: Line | None = None
    now: float | None = None
    marks: Sequence[tuple[float, float]] = ()
    """Anomalies: (x, y)."""
    levels: Sequence[tuple[float, str]] = ()
    """(upper end, colour) of zones from 0 upwards, the last one open (infinite)."""
    days: Sequence[tuple[float, tuple[tuple[str, str], ...]]] = ()
    """(x, ((language, text), ...)) of the days' beginnings."""
    hours: Sequence[tuple[float, str]] = ()


def draw_band(band: Band, width: float = 440.0, height: float = 196.0) -> str:
    """Draw the chart; gaps in the values break the lines.

    The drawing carries its geometry as `data-` attributes (`x0`, `x1` in px; `t0`, `t1` in x), for scripts that point.
    """
    lines = [line for line in (band.earlier, band.observed, band.forecast) if line is not None]
    everything = [v for line in lines for part in (line.values, line.low, line.high) for v in part if drawable(v)]
    label = f"{band.title}, {band.unit}: {len(everything)} values."
    if not everything:
        return picture(
            text(width / 2, height / 2, "–", class_="label", text_anchor="middle"),
            width=width, height=height, label=label, kind="band",
        )  # fmt: skip
    low, high = domain([v for v in everything if v is not None], zero=bool(band.levels))
    low, high = rounded(low, high, 4)
    values, step = ticks(low, high, 4)
    left = 12 + max(text_width(compact(value, step)) for value in values)
    right, top, bottom = width - 8, 10.0, height - 39
    x0 = min(line.x(0) for line in lines)
    x1 = max(line.x(len(line.values) - 1) for line in lines)
    x, y = Scale(x0, max(x1, x0 + 1), left, right), Scale(low, high, bottom, top)
    parts = [_levels(band, y, (left, right))]
    for value in values:
        parts.append(tag("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(text(left - 7, y(value) + 4.5, compact(value, step), class_="tick", text_anchor="end"))
    parts.append(_times(band, x, top, bottom))
    if band.forecast is not None:
        parts.append(_area(band.forecast, x, y))
    for line, name in ((band.earlier, "earlier"), (band.observed, "observed"), (band.forecast, "forecast")):
        if line is not None:
            parts.append(tag("path", d=_path(line, x, y), class_=f"line {name}"))
    for mark_x, mark_y in band.marks:
        if drawable(mark_y) and x0 <= mark_x <= x1:
            px, py = number(x(mark_x)), number(y(mark_y))
            parts.append(tag("path", d=f"M{px} {py}m0-6l6 6-6 6-6-6z", class_="anomaly"))
    if band.now is not None and x0 <= band.now <= x1:
        parts.append(tag("line", x1=x(band.now), x2=x(band.now), y1=top, y2=bottom, class_="now"))
    parts.append(tag("line", x1=left, x2=left, y1=top, y2=bottom, class_="cross", visibility="hidden"))
    drawn = picture(*parts, width=width, height=height, label=label, kind="band")
    place = f' data-x0="{number(left)}" data-x1="{number(right)}" data-t0="{x0:.0f}" data-t1="{x1:.0f}"'
    return drawn.replace("<svg", f"<svg{place}", 1)


def _levels(band: Band, y: Scale, ends: tuple[float, float]) -> str:
    """Tint the zones faintly over the chart and fully at its left edge."""
    left, right = ends
    parts, bottom = [], 0.0
    for upper, colour in band.levels:
        start, end = max(y.low, bottom), min(y.high, upper)
        if end > start:
            tall = y(start) - y(end)
            shape = {"y": y(end), "height": tall, "fill": escape(colour)}
            parts.append(tag("rect", x=left, width=right - left, class_="zone", **shape))
            parts.append(tag("rect", x=left, width=4.0, class_="edge", **shape))
        bottom = upper
    return "".join(parts)


def _times(band: Band, x: Scale, top: float, bottom: float) -> str:
    parts = [tag("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="axis")]
    for place, shown in band.hours:
        if x.low <= place <= x.high:
            parts.append(text(x(place), bottom + 15, shown, class_="tick hour", text_anchor="middle"))
    for place, labels in band.days:
        if not x.low <= place <= x.high:
            continue
        parts.append(tag("line", x1=x(place), x2=x(place), y1=top, y2=bottom + 4, class_="day"))
        for language, shown in labels:
            if x(place) + 4 + text_width(shown) <= x.end + 8:
                parts.append(text(x(place) + 3, bottom + 32, shown, class_=f"tick {language}"))
    return "".join(parts)


def _area(line: Line, x: Scale, y: Scale) -> str:
    """Return the band as one shape per stretch without gaps."""
    stretches: list[list[tuple[float, float, float]]] = [[]]
    for place, (low, high) in enumerate(zip(line.low, line.high, strict=False)):
        if low is not None and high is not None and drawable(low) and drawable(high):
            stretches[-1].append((x(line.x(place)), y(high), y(low)))
        elif stretches[-1]:
            stretches.append([])
    shapes = []
    for stretch in stretches:
        if stretch:
            over = [f"{number(px)} {number(upper)}" for px, upper, _ in stretch]
            under = [f"{number(px)} {number(lower)}" for px, _, lower in reversed(stretch)]
            shapes.append(f"M{'L'.join(over + under)}z")
    return tag("path", d="".join(shapes), class_="area") if shapes else ""


def _path(line: Line, x: Scale, y: Scale) -> str:
    steps, pen = [], "M"
    for place, value in enumerate(line.values):
        if value is None or not drawable(value):
            pen = "M"
            continue
        alone = pen == "M" and (place + 1 >= len(line.values) or line.values[place + 1] is None)
        steps.append(f"{pen}{number(x(line.x(place)))} {number(y(value))}{'h.01' if alone else ''}")
        pen = "L"
    return "".join(steps)
