"""A page as one HTML file that needs nothing but itself: style, script, charts and pictures lie inside it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources

from sanmaru.html.blocks import Block, Finding, Page, Section, Tiles
from sanmaru.html.charts.svg import escape
from sanmaru.html.draw import SEVERITY, draw_block, draw_finding, icon, is_chart, is_narrow

_MARK = (
    '<svg class="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true">'
    '<path class="far" d="M2 26L12 9l5 7 4-6 9 16z"/><path class="near" d="M2 26l8-9 5 5 6-8 9 12z"/></svg>'
)
_THEME = (
    '<svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true"><circle cx="10" cy="10" r="7.5"/>'
    '<path d="M10 2.5a7.5 7.5 0 0 1 0 15z"/></svg>'
)
_FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Cpath fill='%230b5cad' "
    "d='M2 26L12 9l5 7 4-6 9 16z'/%3E%3C/svg%3E"
)


def render(page: Page) -> str:
    """Draw a page.

    The file asks no network for anything, which its content security policy also forbids; it follows the reader's
    choice of light or dark, fits a phone, and prints.

    Example:
        >>> from sanmaru.html.blocks import Page, Section, Text
        >>> "<h1>Digits</h1>" in render(Page(title="Digits", sections=[Section(title="Data", blocks=[Text("1,797")])]))
        True
    """
    style, script = _asset("style.css"), _asset("script.js")
    # Only this very script may run: text from the data could not, even if it escaped its place.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
    anchors = _anchors(page.sections)
    gathered = [
        (finding, f"{anchor}-finding-{position + 1}")
        for section, anchor in zip(page.sections, anchors, strict=True)
        for position, finding in enumerate(section.findings)
    ]
    summary = _summary(gathered)
    links = [('<a href="#findings">Findings</a>')] if summary else []
    links += [
        f'<a href="#{anchor}">{escape(section.title)}{_badge(section.findings)}</a>'
        for section, anchor in zip(page.sections, anchors, strict=True)
    ]
    navigation = "".join(f"<li>{link}</li>" for link in links)
    sections = "".join(_section(section, anchor) for section, anchor in zip(page.sections, anchors, strict=True))
    subtitle = f'<p class="subtitle">{escape(page.subtitle)}</p>' if page.subtitle else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="Sanmaru">
<title>{escape(page.title)}</title>
<link rel="icon" href="{_FAVICON}">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div class="inner">{_MARK}<div class="titles"><h1>{escape(page.title)}</h1>{subtitle}</div>
<button type="button" id="theme" hidden aria-label="Change between light and dark">{_THEME}</button></div></header>
<div class="layout">
<nav aria-label="Sections"><ol>{navigation}</ol></nav>
<main id="main">{summary}{sections}</main>
</div>
<footer><p>{escape(page.footer)}</p></footer>
<div id="tip" role="status" aria-live="off" hidden></div>
<script>{script}</script>
</body>
</html>
"""


@cache
def _asset(name: str) -> str:
    return resources.files("sanmaru.html").joinpath(name).read_text(encoding="utf-8")


def _anchors(sections: Sequence[Section]) -> list[str]:
    """One address per section, from its title; equal titles are numbered."""
    taken: set[str] = {"findings", "main", "theme", "tip"}
    anchors = []
    for section in sections:
        base = re.sub(r"[^0-9a-z가-힣]+", "-", section.title.lower()).strip("-") or "section"
        anchor, n = base, 2
        while anchor in taken:
            anchor, n = f"{base}-{n}", n + 1
        taken.add(anchor)
        anchors.append(anchor)
    return anchors


def _badge(findings: Sequence[Finding]) -> str:
    severities = [finding.severity for finding in findings if finding.severity != "info"]
    if not severities:
        return ""
    worst = "problem" if "problem" in severities else "warning"
    return f'<span class="badge {worst}">{len(severities)}<span class="hidden"> to look at</span></span>'


def count_findings(findings: Sequence[Finding]) -> str:
    """Say how many findings there are of each severity.

    >>> count_findings([Finding(title="a", severity="warning", evidence="", advice="")])
    '1 warning'
    """
    counts = [(name.lower(), sum(f.severity == severity for f in findings)) for severity, name in SEVERITY.items()]
    return ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts if n) or "no findings"


def _summary(gathered: Sequence[tuple[Finding, str]]) -> str:
    if not gathered:
        return ""
    order = list(SEVERITY)
    rows = "".join(
        f'<li class="{finding.severity}">{icon(finding.severity)}'
        f'<span class="hidden">{SEVERITY[finding.severity]}: </span>'
        f'<a href="#{escape(anchor)}">{escape(finding.title)}</a></li>'
        for finding, anchor in sorted(gathered, key=lambda pair: order.index(pair[0].severity))
    )
    counted = count_findings([finding for finding, _ in gathered])
    return f'<section id="findings" class="summary" aria-label="Findings"><h2>{counted}</h2><ul>{rows}</ul></section>'


def _section(section: Section, anchor: str) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    cards = "".join(
        draw_finding(finding, f"{anchor}-finding-{position + 1}") for position, finding in enumerate(section.findings)
    )
    # Figures stand before what is to be said of them, charts and tables after.
    first = 1 if section.blocks and isinstance(section.blocks[0], Tiles) else 0
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">{escape(section.title)}</h2>'
        f"{lead}{_blocks(section.blocks[:first])}{cards}{_blocks(section.blocks[first:])}</section>"
    )


def _blocks(blocks: Sequence[Block]) -> str:
    """Draw blocks in order; charts, or a chart and a narrow table, stand side by side where there is room."""
    parts: list[str] = []
    row: list[str] = []
    for block in blocks:
        if is_chart(block):
            row.append(draw_block(block))
            continue
        if len(row) == 1 and is_narrow(block):
            row.append(draw_block(block))
            continue
        if row:
            parts.append(f'<div class="charts">{"".join(row)}</div>')
            row = []
        parts.append(draw_block(block))
    if row:
        parts.append(f'<div class="charts">{"".join(row)}</div>')
    return "".join(parts)
