from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sanmaru.errors import DataError
from sanmaru.tasks.tabular.segments import segments


def test_a_segment_with_larger_errors_is_found_and_noise_is_not(mixed_table, open_task):
    table = mixed_table(1000)
    task = open_task(table, "price")
    matrix = task.encoder.encode(table)
    errors = np.random.default_rng(1).exponential(size=1000)
    assert segments(task, matrix, errors) == []
    (found,) = segments(task, matrix, errors + 2 * (table["district"] == "노원").to_numpy())
    assert (found.feature, found.values) == ("district", "= 노원")
    assert found.rows == (table["district"] == "노원").sum()
    assert found.error - found.rest == pytest.approx(2, abs=0.3)


def test_ranges_and_missing_values_are_segments_too(mixed_table, open_task):
    table = mixed_table(1000)
    task = open_task(table, "price")
    gone = table["size {m²}"].is_null().to_numpy()
    large = (table["rooms"] == 5).to_numpy()
    found = segments(task, task.encoder.encode(table), 1.0 * gone + 3.0 * large)
    assert [(one.feature, one.values) for one in found] == [("rooms", "= 5"), ("size {m²}", "(missing)")]


@pytest.mark.parametrize("target", ["price", "band"])
def test_the_report_says_where_a_model_errs(target, mixed_table, open_task):
    table = mixed_table(1000)
    task = open_task(table, target)
    far = (table["district"] == "성북").to_numpy()
    if target == "price":
        outputs = table["price"].to_numpy()[:, None] + 30.0 * far[:, None]
    else:
        right = np.eye(3)[task.truth(table)]
        outputs = np.where(far[:, None], np.roll(right, 1, axis=1), right)
    predictions = task.predictions(table["row"], outputs.astype(np.float32))[::-1][:900]
    section = list(task.diagnose(table, predictions))[-1]
    assert section.title == "Where it errs most"
    row = section.blocks[0].rows[0]
    assert row[:2] == ["district", "= 성북"]
    assert row[3] == ("30" if target == "price" else "100.0%")


def test_even_errors_make_no_section(mixed_table, open_task):
    table = mixed_table(1000)
    task = open_task(table, "price")
    outputs = table["price"].to_numpy() + np.random.default_rng(1).normal(scale=5, size=1000)
    predictions = task.predictions(table["row"], outputs[:, None].astype(np.float32))
    assert "Where it errs most" not in [section.title for section in task.diagnose(table, predictions)]


def test_predictions_of_other_rows_are_refused(mixed_table, open_task):
    table = mixed_table(100)
    task = open_task(table, "price")
    other = task.predictions(pl.Series("row", np.arange(100) + 50), np.zeros((100, 1), dtype=np.float32))
    with pytest.raises(DataError, match="50"):
        list(task.diagnose(table, other))
