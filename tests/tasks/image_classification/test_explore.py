import shutil
from pathlib import Path

import polars as pl
import pytest

from sanmaru.html.blocks import Bars, Grid, Pictures, Section
from sanmaru.tasks.image_classification.task import ImageClassification


def titled(sections: list[Section], title: str) -> Section:
    return next(section for section in sections if section.title == title)


def kinds(sections: list[Section]) -> set[str]:
    return {finding.kind for section in sections for finding in section.findings}


def test_the_report_shows_pictures_per_class_and_in_the_mean(task: ImageClassification, digits: pl.DataFrame) -> None:
    sections = list(task.explore(digits, None))
    balance = titled(sections, "Class balance").blocks[0]
    assert isinstance(balance, Bars)
    counts = dict(zip(balance.labels, balance.series[0][1], strict=True))
    assert counts == {str(k): v for k, v in digits["digit"].value_counts().iter_rows()}
    assert titled(sections, "Picture sizes").lead == "All are 8 x 8 pixels."
    sheets = titled(sections, "Pictures per class").blocks
    assert len(sheets) == 10
    assert all(isinstance(sheet, Pictures) and len(sheet.pictures) == 12 for sheet in sheets)
    means = titled(sections, "Mean pictures").blocks[0]
    assert isinstance(means, Pictures)
    assert [picture.caption for picture in means.pictures] == ["all", *"0123456789"]
    assert all(picture.data.startswith(b"\xff\xd8") for picture in means.pictures)
    colours = titled(sections, "Light and colour")
    assert colours.lead.startswith("The pictures are grey")
    grid = colours.blocks[1]
    assert isinstance(grid, Grid)
    assert len(grid.rows) == 10
    assert not {"copies-in-training", "copies-with-other-labels", "unreadable-images"} & kinds(sections)


def test_copies_are_found_within_and_across(task: ImageClassification, digits: pl.DataFrame, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy.png", tmp_path / "other.png"
    shutil.copy(digits["picture"][0], copy)
    shutil.copy(digits["picture"][1], other)
    wrong_label = 9 if digits["digit"][1] != 9 else 0
    more = pl.DataFrame(
        {"id": ["copy", "other"], "picture": [str(copy), str(other)], "digit": [digits["digit"][0], wrong_label]}
    )
    test = pl.DataFrame({"id": ["t0", "t1"], "picture": [digits["picture"][7], str(tmp_path / "absent.png")]})
    section = titled(list(task.explore(pl.concat([digits, more]), test)), "Exact copies")
    found = {finding.kind: finding for finding in section.findings}
    assert set(found) == {"copies-in-training", "copies-with-other-labels", "copies-in-test"}
    assert set(found["copies-in-training"].ids) == {"d0", "copy", "d1", "other"}
    assert set(found["copies-with-other-labels"].ids) == {"d1", "other"}
    assert found["copies-in-test"].ids == ("t0",)
    assert "2 pictures fill 4 rows; 2 " in found["copies-in-training"].evidence


def test_imbalance_rare_classes_and_unreadable_files_are_findings(digits: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"?")
    few = pl.concat([digits.filter(pl.col("digit") == 0).head(2), digits.filter(pl.col("digit") > 7)])
    few = few.with_columns(pl.Series("digit", ["zero"] * 2 + ["other"] * (len(few) - 2)))
    few = pl.concat([few, pl.DataFrame({"id": ["b"], "picture": [str(tmp_path / "bad.png")], "digit": ["other"]})])
    from sanmaru.tables.roles import Roles

    task = ImageClassification.open(few, Roles(id="id", targets=("digit",), image="picture"))
    sections = list(task.explore(few, None))
    assert {"class-imbalance", "rare-class", "unreadable-images"} <= kinds(sections)


def test_recycle_photographs_are_explored(shared_data: Path) -> None:
    from sanmaru.tables.roles import Roles

    rows = [
        {"path": str(path.relative_to(shared_data)), "image": str(path), "label": path.parent.name}
        for name in ("glass", "paper")
        for path in sorted((shared_data / "recycle").glob(f"**/{name}/*.jpg"))[:20]
    ]
    assert len(rows) == 40
    table = pl.DataFrame(rows)
    task = ImageClassification.open(table, Roles(id="path", targets=("label",), image="image"))
    sections = list(task.explore(table, None))
    assert titled(sections, "Picture sizes").lead == "All are 150 x 150 pixels."
    assert titled(sections, "Light and colour").lead.startswith("The pictures are in colour")


@pytest.mark.parametrize("lost", [False, True])
def test_the_worst_mistakes_are_shown_with_their_pictures(
    task: ImageClassification, digits: pl.DataFrame, lost: bool
) -> None:
    import numpy as np

    truth = task.truth(digits)
    logits = np.full((len(digits), 10), -4.0, np.float32)
    logits[np.arange(len(digits)), truth] = 4
    logits[3] = np.roll(logits[3], 1)
    predictions = task.predictions(digits["id"], logits)
    table = digits.drop("picture") if lost else digits
    sections = list(task.diagnose(table, predictions))
    assert len(sections) > 3
    worst = titled(sections, "Worst mistakes")
    right, wrong = truth[3], (truth[3] + 1) % 10
    caption = f"{right}, taken for {wrong} (100%)\nd3"
    (block,) = worst.blocks
    if lost:
        assert caption.replace("\n", ", ") in block.text  # type: ignore[union-attr]
    else:
        (picture,) = block.pictures  # type: ignore[union-attr]
        assert (picture.caption, picture.wrong) == (caption, True)


def test_no_mistakes_is_said(task: ImageClassification, digits: pl.DataFrame) -> None:
    import numpy as np

    from sanmaru.tasks.image_classification.diagnose import worst_mistakes

    logits = np.zeros((len(digits), 10), np.float32)
    logits[np.arange(len(digits)), task.truth(digits)] = 5
    section = worst_mistakes(task, digits, task.predictions(digits["id"], logits))
    assert section.lead == "Every row is given its right class."
