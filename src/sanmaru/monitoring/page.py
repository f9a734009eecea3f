"""A look at everything that is watched as one HTML page."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sanmaru.files import write_text
from sanmaru.html.blocks import Block, Finding, Grid, Lines, Page, Section, Text, Tiles
from sanmaru.html.numbers import percent, short
from sanmaru.html.page import render
from sanmaru.monitoring.report import ColumnFigures, MonitorReport, ServiceFigure, StatisticFigures

MOST_COLUMNS = 30
"""Columns that are drawn; those with an alarm first. The table lists all."""
DAY_US = 86_400e6
STATES = {"quiet": "quiet", "beyond": "beyond, no alarm yet", "alarm": "ALARM", "too little data": "too little data"}


def write_page(report: MonitorReport, path: Path, name: str) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        report: What a look found.
        path: Of the HTML file.
        name: Of the project.
    """
    write_text(path, render(page(report, name)))


def page(report: MonitorReport, name: str) -> Page:
    """Return the page of a look."""
    sections = [_overview(report), _drift(report)]
    if report.estimates is not None:
        sections.append(_estimates(report))
    if report.service:
        sections.append(_service(report))
    first, last = (one.strftime("%Y-%m-%d %H:%M UTC") for one in report.current)
    return Page(
        title=f"{name}: monitor",
        subtitle=f"{first} to {last}, compared with {report.reference[0]:%Y-%m-%d} to {report.reference[1]:%Y-%m-%d}",
        sections=sections,
        footer="Made by Sanmaru",
    )


def watched_rows(report: MonitorReport) -> list[tuple[object, ...]]:
    """Return the table of everything that is watched, a row per statistic.

    Returns:
        Column, kind, state, statistic, value, threshold, smallest shift found, the same in usual spreads, false alarms
        a year of this one alone, largest in the reference. The smallest shift is that of all windows of the column.
    """
    return [
        (column.key, column.kind, STATES[column.standing], one.name, one.value, one.threshold, column.smallest_shift,
         column.smallest_shift / column.spread, one.per_year, one.largest)
        for column in report.columns
        for one in column.statistics
    ]  # fmt: skip


def stated_text(report: MonitorReport) -> str:
    """Say how often the monitor cries wolf."""
    if math.isnan(report.stated):
        return (
            "Textbook thresholds: their false-alarm rate is unknown. In the reference they raise "
            f"{report.in_reference} alarms in {report.reference_years:.1f} years."
        )
    ending = "" if report.stated == 1 else "s"
    return (
        f"Calibrated to {report.stated:g} false alarm{ending} a year over everything together. "
        f"In the reference the windows raise {report.in_reference} in {report.reference_years:.1f} years."
    )


def _overview(report: MonitorReport) -> Section:
    alarms = report.alarms
    stated = "unknown" if math.isnan(report.stated) else f"{report.stated:g} a year"
    n_statistics = sum(len(one.statistics) for one in report.columns)
    blocks: list[Block] = [
        Tiles(
            tiles=[
                ("Alarms that stand", str(len(alarms)), ", ".join(alarms[:4]) or "none"),
                ("False alarms", stated, "over everything together" if report.stated == report.stated else "textbook"),
                (
                    "Watched",
                    str(len(report.columns)),
                    f"columns, {n_statistics} statistics, windows of {report.window}",
                ),
                ("In the reference", str(report.in_reference), f"alarms in {report.reference_years:.1f} years"),
            ],
            hero=True,
        ),
    ]
    blocks += [Text(note) for note in report.notes]
    if report.alerts:
        blocks.append(
            Grid(
                columns=("Time (UTC)", "What", "Cause", "Statistic", "Value", "Threshold"),
                rows=[
                    (one.body()["at"].replace("T", " ").rstrip("Z"), one.event, one.cause, one.statistic, one.value,
                     one.threshold)
                    for one in report.alerts[-20:]
                ],
                caption="What this look told"
                + (f", the newest 20 of {len(report.alerts)}" if len(report.alerts) > 20 else ""),
            )
        )  # fmt: skip
    if report.undelivered:
        blocks.append(Grid(columns=("Not delivered",), rows=[(one,) for one in report.undelivered]))
    return Section(title="How things stand", lead=stated_text(report), blocks=blocks, findings=_findings(report))


def _findings(report: MonitorReport) -> list[Finding]:
    found = []
    for column in report.columns:
        if column.standing == "alarm":
            since = column.since.strftime("%Y-%m-%d %H:%M UTC") if column.since else "an earlier look"
            found.append(
                Finding(
                    title=f"{column.key} has drifted",
                    severity="problem" if column.kind in ("residual", "error") else "warning",
                    evidence=f"Alarm since {since}; {_why(column)}.",
                    advice="Look at its chart below. If the world has changed, train again; if the source is at fault, "
                    "mend it.",
                    kind=f"drift-{column.kind}",
                )
            )
    for figure in report.service:
        if figure.alarm:
            found.append(
                Finding(
                    title=f"{figure.name} is beyond its limit",
                    severity="problem",
                    evidence=f"{short(figure.value)} ({figure.text}); at most {short(figure.limit or 0)}.",
                    advice="",
                    kind="service",
                )
            )
    return found


def _why(column: ColumnFigures) -> str:
    """Say what stands beyond its threshold or, where a detector raised the alarm and began anew, which one did."""
    worst = column.worst
    if worst.value > worst.threshold:
        return f"{worst.name} is {short(worst.value)}, its threshold {short(worst.threshold)}"
    raised = " and ".join(one.name for one in column.statistics if len(one.alarms))
    by = f"raised by {raised}, which began anew then; " if raised else ""
    return f"{by}everything is within its threshold now, and the alarm ends when enough windows stay so"


def _drift(report: MonitorReport) -> Section:
    columns = ("Column", "Kind", "State", "Statistic", "Value", "Threshold", "Finds a shift of", "in usual spreads",
               "False alarms a year", "Largest in reference")  # fmt: skip
    blocks: list[Block] = [
        Grid(
            columns=columns,
            rows=watched_rows(report),
            caption="What is watched",
        )
    ]
    order = sorted(report.columns, key=lambda one: one.standing != "alarm")
    for column in order[:MOST_COLUMNS]:
        blocks += _charts(column, report)
    if len(order) > MOST_COLUMNS:
        blocks.append(Text(f"{len(order) - MOST_COLUMNS} further columns stand in the table only."))
    lead = (
        f"Windows of {report.window} against the reference, with seasons taken off; charts end on "
        f"{report.current[1]:%Y-%m-%d}. The shift that is found is the smallest lasting one, up and down, that "
        f"{percent(report.power)} of windows find."
    )
    return Section(title="Drift", lead=lead, blocks=blocks)


def _charts(column: ColumnFigures, report: MonitorReport) -> list[Block]:
    newest = report.current[1].timestamp() * 1e6
    blocks: list[Block] = []
    for one in column.statistics:
        days = (one.at - newest) / DAY_US
        blocks.append(
            Lines(
                title=f"{column.key}: {one.name}",
                x_label="days before the newest value",
                y_label=one.name,
                series=[
                    (one.name, days.tolist(), one.values.tolist()),
                    *([("threshold", [float(days[0]), float(days[-1])], [one.threshold] * 2)] if len(days) else []),
                    *_marks(one, days),
                ],
            )
        )
    if len(column.means) and column.kind in ("residual", "prediction"):
        at = (column.statistics[0].at - newest) / DAY_US
        blocks.append(
            Lines(
                title=f"{column.key}: mean of each window",
                x_label="days before the newest value",
                y_label="usual spreads",
                series=[("mean", at.tolist(), column.means.tolist())],
            )
        )
    return blocks


def _marks(one: StatisticFigures, days: np.ndarray) -> list[tuple[str, list[float], list[float]]]:
    """Alarms of a sequential detector as short strokes at their height."""
    if not len(one.alarms):
        return []
    place = np.searchsorted(one.at, one.alarms)
    x: list[float] = []
    y: list[float] = []
    for each in place:
        x += [float(days[each])] * 3
        y += [one.threshold, float(one.values[each]), math.nan]
    return [("alarm", x, y)]


def _estimates(report: MonitorReport) -> Section:
    assert report.estimates is not None
    rows = report.estimates.rows
    newest = report.current[1].timestamp() * 1e6
    x = [(row["at"] - newest) / DAY_US for row in rows]
    both = [row for row in rows if row["realised"] is not None]
    inside = sum(row["low"] <= row["realised"] <= row["high"] for row in both)
    said = f"Of {len(both)} windows whose truth came, {inside} ended inside their 90 % band." if both else ""

    def line(name: str) -> list[float]:
        return [math.nan if row[name] is None else float(row[name]) for row in rows]

    return Section(
        title="Error before the truth is known",
        lead=f"Estimated from inputs and predictions; the truth is filled in when it comes. {said}",
        blocks=[
            Lines(
                title=report.estimates.name,
                x_label="days before the newest value",
                y_label=report.estimates.name,
                series=[(name, x, line(name)) for name in ("estimated", "realised", "low", "high")],
            ),
            Grid(
                columns=("Window ends", "Estimated", "Low", "High", "Realised", "Rows with truth"),
                rows=[
                    (
                        f"{np.datetime64(row['at'], 'us').astype('datetime64[D]')}", row["estimated"], row["low"],
                        row["high"], math.nan if row["realised"] is None else row["realised"], row["rows_known"],
                    )
                    for row in rows[-12:]
                ],
                caption="The newest windows",
            ),
        ],
    )  # fmt: skip


def _service_state(one: ServiceFigure) -> str:
    if one.limit is None:
        return "no limit"
    return STATES["alarm"] if one.alarm else STATES["beyond"] if one.value > one.limit else STATES["quiet"]


def _service(report: MonitorReport) -> Section:
    return Section(
        title="Service and machine",
        blocks=[
            Grid(
                columns=("Figure", "Value", "Limit", "What it is", "State"),
                rows=[
                    (one.name, one.value, math.nan if one.limit is None else one.limit, one.text,
                     _service_state(one))
                    for one in report.service
                ],
            )
        ],
    )  # fmt: skip
