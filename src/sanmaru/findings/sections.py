"""The sections of a data report that any table gets; each task adds its own."""

from __future__ import annotations

from sanmaru.findings.correlation import correlation
from sanmaru.findings.distributions import distributions
from sanmaru.findings.duplicates import duplicates
from sanmaru.findings.groups import groups
from sanmaru.findings.missing import missing
from sanmaru.findings.overview import overview
from sanmaru.findings.quarantine import quarantined
from sanmaru.findings.shift import shift
from sanmaru.findings.source import Source
from sanmaru.findings.written import written
from sanmaru.html.blocks import Section


def opening_sections(source: Source) -> list[Section]:
    """Return what stands first: how much data there is, what could not be used, and how odd cells were read."""
    return [section for section in (overview(source), quarantined(source), written(source)) if section is not None]


def general_sections(source: Source) -> list[Section]:
    """Return what stands after the task's own sections: columns, duplicates, correlation, shift, groups."""
    sections = [
        missing(source) if source.features() else None,
        duplicates(source),
        groups(source),
        shift(source),
        correlation(source),
        *distributions(source),
    ]
    return [section for section in sections if section is not None]
