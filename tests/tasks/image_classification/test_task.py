import json
from pathlib import Path

import polars as pl
import pytest

from sanmaru.errors import DataError, ProjectFileError
from sanmaru.tables.roles import Roles
from sanmaru.tasks.find import task_class, task_from_json
from sanmaru.tasks.image_classification.task import ImageClassification

ROLES = Roles(id="id", targets=("digit",), image="picture")


def test_the_task_survives_json(task: ImageClassification) -> None:
    again = task_from_json(json.loads(json.dumps(task.to_json())))
    assert isinstance(again, ImageClassification)
    assert again.to_json() == task.to_json()
    assert again.signature() == task.signature()
    assert task_class("image-classification") is ImageClassification


def test_the_signature_takes_one_picture(task: ImageClassification) -> None:
    signature = task.signature()
    (column,) = signature.inputs
    assert (column.name, column.kind, column.required) == ("picture", "image", True)
    assert signature.outputs[0].classes == tuple("0123456789")
    assert {"accuracy", "macro_f1"} <= set(task.metrics)


def test_what_cannot_be_learned_is_refused(digits: pl.DataFrame) -> None:
    with pytest.raises(ProjectFileError, match=r"needs data\.image"):
        ImageClassification.open(digits, Roles(id="id", targets=("digit",)))
    with pytest.raises(ProjectFileError, match=r"the joint label of several, data\.target names: digit, id"):
        ImageClassification.open(digits, Roles(id="id", targets=("digit", "id"), image="picture"))
    with pytest.raises(ProjectFileError, match=r"data\.target names: none"):
        ImageClassification.open(digits, Roles(id="id", targets=(), image="picture"))
    with pytest.raises(DataError, match="one class only"):
        ImageClassification.open(digits.filter(pl.col("digit") == 1), ROLES)


@pytest.mark.parametrize("cached", [True, False])
def test_unreadable_pictures_are_set_aside_and_counted(digits: pl.DataFrame, tmp_path: Path, cached: bool) -> None:
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    cache = tmp_path / "cache" if cached else None
    broken = digits.with_columns(
        picture=pl.when(pl.col("id") == "d2")
        .then(pl.lit(str(tmp_path / "bad.png")))
        .when(pl.col("id") == "d5")
        .then(pl.lit(None))
        .otherwise("picture")
    )
    for _ in range(2):
        table, quarantine = ImageClassification.usable(broken, ROLES, cache, image_size=8)
        assert len(table) == 178
        assert quarantine.counts() == {"unreadable-image": 2}
        first, second = quarantine.violations
        assert (first.row, first.id, first.column) == (2, "d2", "picture")
        assert first.value.endswith("bad.png")
        assert first.reason == "not a picture of a known format"
        assert (second.id, second.value, second.reason) == ("d5", "", "there is no picture")


def test_usable_pictures_are_all_kept(digits: pl.DataFrame, tmp_path: Path) -> None:
    table, quarantine = ImageClassification.usable(digits, ROLES, tmp_path, image_size=8)
    assert table.equals(digits)
    assert len(quarantine) == 0
    assert len(ImageClassification.usable(digits.head(0), ROLES, tmp_path)[0]) == 0
