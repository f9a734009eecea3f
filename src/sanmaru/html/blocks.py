"""What reports are made of: typed records. Computing makes them, `html.page` draws them.

A report is a list of sections; a section is a title, a lead sentence, blocks and findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "problem"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something the data or a run shows, with evidence and advice."""

    title: str
    severity: Severity
    evidence: str
    advice: str
    ids: tuple[str, ...] = ()
    """Some of the rows concerned, at most 20."""
    kind: str = ""
    """Stable machine name, such as `duplicate-rows`."""


@dataclass(frozen=True)
class Text:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """A row of figures with labels, such as the final score."""

    tiles: Sequence[tuple[str, str, str]]
    """(label, value, small print)."""
    hero: bool = False
    """Draw the first tile large: it is the figure the reader came for."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table. Numbers are right-aligned; wide ones scroll inside their box."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    bars: str = ""
    """Name of a numeric column to draw as bars behind its values."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A line chart: learning curves, calibration, anything over x."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]]
    """(name, x, y)."""
    diagonal: bool = False
    """Draw y = x, as calibration plots do."""
    points: bool = False
    """Draw markers without joining them."""
    background: Sequence[tuple[str, Sequence[float], Sequence[float]]] = ()
    """Drawn thin behind, in the colour of the series of the same name: the single folds behind their mean."""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A bar chart over categories; several series are drawn side by side."""

    title: str
    labels: Sequence[str]
    series: Sequence[tuple[str, Sequence[float]]]
    value_label: str
    horizontal: bool = True
    intervals: Sequence[tuple[float, float]] | None = None
    """(low, high) whiskers of the first series."""
    dots: bool = False
    """Draw points on an axis that need not start at zero, as fits scores that lie close together."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts between edges (len(edges) = len(counts) + 1); several series share the edges."""

    title: str
    x_label: str
    edges: Sequence[float]
    series: Sequence[tuple[str, Sequence[float]]]


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """A matrix with numbers in its cells, such as a confusion matrix (rows true, columns predicted)."""

    title: str
    row_label: str
    column_label: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float]]
    per_row: bool = True
    """Colour by the share of the row's sum."""


@dataclass(frozen=True, kw_only=True)
class Swarm:
    """Points in one row per name, such as what each column adds to the predictions of single rows."""

    title: str
    x_label: str
    rows: Sequence[tuple[str, Sequence[float], Sequence[float | None]]]
    """(name, places, shades); a shade in [0, 1], or None for a point without one."""
    shades: tuple[str, str] = ("low value", "high value")
    """What the lowest and the highest shade say."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture with a caption."""

    data: bytes
    """Encoded JPEG or PNG."""
    caption: str = ""
    wrong: bool = False
    """Drawn with a warning edge."""
    beside: Sequence[tuple[bytes, str]] = ()
    """More pictures of the same thing, in one row with it: (encoded JPEG or PNG, what it shows, in a few words)."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A contact sheet."""

    title: str
    pictures: Sequence[Picture]
    pixelated: bool = False
    """Enlarge small pictures without smoothing."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Text set as it is: a file, commands to repeat."""

    title: str
    text: str
    folded: bool = False
    """Show only the title until it is opened."""


Block = Text | Tiles | Grid | Lines | Bars | Histogram | Heatmap | Swarm | Pictures | Code


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report."""

    title: str
    lead: str = ""
    blocks: Sequence[Block] = field(default=())
    findings: Sequence[Finding] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report: one self-contained HTML file."""

    title: str
    subtitle: str = ""
    sections: Sequence[Section] = field(default=())
    footer: str = ""
