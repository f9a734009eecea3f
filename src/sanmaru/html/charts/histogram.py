"""Histograms; several series share their edges and are drawn as outlines over each other."""

from __future__ import annotations

import math

from sanmaru.html.blocks import Histogram
from sanmaru.html.charts.axes import draw_axes, frame, nothing
from sanmaru.html.charts.scale import domain, drawable, rounded
from sanmaru.html.charts.svg import WIDTH, legend, number, picture, series, tag
from sanmaru.html.numbers import short


def draw_histogram(histogram: Histogram, width: float = WIDTH, height: float = 170.0) -> str:
    """Draw counts (or shares, where the values are at most 1 and not all whole) between edges.

    Bins whose edges or count are not numbers are left out.
    """
    keys, top = legend([name for name, _ in histogram.series], width, mark="swatch")
    top += 6
    total = top + height + 48
    bins = [
        (index, name, row, float(histogram.edges[row]), float(histogram.edges[row + 1]), float(count))
        for index, (name, counts) in enumerate(histogram.series)
        for row, count in enumerate(counts[: max(0, len(histogram.edges) - 1)])
        if drawable(count) and drawable(histogram.edges[row]) and drawable(histogram.edges[row + 1])
    ]
    label = f"{histogram.title}. Histogram over {histogram.x_label} in {max(0, len(histogram.edges) - 1)} bins."
    if not bins:
        return picture(nothing(width, total), width=width, height=total, label=label, kind="histogram")
    shares = all(0 <= count <= 1 for *_, count in bins) and any(count != math.floor(count) for *_, count in bins)
    x_domain = domain(edge for _, _, _, a, b, _ in bins for edge in (a, b))
    y_domain = rounded(*domain([count for *_, count in bins], zero=True), 4)
    area = frame(x_domain, y_domain, width=width, top=top, height=height)
    parts = [keys, draw_axes(area, histogram.x_label, "share of rows" if shares else "rows")]
    base = area.y(min(max(0.0, y_domain[0]), y_domain[1]))
    overlaid = len(histogram.series) > 1
    for index, name, _, a, b, count in bins:
        left, right = sorted((area.x(a), area.x(b)))
        y = area.y(count)
        tip = f"{short(a)} to {short(b)}\n{name + ': ' if name else ''}{short(count)}"
        gap = 1.0 if right - left > 3 and not overlaid else 0.0
        parts.append(
            tag(
                "rect",
                x=left,
                y=min(y, base),
                width=max(right - left - gap, 0.2),
                height=abs(base - y),
                class_=f"bar {series(index)}{' overlaid' if overlaid else ''}",
                data_tip=tip,
            )
        )
    if overlaid:
        for index in range(len(histogram.series)):
            steps = [
                f"{number(area.x(edge))},{number(area.y(count))}"
                for i, _, _, a, b, count in bins
                if i == index
                for edge in (a, b)
            ]
            if steps:
                parts.append(tag("polyline", points=" ".join(steps), class_=f"line outline {series(index)}"))
    parts.append(tag("line", x1=area.left, x2=area.right, y1=base, y2=base, class_="axis"))
    return picture(*parts, width=width, height=total, label=label, kind="histogram")
