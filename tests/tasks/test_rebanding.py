"""Bands of a number: how many rows they hold, and cuts that would share them better."""

import numpy as np
import pytest

from sanmaru.html.blocks import Grid, Histogram
from sanmaru.tables.joint import Target
from sanmaru.tasks.rebanding import band_counts, bands_section, even, moved, proposals


def ages() -> np.ndarray:
    """100 people: 60 below 30, 37 of 30 to 59, 3 of 60 and more."""
    return np.concatenate([np.linspace(18, 29, 60), np.linspace(30, 59, 37), [61, 64, 70]]).round()


def target(*cuts: float) -> Target:
    names = tuple(f"b{number}" for number in range(len(cuts) + 1))
    return Target(name="age", classes=names, cuts=tuple(cuts))


def test_a_number_on_a_cut_belongs_to_the_band_above() -> None:
    assert band_counts(np.array([29.0, 30.0, 59.9, 60.0]), (30, 60)).tolist() == [1, 2, 1]


def test_a_thin_band_is_a_finding_with_cuts_that_help() -> None:
    section = bands_section(target(30, 60), ages())
    finding = section.findings[0]
    assert finding.kind == "thin-band"
    assert "b2 (3 rows, 3 %)" in finding.evidence
    assert "If the bands are yours to choose, [30, 5" in finding.advice  # the first cut stays where it is
    histogram = next(block for block in section.blocks if isinstance(block, Histogram))
    assert [name for name, _ in histogram.series] == ["b0", "b1", "b2"]
    assert [int(np.nansum(counts)) for _, counts in histogram.series] == [60, 37, 3]
    edges = np.asarray(histogram.edges)
    assert {30.0, 60.0} <= set(edges.tolist())  # no bin holds two bands
    assert edges[0] <= 18
    assert edges[-1] > 70
    table = next(block for block in section.blocks if isinstance(block, Grid))
    assert table.rows[0][:2] == ["as they are", "[30, 60]"]
    assert len(table.rows) == 3


def test_bands_that_hold_enough_are_left_alone() -> None:
    section = bands_section(target(25, 40), ages())
    assert not section.findings
    assert not any(isinstance(block, Grid) for block in section.blocks)


def test_moved_cuts_leave_every_band_its_share() -> None:
    numbers = np.random.default_rng(1).gamma(2, 10, 500)
    for cuts in [(30.0, 60.0), (1.0, 2.0, 90.0), (5.0, 300.0)]:
        counts = band_counts(numbers, moved(numbers, cuts))
        assert counts.min() >= 49  # a tenth
    assert moved(numbers, (10.0, 25.0)) == (10.0, 25.0)  # already so


def test_even_cuts_are_quantiles() -> None:
    assert even(np.arange(301.0), 2) == pytest.approx((100, 200))


def test_nothing_is_proposed_where_nothing_helps() -> None:
    assert proposals(np.array([1.0] * 99 + [2.0]), (2.0,), whole=True) == []
