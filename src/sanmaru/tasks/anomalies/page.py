"""The comparison of detectors as a page and as lines of text."""

from __future__ import annotations

import math

from sanmaru.html.blocks import Bars, Block, Grid, Heatmap, Page, Section, Text, Tiles
from sanmaru.tasks.anomalies.compare import Comparison, Result

HOUR_S = 3600.0
COLUMNS = (
    "detector",
    "average precision",
    "recall",
    "precision",
    "false alarms per 1,000 rows",
    "delay h",
    "fit s",
    "score s per 1,000 rows",
)
LEAD = (
    "Every detector learned from the same past rows, has its threshold from the same held-out blocks of time, and met "
    "the same faults, injected into the last fifth of the time. Each kind of fault was injected by itself."
)


def comparison_page(found: Comparison, title: str) -> Page:
    """Return the page of a comparison."""
    return Page(
        title=f"{title}: anomaly detectors",
        subtitle=f"{found.rows:,} rows, {found.series:,} series, columns {', '.join(found.columns)}",
        sections=[_result(found), _kinds(found), _how(found)],
    )


def table_rows(found: Comparison) -> list[list[object]]:
    """Return the rows of the table, one per detector, in the order of `COLUMNS`."""
    return [
        [
            one.detector,
            round(one.overall.average_precision, 3),
            round(one.overall.recall, 3),
            _or_dash(one.overall.precision, 3),
            round(one.alarms_per_thousand, 2),
            _or_dash(one.overall.delay_s / HOUR_S, 1),
            round(one.fit_s, 2),
            round(one.score_s_per_thousand, 4),
        ]
        for one in found.results
    ]


def kind_rows(found: Comparison, figure: str) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of one figure per kind of fault.

    Args:
        found: The comparison.
        figure: `recall`, `precision`, `average_precision` or `delay_s` (given in hours).
    """
    scale, digits = (1 / HOUR_S, 1) if figure == "delay_s" else (1.0, 2)
    kinds = list(found.results[0].kinds)
    rows: list[list[object]] = [
        [one.detector, *(_or_dash(getattr(one.kinds[kind], figure) * scale, digits) for kind in kinds)]
        for one in found.results
    ]
    return ["detector", *kinds], rows


def _result(found: Comparison) -> Section:
    best = found.results[0]
    budget = best.budget_per_thousand
    tiles = Tiles(
        tiles=[
            ("Ranks faults best", best.detector, f"average precision {best.overall.average_precision:.2f}"),
            (
                "Finds most within the budget",
                _finder(found).detector,
                f"{_finder(found).overall.recall:.0%} of the faults",
            ),
            ("Budget", f"{budget:.3g}", "alarms per 1,000 rows"),
        ]
    )
    bars = Bars(
        title="Average precision over all kinds",
        labels=[one.detector for one in found.results],
        series=[("average precision", [one.overall.average_precision for one in found.results])],
        value_label="average precision, of 1",
    )
    blocks: list[Block] = [tiles, Grid(columns=COLUMNS, rows=table_rows(found), bars="average precision"), bars]
    return Section(title="Result", lead=LEAD, blocks=blocks)


def _kinds(found: Comparison) -> Section:
    columns, rows = kind_rows(found, "recall")
    recall = Heatmap(
        title="Share of the faults found within the budget",
        row_label="detector",
        column_label="kind of fault",
        rows=[str(row[0]) for row in rows],
        columns=columns[1:],
        values=[[one.kinds[kind].recall for kind in columns[1:]] for one in found.results],
        per_row=False,
    )
    blocks: list[Block] = [recall]
    for figure, caption in (
        ("average_precision", "Average precision: how well rows of faults are ranked before all others"),
        ("precision", "Precision: share of the flagged rows that belong to a fault"),
        ("delay_s", "Delay: mean hours from the beginning of a found fault to its first flagged row"),
    ):
        columns, rows = kind_rows(found, figure)
        blocks.append(Grid(columns=columns, rows=rows, caption=caption))
    return Section(title="By kind of fault", blocks=blocks)


def _how(found: Comparison) -> Section:
    text = (
        f"{found.events} faults of each kind, seed {found.seed}, in the last {found.check_rows:,} rows; a spike of 3 "
        "to 6 robust standard deviations, a sensor stuck for 12 to 48 rows, a drift of 2 to 4 standard deviations over "
        "48 to 120 rows, values of one or all columns missing for 3 to 24 rows, two columns swapped for 6 to 24 rows "
        "(shorter for tables of days). Flagged rows with at most 3 rows between them are one alarm. False alarms are "
        "measured on the last fifth as it is: real faults among those rows count as false. The three rows after a "
        "fault count neither way."
    )
    return Section(title="How it was measured", blocks=[Text(text)])


def _finder(found: Comparison) -> Result:
    within = [one for one in found.results if one.alarms_per_thousand <= one.budget_per_thousand]
    return max(within or found.results, key=lambda one: one.overall.recall)


def _or_dash(value: float, digits: int) -> object:
    return "–" if math.isnan(value) else round(value, digits)
