"""Blocks as HTML. Everything that came from data is escaped here or in `charts.svg`."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

from sanmaru.html.blocks import (
    Bars,
    Block,
    Code,
    Finding,
    Grid,
    Heatmap,
    Histogram,
    Lines,
    Pictures,
    Swarm,
    Text,
    Tiles,
)
from sanmaru.html.charts import draw_bars, draw_heatmap, draw_histogram, draw_lines, draw_swarm
from sanmaru.html.charts.svg import WIDTH, escape, tag, text_width
from sanmaru.html.numbers import NOTHING, short

SHORT = 24
"""Cells of at most so many characters are not broken into lines."""
LONG_VALUE = 9
"""Values of tiles of more characters, such as dates, are set smaller, or they would break at a hyphen."""
SEVERITY = {"problem": "Problem", "warning": "Warning", "info": "Note"}
"""Severity -> the word beside its icon, worst first."""


def draw_block(block: Block) -> str:
    """Return the HTML of one block."""
    match block:
        case Text():
            return tag("p", escape(block.text), class_="text")
        case Tiles():
            return _tiles(block)
        case Grid():
            return _grid(block)
        case Pictures():
            return _pictures(block)
        case Code():
            return _code(block)
        case Lines():
            return _figure(block.title, draw_lines(block))
        case Bars():
            return _figure(block.title, draw_bars(block))
        case Histogram():
            return _figure(block.title, draw_histogram(block))
        case Swarm():
            return _figure(block.title, draw_swarm(block))
        case Heatmap():
            wide = len(block.columns) > 12
            return _figure(block.title, draw_heatmap(block, 960.0 if wide else WIDTH), wide=wide)


def is_chart(block: Block) -> bool:
    """Whether a block may stand beside another one."""
    return isinstance(block, Lines | Bars | Histogram | Heatmap | Swarm)


def is_narrow(block: Block) -> bool:
    """Whether a block is a table that fits beside a single chart."""
    if not isinstance(block, Grid):
        return False
    words = [text_width(name, 14.5) + 18 for name in block.columns]
    cells = [
        max((_cell_width(row[place]) for row in block.rows if place < len(row)), default=0.0)
        for place in range(len(words))
    ]
    return sum(max(pair) + 18 for pair in zip(words, cells, strict=True)) <= WIDTH


def _cell_width(value: object) -> float:
    figure = _number(value)
    return text_width(short(figure) if figure is not None else str(value), 14.5) + 6


def draw_finding(finding: Finding, anchor: str) -> str:
    """Return a finding as a card."""
    ids = ""
    if finding.ids:
        shown = ", ".join(escape(value) for value in finding.ids)
        n = len(finding.ids)
        ids = f'<details class="ids"><summary>{n} of the rows</summary><p><code>{shown}</code></p></details>'
    advice = f'<p class="advice"><b>What to do</b> {escape(finding.advice)}</p>' if finding.advice else ""
    return (
        f'<article class="finding {finding.severity}" id="{escape(anchor)}" data-kind="{escape(finding.kind)}">'
        f'<p class="severity">{icon(finding.severity)}{SEVERITY[finding.severity]}</p>'
        f"<div><h3>{escape(finding.title)}</h3><p>{escape(finding.evidence)}</p>{advice}{ids}</div></article>"
    )


def icon(severity: str) -> str:
    """Return a severity's sign; shapes differ, so that colour is not needed to tell them apart."""
    shape = {
        "problem": '<path d="M8 1l7 7-7 7-7-7z"/><path class="cut" d="M8 4.6v4M8 11v.4"/>',
        "warning": '<path d="M8 1.5l7 13H1z"/><path class="cut" d="M8 6v4.2M8 12.3v.3"/>',
        "info": '<circle cx="8" cy="8" r="7"/><path class="cut" d="M8 7.4v4.2M8 4.6v.3"/>',
    }[severity]
    return f'<svg class="icon {severity}" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">{shape}</svg>'


def _figure(title: str, drawing: str, *, wide: bool = False) -> str:
    heading = f"<figcaption>{escape(title)}</figcaption>" if title else ""
    return f'<figure class="panel{" wide" if wide else ""}">{heading}<div class="scroll">{drawing}</div></figure>'


def _tiles(block: Tiles) -> str:
    parts = []
    for position, (label, value, small) in enumerate(block.tiles):
        classes = "tile hero" if block.hero and position == 0 else "tile"
        note = f'<span class="small">{escape(small)}</span>' if small else ""
        bold = '<b class="long">' if len(value) > LONG_VALUE else "<b>"
        parts.append(f'<div class="{classes}"><dt>{escape(label)}</dt><dd>{bold}{escape(value)}</b>{note}</dd></div>')
    return f'<dl class="tiles">{"".join(parts)}</dl>'


def _number(value: object) -> float | None:
    """The value as a float where it is a number (booleans are words)."""
    if isinstance(value, bool):
        return None
    try:
        return float(value) if hasattr(value, "__float__") else None
    except (TypeError, ValueError, OverflowError):
        return None


def _grid(block: Grid) -> str:
    n = len(block.columns)
    cells = [list(row[:n]) + [None] * (n - len(row)) for row in block.rows]
    numeric = [_is_numeric([row[column] for row in cells]) for column in range(n)]
    bars = block.columns.index(block.bars) if block.bars in block.columns else -1
    largest = max((abs(v) for row in cells if (v := _number(row[bars])) is not None and math.isfinite(v)), default=0.0)
    head = "".join(
        f'<th scope="col"{" class=num" if numeric[position] else ""}>{escape(name)}</th>'
        for position, name in enumerate(block.columns)
    )
    body = []
    for row in cells:
        drawn = []
        for column, value in enumerate(row):
            figure = _number(value)
            shown = NOTHING if value is None else short(figure) if figure is not None else str(value)
            sort = f' data-value="{figure!r}"' if figure is not None and math.isfinite(figure) else ""
            classes = "num" if numeric[column] else "short" if len(shown) <= SHORT else ""
            style = ""
            if column == bars and figure is not None and math.isfinite(figure) and largest:
                classes += " bar"
                style = f' style="--share:{100 * max(figure, 0.0) / largest:.1f}%"'
            name = f' class="{classes.strip()}"' if classes else ""
            drawn.append(f"<td{name}{sort}{style}>{escape(shown)}</td>")
        body.append(f"<tr>{''.join(drawn)}</tr>")
    caption = f"<caption>{escape(block.caption)}</caption>" if block.caption else ""
    long = " long" if len(cells) > 16 else ""
    label = escape(block.caption or "Table")
    return (
        f'<div class="panel table{long}" tabindex="0" role="region" aria-label="{label}"><table data-sortable>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _is_numeric(values: Sequence[object]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(_number(value) is not None for value in present)


def _pictures(block: Pictures) -> str:
    parts = []
    for picture in block.pictures:
        alternative = picture.caption or block.title or "picture"
        image = _image(picture.data, alternative)
        if picture.beside:
            others = "".join(
                f'<div class="other">{_image(data, f"{alternative}: {shown}")}<span aria-hidden="true">{escape(shown)}'
                "</span></div>"
                for data, shown in picture.beside
            )
            image = f'<div class="beside"><div class="first">{image}</div>{others}</div>'
        caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
        sign = '<span class="hidden">wrong: </span>' if picture.wrong else ""
        parts.append(
            f'<li><figure class="picture{" wrong" if picture.wrong else ""}">{image}{sign}{caption}</figure></li>'
        )
    heading = f"<h3>{escape(block.title)}</h3>" if block.title else ""
    classes = "sheet pixelated" if block.pixelated else "sheet"
    widest = max((len(picture.beside) for picture in block.pictures), default=0)
    if widest:
        classes += " rows" if widest > 1 else " pairs"
    return f'<div class="panel wide">{heading}<ul class="{classes}">{"".join(parts)}</ul></div>'


def _image(data: bytes, alternative: str) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "gif" if data.startswith(b"GIF8") else "jpeg"
    encoded = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{escape(alternative)}" decoding="async">'


def _code(block: Code) -> str:
    text = f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>'
    if block.folded:
        return f'<details class="panel code"><summary>{escape(block.title)}</summary>{text}</details>'
    return f'<div class="panel code"><h3>{escape(block.title)}</h3>{text}</div>'
