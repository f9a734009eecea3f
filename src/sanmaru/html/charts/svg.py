"""SVG text: escaped elements and an estimate of how wide a text is."""

from __future__ import annotations

import html
import re
import unicodedata

FONT = 13.0
"""Size of chart text in px of the drawing."""
WIDTH = 440.0
"""Width of a usual chart in px of the drawing; two stand side by side on a desktop, one on a phone."""

# What XML 1.0 does not allow even when escaped, so that a column named "\x00" cannot break the page.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Replace characters that XML forbids."""
    return _FORBIDDEN.sub("\ufffd", text)


def escape(text: object) -> str:
    """Escape any value for element content and for attribute values in double quotes."""
    return html.escape(clean(str(text)), quote=True)


def tag(name: str, *children: str, **attributes: object) -> str:
    """Write an element. Children are markup; attribute values are escaped; `class_` and `a_b` become `class` and `a-b`.

    >>> tag("rect", x=1.23456, class_="bar")
    '<rect x="1.23" class="bar"/>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(children)
    return f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>"


def _attribute(value: object) -> str:
    # XML turns a plain line break inside an attribute into a space.
    return number(value) if isinstance(value, float) else escape(value).replace("\n", "&#10;")


def text(x: float, y: float, content: object, **attributes: object) -> str:
    """Write a text element."""
    return tag("text", escape(content), x=float(x), y=float(y), **attributes)


def number(value: float) -> str:
    """Write a coordinate with at most two decimals.

    >>> number(3.0), number(2.345)
    ('3', '2.35')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def text_width(content: str, font: float = FONT) -> float:
    """Estimate the width of a text in px, as wide as DejaVu Sans sets it, the widest of the usual fonts.

    Hangul and other wide characters take a full em.
    """
    ems = 0.0
    for character in content:
        if unicodedata.east_asian_width(character) in "WF":
            ems += 1.0
        elif character in "ijl.,:;|!' ":
            ems += 0.32
        elif character in "frt()[]-":
            ems += 0.4
        elif character in "mMW%@":
            ems += 0.96
        elif character.isupper() or character == "w":
            ems += 0.76
        else:
            ems += 0.62
    return ems * font


def fit(content: object, width: float, font: float = FONT) -> str:
    """Shorten a text with an ellipsis until it fits `width` px.

    >>> fit("education-num", 60)
    'educati…'
    """
    whole = " ".join(str(content).split())
    if text_width(whole, font) <= width:
        return whole
    shown = whole
    while shown and text_width(shown + "…", font) > width:
        shown = shown[:-1]
    return (shown.rstrip() or whole[:1]) + "…"


def picture(*parts: str, width: float, height: float, label: str, kind: str) -> str:
    """Wrap the parts of a chart. `label` is what a screen reader says."""
    return tag(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=float(width),
        height=float(height),
        role="img",
        aria_label=label,
        class_=f"chart {kind}",
    )


def legend(names: list[str], width: float, left: float = 0.0, mark: str = "line") -> tuple[str, float]:
    """Draw the names of the series from the top left, in as many lines as they need.

    Returns:
        The markup and its height in px (0 for fewer than two series).
    """
    if len(names) < 2:
        return "", 0.0
    parts: list[str] = []
    x, y = left, 12.0
    for index, name in enumerate(names):
        shown = fit(name, width - left - 30)
        needed = 24 + text_width(shown) + 14
        if x > left and x + needed > width:
            x, y = left, y + 20
        if mark == "line":
            parts.append(tag("line", x1=x, x2=x + 16, y1=y, y2=y, class_=f"line {series(index)}"))
        else:
            parts.append(
                tag("rect", x=x + 2, y=y - 6, width=12.0, height=12.0, rx=2.0, class_=f"swatch {series(index)}")
            )
        parts.append(text(x + 22, y + 4.5, shown, class_="legend"))
        x += needed
    return "".join(parts), y + 14


def series(index: int) -> str:
    """The classes that colour a series: six colours, then the same ones dashed.

    >>> series(1), series(7)
    ('s1', 's1 dashed')
    """
    return f"s{index % 6}" + (" dashed" if index >= 6 else "")
