"""Bar charts over categories, with whiskers, and dot plots for scores."""

from __future__ import annotations

from sanmaru.html.blocks import Bars
from sanmaru.html.charts.axes import nothing
from sanmaru.html.charts.scale import Scale, domain, drawable, rounded, ticks
from sanmaru.html.charts.svg import WIDTH, fit, legend, picture, series, tag, text, text_width
from sanmaru.html.numbers import compact, short

MOST_UPRIGHT = 14
"""More categories than this are drawn as horizontal bars, whose labels stay readable."""


def draw_bars(bars: Bars, width: float = WIDTH) -> str:
    """Draw bars from zero (or points, with `dots`), each with its value.

    A value that is no number leaves its place empty.
    """
    keys, top = legend([name for name, _ in bars.series], width, mark="swatch")
    values = [float(v) for _, column in bars.series for v in column if drawable(v)]
    ends = [float(v) for pair in bars.intervals or () for v in pair if drawable(v)]
    label = (
        f"{bars.title}. {bars.value_label} of {len(bars.labels)} "
        f"{'category' if len(bars.labels) == 1 else 'categories'}: "
        + ", ".join(f"{name} {short(value)}" for name, value in list(zip(bars.labels, _first(bars), strict=False))[:10])
    )
    if not values or not bars.labels:
        return picture(nothing(width, 120), width=width, height=120.0, label=label, kind="bars")
    span = rounded(*domain([*values, *ends], zero=not bars.dots), 4)
    upright = not bars.horizontal and not bars.dots and len(bars.labels) <= MOST_UPRIGHT
    draw = _upright if upright else _lying
    body, height = draw(bars, span, width, top + 4)
    return picture(keys, body, width=width, height=height, label=label, kind="bars")


def _first(bars: Bars) -> list[float]:
    return [float(value) if drawable(value) else float("nan") for value in bars.series[0][1]] if bars.series else []


def _tip(bars: Bars, name: str, row: int, value: float, first: bool) -> str:
    lines = [bars.labels[row], f"{name}: {short(value)}" if name else short(value)]
    if first and bars.intervals is not None and row < len(bars.intervals):
        low, high = bars.intervals[row]
        lines.append(f"interval {short(low)} to {short(high)}")
    return "\n".join(lines)


def _lying(bars: Bars, span: tuple[float, float], width: float, top: float) -> tuple[str, float]:
    labels = min(max((text_width(name) for name in bars.labels), default=0.0) + 12, width * 0.4)
    shown_width = max(text_width(short(v)) for _, column in bars.series for v in column if drawable(v)) + 10
    marks, step = ticks(*span, 4)
    last = text_width(compact(marks[-1], step)) / 2 + 2 if marks else 0.0  # its label is centred on its tick
    scale = Scale(*span, labels, width - max(last, 14 if bars.dots else shown_width))
    n = len(bars.series)
    thick = 16.0 if n == 1 else 13.0
    pitch = n * thick + (8 if n == 1 else 10)
    bottom = top + pitch * len(bars.labels)
    base = scale(min(max(0.0, span[0]), span[1]))
    parts = _value_axis(scale, span, top, bottom)
    for row, name in enumerate(bars.labels):
        y = top + row * pitch
        middle = y + pitch / 2
        parts.append(text(labels - 8, middle + 4.5, fit(name, labels - 10), class_="tick name", text_anchor="end"))
        for index, (title, column) in enumerate(bars.series):
            if row >= len(column) or not drawable(column[row]):
                continue
            value = float(column[row])
            x = scale(value)
            y0 = y + (pitch - n * thick) / 2 + index * thick
            tip = _tip(bars, title, row, value, index == 0)
            whisker = _whisker(bars, row, scale) if index == 0 else None
            if bars.dots:
                if whisker:
                    parts.append(tag("line", x1=whisker[0], x2=whisker[1], y1=middle, y2=middle, class_="whisker wide"))
                y1 = y0 + thick / 2
                parts.append(tag("circle", cx=x, cy=y1, r=5.0, class_=f"dot {series(index)}", data_tip=tip))
                continue
            parts.append(
                tag(
                    "rect",
                    x=min(x, base),
                    y=y0,
                    width=max(abs(x - base), 0.5),
                    height=thick - 1,
                    rx=2.0,
                    class_=f"bar {series(index)}",
                    data_tip=tip,
                )
            )
            after = max(x, base)
            if whisker:
                parts.append(
                    tag("line", x1=whisker[0], x2=whisker[1], y1=y0 + thick / 2, y2=y0 + thick / 2, class_="whisker")
                )
                after = max(after, whisker[1])
            parts.append(text(after + 5, y0 + thick / 2 + 4, short(value), class_="value"))
    parts.append(tag("line", x1=base, x2=base, y1=top, y2=bottom, class_="axis"))
    parts.append(
        text(
            (labels + width) / 2,
            bottom + 38,
            fit(bars.value_label, width - labels),
            class_="label",
            text_anchor="middle",
        )
    )
    return "".join(parts), bottom + 46


def _value_axis(scale: Scale, span: tuple[float, float], top: float, bottom: float) -> list[str]:
    parts = []
    values, step = ticks(*span, 4)
    for value in values:
        x = scale(value)
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(text(x, bottom + 18, compact(value, step), class_="tick", text_anchor="middle"))
    return parts


def _whisker(bars: Bars, row: int, scale: Scale) -> tuple[float, float] | None:
    if bars.intervals is None or row >= len(bars.intervals):
        return None
    low, high = bars.intervals[row]
    return (scale(low), scale(high)) if drawable(low) and drawable(high) else None


def _upright(bars: Bars, span: tuple[float, float], width: float, top: float) -> tuple[str, float]:
    values, step = ticks(*span)
    left = 34 + max(text_width(compact(value, step)) for value in values)
    top, height = top + 14, 200.0
    bottom = top + height
    scale = Scale(*span, bottom, top)
    parts = []
    for value in values:
        y = scale(value)
        parts.append(tag("line", x1=left, x2=width - 6, y1=y, y2=y, class_="grid"))
        parts.append(text(left - 8, y + 4.5, compact(value, step), class_="tick", text_anchor="end"))
    pitch = (width - 6 - left) / len(bars.labels)
    n = len(bars.series)
    thick = min(46.0, pitch * 0.78 / n)
    base = scale(min(max(0.0, span[0]), span[1]))
    tilted = any(text_width(name) > pitch - 4 for name in bars.labels)
    for row, name in enumerate(bars.labels):
        middle = left + (row + 0.5) * pitch
        for index, (title, column) in enumerate(bars.series):
            if row >= len(column) or not drawable(column[row]):
                continue
            value = float(column[row])
            y = scale(value)
            x = middle + (index - n / 2) * thick
            tip = _tip(bars, title, row, value, index == 0)
            parts.append(
                tag(
                    "rect",
                    x=x,
                    y=min(y, base),
                    width=max(thick - 1, 0.5),
                    height=max(abs(y - base), 0.5),
                    rx=2.0,
                    class_=f"bar {series(index)}",
                    data_tip=tip,
                )
            )
            above = min(y, base)
            whisker = _whisker(bars, row, scale) if index == 0 else None
            if whisker:
                parts.append(
                    tag("line", x1=x + thick / 2, x2=x + thick / 2, y1=whisker[0], y2=whisker[1], class_="whisker")
                )
                above = min(above, whisker[1])
            if text_width(short(value), 11) <= pitch / n + 2:
                parts.append(text(x + thick / 2, above - 4, short(value), class_="value", text_anchor="middle"))
        if tilted:
            turn = f"rotate(-40 {middle:.1f} {bottom + 16:.1f})"
            parts.append(
                text(middle + 4, bottom + 16, fit(name, 100), class_="tick name", text_anchor="end", transform=turn)
            )
        else:
            parts.append(text(middle, bottom + 18, name, class_="tick name", text_anchor="middle"))
    parts.append(tag("line", x1=left, x2=width - 6, y1=base, y2=base, class_="axis"))
    turn = f"rotate(-90 13 {(top + bottom) / 2:.1f})"
    shown = fit(bars.value_label, height)
    parts.append(text(13, (top + bottom) / 2, shown, class_="label", text_anchor="middle", transform=turn))
    below = 28.0
    if tilted:
        below = 24 + 0.7 * min(100.0, max(text_width(name) for name in bars.labels))
    return "".join(parts), bottom + below
