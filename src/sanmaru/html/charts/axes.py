"""The frame of a chart: gridlines, tick labels, axis titles."""

from __future__ import annotations

from dataclasses import dataclass

from sanmaru.html.charts.scale import Scale, ticks
from sanmaru.html.charts.svg import FONT, fit, tag, text, text_width
from sanmaru.html.numbers import compact


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The plotting area in px of the drawing and the scales of its two axes (`y` runs from the bottom up)."""

    left: float
    top: float
    right: float
    bottom: float
    x: Scale
    y: Scale


def frame(
    x_domain: tuple[float, float], y_domain: tuple[float, float], *, width: float, top: float, height: float
) -> Frame:
    """Lay out a frame; the left margin is as wide as the longest label of the y axis."""
    values, step = ticks(*y_domain)
    label = max((text_width(compact(value, step)) for value in values), default=0.0)
    left, right, bottom = min(30 + label, width / 2), width - 12, top + height
    return Frame(
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        x=Scale(*x_domain, left, right),
        y=Scale(*y_domain, bottom, top),
    )


def draw_axes(frame: Frame, x_label: str, y_label: str, *, x_count: int = 6, whole: bool = False) -> str:
    """Draw gridlines, tick labels and titles; they take 46 px below the frame and the margin left of it.

    With `whole`, the x axis is labelled with whole numbers only.
    """
    parts: list[str] = []
    values, step = ticks(frame.y.low, frame.y.high)
    for value in values:
        y = frame.y(value)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        parts.append(text(frame.left - 8, y + 4.5, compact(value, step), class_="tick", text_anchor="end"))
    values, step = ticks(frame.x.low, frame.x.high, x_count, whole=whole)
    room = (frame.right - frame.left) / max(1, len(values) - 1) - 8
    every = 1 + int(max((text_width(compact(value, step)) for value in values), default=0.0) // max(room, 8))
    for position, value in enumerate(values):
        x = frame.x(value)
        parts.append(tag("line", x1=x, x2=x, y1=frame.bottom, y2=frame.bottom + 5, class_="axis"))
        if position % every == 0:
            shown = compact(value, step)
            # The last label may not stick out of the drawing.
            x = min(x, frame.right + 10 - text_width(shown) / 2)
            parts.append(text(x, frame.bottom + 19, shown, class_="tick", text_anchor="middle"))
    parts.append(tag("line", x1=frame.left, x2=frame.right, y1=frame.bottom, y2=frame.bottom, class_="axis"))
    middle_x, middle_y = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    shown = fit(x_label, frame.right - frame.left)
    parts.append(text(middle_x, frame.bottom + 39, shown, class_="label", text_anchor="middle"))
    if y_label:
        shown = fit(y_label, frame.bottom - frame.top)
        turn = f"rotate(-90 {FONT} {middle_y:.1f})"
        parts.append(text(FONT, middle_y, shown, class_="label", text_anchor="middle", transform=turn))
    return "".join(parts)


def nothing(width: float, height: float) -> str:
    """What a chart without a drawable value says."""
    return text(width / 2, height / 2, "no values to draw", class_="label", text_anchor="middle")
