"""What the network sees, and which classes it confuses, as sections of reports."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from sanmaru.html.blocks import Pictures, Section, Text
from sanmaru.tasks.image_classification.config import NetworkConfig
from sanmaru.tasks.image_classification.confused import confused_section
from sanmaru.tasks.image_classification.seen import captions, said
from sanmaru.tasks.image_classification.task import ImageClassification
from sanmaru.training.config import TrainConfig
from sanmaru.training.mix import Mixed


def sheets(section: Section | None) -> list[Pictures]:
    assert section is not None
    return [block for block in section.blocks if isinstance(block, Pictures)]


def opened(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


def test_both_lists_have_a_sheet_and_normalisation_is_undone(
    task: ImageClassification, digits: pl.DataFrame, tmp_path: Path
) -> None:
    train = TrainConfig(augment=("vflip",), augment_valid=())
    found = task.seen(digits, NetworkConfig(image_size=16), train, cache=tmp_path)
    training, evaluation = sheets(found)
    assert training.title == "In training: vflip 0.5"
    assert evaluation.title == "In evaluation: nothing is changed"
    assert len(training.pictures) in {22, 23, 24}  # 180 rows in batches of even size
    assert len(evaluation.pictures) == 12
    assert training.pixelated  # 16 pixels a side are drawn as squares
    # The first evaluation picture is the first row, as the reader gives it.
    from sanmaru.images.read import read_square

    expected = read_square(digits["picture"][0], 16).astype(float)
    assert np.abs(opened(evaluation.pictures[0].data).astype(float) - expected).mean() < 8  # JPEG
    assert evaluation.pictures[0].caption == str(digits["digit"][0])


def test_the_evaluation_list_is_applied_to_the_evaluation_sheet_alone(
    task: ImageClassification, digits: pl.DataFrame, tmp_path: Path
) -> None:
    train = TrainConfig(augment_valid=({"hflip": 1.0},))
    flipped = sheets(task.seen(digits, NetworkConfig(image_size=16), train, cache=tmp_path))[1]
    plain = sheets(task.seen(digits, NetworkConfig(image_size=16), TrainConfig(), cache=tmp_path))[1]
    assert flipped.title == "In evaluation: hflip 1"
    one, other = opened(flipped.pictures[3].data).astype(float), opened(plain.pictures[3].data).astype(float)
    assert np.abs(one - other[:, ::-1]).mean() < 8
    assert np.abs(one - other).mean() > 8


def test_mixed_pictures_carry_both_labels_with_their_shares() -> None:
    mixed = Mixed(torch.tensor([0, 1, 2, 1]), torch.tensor([1, 1, 0, 0]), torch.tensor([0.7, 0.4, 1.0, 0.25]))
    assert captions(mixed, ["a", "b", "c"]) == ["70% a\n30% b", "b", "c", "25% b\n75% a"]
    assert captions(torch.tensor([2, 0]), ["a", "b", "c"]) == ["c", "a"]


def test_a_list_is_said_in_words() -> None:
    assert said([{"hflip": 0.5}, {"crop": {"scale": [0.8, 1.0]}}]) == "hflip 0.5, crop (scale 0.8 to 1)"


def test_balanced_sampling_is_told_and_drawn(task: ImageClassification, digits: pl.DataFrame, tmp_path: Path) -> None:
    few = pl.concat([digits.filter(pl.col("digit") == 0), digits.filter(pl.col("digit") == 1).head(1)])
    section = task.seen(few, NetworkConfig(image_size=8), TrainConfig(sampling="balanced"), cache=tmp_path)
    drawn = [picture.caption for picture in sheets(section)[0].pictures]
    assert drawn.count("1") > 4  # one row of nineteen, half of the draws
    assert any(isinstance(block, Text) and "equally often" in block.text for block in section.blocks)  # type: ignore[union-attr]


def test_where_no_picture_can_be_read_there_is_no_sheet(task: ImageClassification, tmp_path: Path) -> None:
    gone = pl.DataFrame({"id": ["a"], "picture": [str(tmp_path / "gone.png")], "digit": [1]})
    assert task.seen(gone, NetworkConfig(image_size=8), TrainConfig(), cache=tmp_path) is None


@pytest.fixture
def confused(task: ImageClassification, digits: pl.DataFrame) -> pl.DataFrame:
    """Every 3 is taken for 8, and two of the 5 for 6; all else is right."""
    codes = digits["digit"].to_numpy().copy()
    codes[codes == 3] = 8
    codes[np.flatnonzero(codes == 5)[:2]] = 6
    logits = np.zeros((len(digits), 10), np.float32)
    logits[np.arange(len(digits)), codes] = np.linspace(3, 6, len(digits))
    return task.predictions(digits["id"], logits)


def test_confused_pairs_are_named_with_counts_and_the_surest_examples(
    task: ImageClassification, digits: pl.DataFrame, confused: pl.DataFrame
) -> None:
    pairs = sheets(confused_section(task, digits, confused))
    threes = int((digits["digit"] == 3).sum())
    fives = int((digits["digit"] == 5).sum())
    assert [pair.title.split(" (")[0] for pair in pairs] == [
        f"3, taken for 8: {threes} of {threes}",
        f"5, taken for 6: 2 of {fives}",
    ]
    assert len(pairs[0].pictures) == 8
    last = digits.filter(pl.col("digit") == 3)["id"][-1]
    assert pairs[0].pictures[0].caption.endswith(f"\n{last}")  # the surest of them


def test_two_classes_or_lost_pictures_leave_the_section_out(
    task: ImageClassification, digits: pl.DataFrame, confused: pl.DataFrame
) -> None:
    assert confused_section(task, digits.drop("picture"), confused) is None
    gone = digits.with_columns(picture=pl.lit("/gone.png"))
    assert confused_section(task, gone, confused) is None
