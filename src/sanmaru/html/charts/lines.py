"""Line charts and scatter plots."""

from __future__ import annotations

from collections.abc import Sequence

from sanmaru.html.blocks import Lines
from sanmaru.html.charts.axes import Frame, draw_axes, frame, nothing
from sanmaru.html.charts.scale import domain, drawable, rounded
from sanmaru.html.charts.svg import WIDTH, legend, number, picture, series, tag
from sanmaru.html.numbers import short

MOST_POINTS = 1500
"""Longer lines are thinned to the lowest and highest point of each stretch."""

_Pairs = list[tuple[float, float]]


def draw_lines(lines: Lines, width: float = WIDTH) -> str:
    """Draw a line chart, or markers only where `points` is set. Points that are not numbers are left out.

    A gap in y (NaN, infinity) breaks the line. With `diagonal` both axes share their ends.
    """
    pieces = [(name, _pieces(x, y)) for name, x, y in lines.series]
    behind = [(name, _pieces(x, y)) for name, x, y in lines.background]
    everything = [point for _, parts in (*pieces, *behind) for part in parts for point in part]
    keys, top = legend([name for name, _ in pieces], width)
    height = 220.0
    top += 8
    total = top + height + 48
    if not everything:
        return picture(nothing(width, total), width=width, height=total, label=_label(lines, 0), kind="lines")
    x_domain = domain(x for x, _ in everything)
    y_domain = rounded(*domain(y for _, y in everything))
    if lines.diagonal:
        low, high = rounded(*domain([*x_domain, *(y for _, y in everything)]))
        x_domain = y_domain = (low, high)
        height = 300.0
        total = top + height + 48
    area = frame(x_domain, y_domain, width=width, top=top, height=height)
    whole = all(x == int(x) for x, _ in everything) and x_domain[1] - x_domain[0] >= 1
    parts = [keys, draw_axes(area, lines.x_label, lines.y_label, whole=whole)]
    if lines.diagonal:
        low, high = x_domain
        parts.append(tag("line", x1=area.x(low), y1=area.y(low), x2=area.x(high), y2=area.y(high), class_="diagonal"))
    colours = {name: series(index) for index, (name, _) in enumerate(pieces)}
    for name, stretches in behind:
        parts += [_path(area, stretch, f"line faint {colours.get(name, 's5')}") for stretch in stretches]
    for name, stretches in pieces:
        points = [point for stretch in stretches for point in stretch]
        if lines.points:
            parts.append(_markers(area, points, colours[name], name, lines))
            continue
        parts += [_path(area, stretch, f"line {colours[name]}") for stretch in stretches]
        if len(points) <= 60:
            parts.append(_markers(area, points, f"{colours[name]} {'end' if len(points) > 30 else ''}", name, lines))
    return picture(*parts, width=width, height=total, label=_label(lines, len(everything)), kind="lines")


def _label(lines: Lines, n_points: int) -> str:
    names = ", ".join(name for name, _, _ in lines.series[:8])
    return f"{lines.title}. {lines.y_label} over {lines.x_label}: {names or 'no series'}; {n_points} points."


def _pieces(x: Sequence[float], y: Sequence[float]) -> list[_Pairs]:
    pieces: list[_Pairs] = [[]]
    for a, b in zip(x, y, strict=False):
        if drawable(a) and drawable(b):
            pieces[-1].append((float(a), float(b)))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _path(area: Frame, points: _Pairs, classes: str) -> str:
    if len(points) > MOST_POINTS:
        points = _thinned(points)
    if len(points) == 1:
        return tag(
            "circle", cx=area.x(points[0][0]), cy=area.y(points[0][1]), r=2.5, class_=classes.replace("line", "dot")
        )
    steps = " ".join(f"{number(area.x(x))},{number(area.y(y))}" for x, y in points)
    return tag("polyline", points=steps, class_=classes)


def _thinned(points: _Pairs) -> _Pairs:
    size = -(-len(points) * 2 // MOST_POINTS)
    kept: _Pairs = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        lowest = min(range(len(stretch)), key=lambda i: stretch[i][1])
        highest = max(range(len(stretch)), key=lambda i: stretch[i][1])
        kept += [stretch[i] for i in sorted({lowest, highest})]
    return kept


def _markers(area: Frame, points: _Pairs, classes: str, name: str, lines: Lines) -> str:
    if len(points) > 120:  # one path keeps a scatter of thousands light; single markers carry what the pointer shows
        steps = "".join(f"M{number(area.x(x))} {number(area.y(y))}h0" for x, y in points)
        return tag("path", d=steps, class_=f"cloud {classes}")
    return "".join(
        tag(
            "circle",
            cx=area.x(x),
            cy=area.y(y),
            r=3.0,
            class_=f"dot {classes}".strip(),
            data_tip=f"{name}\n{lines.x_label}: {short(x)}\n{lines.y_label}: {short(y)}",
        )
        for x, y in points
    )
