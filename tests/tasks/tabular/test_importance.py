from __future__ import annotations

import pytest

from sanmaru.html.blocks import Bars, Grid, Text
from sanmaru.tasks.tabular.importance import importance_section


def test_importance_is_the_mean_and_range_over_folds():
    folds = [
        {"importance": {"a": 0.6, "b": 0.4, "z": 0.0}, "importance_kind": "share of gain"},
        {"importance": {"b": 0.8, "a": 0.2, "z": 0.0}},
        {"best_step": 3},
    ]
    section = importance_section(folds)
    bars, grid, text = section.blocks
    assert isinstance(bars, Bars)
    assert bars.labels == ["b", "a", "z"]
    assert bars.series[0][1] == pytest.approx([0.6, 0.4, 0.0])
    assert bars.intervals[0] == pytest.approx((0.4, 0.8))
    assert isinstance(grid, Grid)
    assert grid.rows[0] == ["b", 0.6, 0.4, 0.8]
    assert isinstance(text, Text)
    assert text.text == "Not used by any fold (1): z."
    assert "leans most on b (60%)" in section.lead


def test_without_importance_there_is_no_section():
    assert importance_section([]) is None
    assert importance_section([{"best_step": 1}]) is None
