"""Worst mistakes with the heat maps of the networks that made them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sanmaru.errors import ProjectFileError
from sanmaru.html.blocks import Pictures, Section, Text
from sanmaru.project import Project
from sanmaru.tasks.base import FitContext
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.overlay import overlay
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig


@pytest.fixture
def fits(task: ImageClassification, digits: pl.DataFrame, context: Callable[..., FitContext], tmp_path: Path) -> Path:
    """A convnet that learned one epoch, saved."""
    estimator = task.estimator(NetworkConfig(image_size=16), TrainConfig(epochs=1, selection="none"))
    estimator.fit(digits[:90], None, context())
    estimator.save(tmp_path / "estimator")
    return tmp_path / "estimator"


def predictions(task: ImageClassification, digits: pl.DataFrame) -> pl.DataFrame:
    """All rows taken for the next digit, one row more surely than the other, as if by fold 0."""
    logits = np.zeros((len(digits), 10), np.float32)
    logits[np.arange(len(digits)), (digits["digit"].to_numpy() + 1) % 10] = np.linspace(2, 6, len(digits))
    return task.predictions(digits["id"], logits).with_columns(pl.lit(0, pl.Int32).alias("fold"))


def mistakes(sections: list[Section]) -> tuple[Pictures, str]:
    section = next(section for section in sections if section.title == "Worst mistakes")
    sheet = next(block for block in section.blocks if isinstance(block, Pictures))
    return sheet, " ".join(block.text for block in section.blocks if isinstance(block, Text))


def test_mistakes_stand_beside_what_spoke_for_the_class_given_and_for_the_true_one(
    task: ImageClassification, digits: pl.DataFrame, fits: Path
) -> None:
    made = list(task.explained(digits, predictions(task, digits), [fits], 3))
    sheet, note = mistakes(made)
    assert [len(picture.beside) for picture in sheet.pictures] == [2, 2, 2] + [0] * 21
    assert "Grad-CAM" in note
    first = sheet.pictures[0]
    true = digits["digit"][179]  # the last row is the surest
    assert [shown for _, shown in first.beside] == [f"for {(true + 1) % 10}", f"for {true}"]
    with Image.open(BytesIO(first.beside[0][0])) as image:
        assert image.size == (160, 160)
        assert np.asarray(image).std() > 5


def test_without_fits_or_weights_the_pictures_stand_alone(
    task: ImageClassification, digits: pl.DataFrame, fits: Path
) -> None:
    plain, note = mistakes(list(task.diagnose(digits, predictions(task, digits))))
    assert not any(picture.beside for picture in plain.pictures)
    assert note == ""
    (fits / "model.safetensors").unlink()
    sheet, note = mistakes(list(task.explained(digits, predictions(task, digits), [fits], 3)))
    assert len(sheet.pictures) == 24
    assert not any(picture.beside for picture in sheet.pictures)
    assert "cannot be shown" in note


def test_a_lost_picture_does_not_keep_the_others_from_being_explained(
    task: ImageClassification, digits: pl.DataFrame, fits: Path, tmp_path: Path
) -> None:
    lost = digits.with_columns(
        pl.when(pl.col("id") == "d179").then(pl.lit(str(tmp_path / "gone.png"))).otherwise("picture").alias("picture")
    )
    sheet, note = mistakes(list(task.explained(lost, predictions(task, digits), [fits], 3)))
    assert [len(picture.beside) for picture in sheet.pictures[:3]] == [2, 2, 0]
    assert "d179" in note


def test_the_overlay_keeps_the_shape_and_is_lightest_where_the_map_is() -> None:
    heat = np.zeros((8, 8), np.float32)
    heat[:4, :4] = 1
    for level in (0, 255):
        pixels = np.full((40, 80, 3), level, np.uint8)
        with Image.open(BytesIO(overlay(pixels, heat, 60))) as image:
            assert image.size == (60, 30)
            light = np.asarray(image.convert("L")).astype(float)
        assert light[:10, :20].mean() > light[20:, 40:].mean() + 20


@pytest.mark.parametrize(("written", "limit"), [(True, 24), (False, 0), (7, 7)])
def test_the_project_file_switches_explanations(tmp_path: Path, written: object, limit: int) -> None:
    content = {"name": "n", "task": "image-classification", "data": {"train": "t.csv"}}
    project = Project.from_dict(tmp_path, {**content, "report": {"explain": written}})
    assert project.file.report.explain == limit  # type: ignore[union-attr]


def test_a_limit_below_nothing_is_refused(tmp_path: Path) -> None:
    content = {"name": "n", "task": "image-classification", "data": {"train": "t.csv"}, "report": {"explain": -1}}
    with pytest.raises(ProjectFileError, match=r"report\.explain: .*greater than or equal to 0"):
        Project.from_dict(tmp_path, content)
