"""The tiny mode of the recipes on pictures: everything runs, nothing is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

RunTiny = Callable[[str], dict[str, Any]]
Script = Callable[[str], ModuleType]


def test_drawn_people_have_the_competitions_layout(tmp_path: Path, script: Script) -> None:
    generator = script("face-mask-18/generate.py")
    generator.generate(tmp_path, people=40, eval_people=2, side=24)
    people = pl.read_csv(tmp_path / "train" / "train.csv", schema_overrides={"id": pl.String})
    assert people.columns == ["id", "gender", "race", "age", "path"]
    assert people["path"][0] == "000001_{gender}_{race}_{age}".format(**people.row(0, named=True))
    endings: Counter[str] = Counter()
    for path in people["path"]:
        photos = list((tmp_path / "train" / "images" / path).iterdir())
        assert {photo.stem for photo in photos} == {*(f"mask{n}" for n in range(1, 6)), "incorrect_mask", "normal"}
        endings.update(photo.suffix for photo in photos)
    assert set(endings) == {".jpg", ".jpeg", ".png"}
    assert endings[".jpg"] > endings[".png"]
    assert people["age"].is_between(18, 60).all()
    assert (people["age"] >= 60).mean() < 0.2
    info = pl.read_csv(tmp_path / "eval" / "info.csv")
    assert info.columns == ["ImageID", "ans"]
    assert len(info) == 14
    with Image.open(tmp_path / "eval" / "images" / info["ImageID"][0]) as image:
        assert image.size == (24, 32)


def test_the_same_seed_draws_the_same_people(tmp_path: Path, script: Script) -> None:
    generator = script("face-mask-18/generate.py")
    for name in ("a", "b"):
        generator.generate(tmp_path / name, people=2, eval_people=1, side=24)
    files = [sorted(path.relative_to(tmp_path / n) for path in (tmp_path / n).rglob("*.*")) for n in ("a", "b")]
    assert files[0] == files[1]
    assert len(files[0]) == 2 * 7 + 7 + 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files[0])


def test_each_damage_does_what_it_says(script: Script) -> None:
    damage = script("document-types/damage.py")
    page = np.full((256, 192), 250, dtype=np.uint8)
    page[40:44, 20:90] = 0  # a headline, top left
    image = Image.fromarray(page)

    def damaged(kind: str) -> np.ndarray:
        return np.asarray(damage.damage(image, kind, np.random.default_rng(3)))

    assert (damaged("upside down") == page[::-1, ::-1]).all()
    assert (damaged("mirrored") == page[:, ::-1]).all()
    assert damaged("askew").shape != page.shape
    assert damaged("blurred").min() > 20
    assert abs(damaged("noisy")[60:].astype(float) - 250).mean() > 5
    assert len(damage.KINDS) == 6


def test_the_three_formulations_on_drawn_people(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANMARU_DATA", raising=False)
    results = run_tiny("face-mask-18")
    assert len(results["verdicts"]) == 3
    assert results["tables"][0]["header"] == ["variant", "mask", "gender", "age", "joint"]
    submission = pl.read_csv(results["folder"] / "submission.csv")
    info = pl.read_csv(results["folder"] / "drawn" / "eval" / "info.csv")
    assert submission["ImageID"].to_list() == info["ImageID"].to_list()
    assert submission["ans"].is_between(0, 17).all()
    train, aside = (pl.read_csv(results["folder"] / f"{name}.csv") for name in ("train", "aside"))
    assert not set(train["id"]) & set(aside["id"])


@pytest.mark.usefixtures("local_data")
@pytest.mark.parametrize("name", ["masks", "recyclables"])
def test_tiny(name: str, run_tiny: RunTiny) -> None:
    assert run_tiny(name)["tiny"]


@pytest.mark.usefixtures("local_data")
def test_faces_name_the_target_that_loses(run_tiny: RunTiny) -> None:
    results = run_tiny("faces-age-gender")
    assert results["tables"][0]["header"] == ["variant", "gender", "age", "joint"]


@pytest.mark.usefixtures("local_data")
def test_documents_are_scored_damaged(run_tiny: RunTiny) -> None:
    scores, confused = run_tiny("document-types")["tables"]
    assert scores["header"][1:] == [
        "as it is", "askew", "upside down", "mirrored", "blurred", "noisy", "all of these",
    ]  # fmt: skip
    assert confused["header"] == ["is", "was taken for", "times"]
