"""The report of a run with pictures: trained, written, and opened in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sanmaru.experiments import train as train_module
from sanmaru.experiments.explore import explore
from sanmaru.experiments.report import report
from sanmaru.experiments.train import train
from sanmaru.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Squares of three colours for four ages each, some of them under a wrong label, in two targets."""
    folder = tmp_path_factory.mktemp("squares")
    generator = np.random.default_rng(4)
    rows = []
    for number in range(72):
        colour, age = number % 3, 20 + number % 40
        pixels = generator.integers(0, 90, (24, 24, 3), dtype=np.uint8)
        place = 2 + (age > 45) * 10
        pixels[place : place + 8, place : place + 8, colour] = 255
        name = f"{number:02d}.png"
        Image.fromarray(pixels).save(folder / name)
        shown = generator.integers(0, 3) if number % 7 == 0 else colour
        rows.append({"id": f"p{number}", "file": name, "colour": "rgb"[shown], "age": age})
    pl.DataFrame(rows).write_csv(folder / "train.csv")
    content = {
        "name": "squares",
        "task": "image-classification",
        "data": {
            "train": "train.csv", "id": "id", "image": "file", "target": ["colour", {"name": "age", "bands": [30, 58]}],
        },
        "split": {"kind": "stratified", "folds": 2},
        "model": {"image_size": 16, "heads": "shared"},
        "train": {"epochs": 2, "batch_size": 16, "selection": "none", "augment": ["hflip", {"mixup": 1.0}]},
        "report": {"explain": 5},
    }  # fmt: skip
    return Project.from_dict(folder, content)


@pytest.fixture(scope="module")
def page(project: Project, no_mirror: type) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "Mirror", no_mirror)
        return report(train(project))


def section(text: str, title: str) -> str:
    found = re.search(rf'<section id="[^"]*" aria-labelledby="[^"]*"><h2[^>]*>{title}</h2>.*?</section>', text, re.S)
    assert found, f"no section {title!r}"
    return found.group()


def test_mistakes_are_explained_as_far_as_the_project_file_says(page: Path) -> None:
    text = section(page.read_text(encoding="utf-8"), "Worst mistakes")
    assert "Grad-CAM" in text
    assert text.count('class="beside"') == 5
    assert text.count('class="other"') == 10  # for the class given and for the true one
    assert text.count("<figure") > 5  # the others go without


def test_what_was_seen_and_confused_and_how_unequal_it_is_stand_in_the_report(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "In training: hflip 0.5, mixup" in section(text, "What the network sees")
    assert "taken for" in section(text, "Confused classes")
    assert "Nothing is done about it" in section(text, "Imbalance")
    assert "1 band of age with few rows" in section(text, "Bands of age")
    assert page.stat().st_size < 2_000_000


def test_an_ensemble_or_a_switched_off_report_has_no_heat_maps(page: Path, project: Project) -> None:
    import yaml

    from sanmaru.experiments.runs import Run

    run = Run.load(project, "last")
    file = run.folder / "project.yaml"
    before = file.read_text(encoding="utf-8")
    file.write_text(yaml.safe_dump({**yaml.safe_load(before), "report": {"explain": 0}}), encoding="utf-8")
    try:
        text = report(run, run.folder / "plain.html").read_text(encoding="utf-8")
    finally:
        file.write_text(before, encoding="utf-8")
    assert 'class="beside"' not in section(text, "Worst mistakes")


def test_the_data_report_shows_the_training_to_come(project: Project, tmp_path: Path) -> None:
    text = explore(project, tmp_path / "data.html").read_text(encoding="utf-8")
    assert "In evaluation: nothing is changed" in section(text, "What the network sees")
    assert "1 band of age with few rows" in section(text, "Bands of age")
    assert "fewest in a fold" in section(text, "Imbalance")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_and_heat_maps_stand_side_by_side_and_nothing_sticks_out(
    chromium: Any, page: Path, width: int
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800})
    try:
        tab = context.new_page()
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        images = tab.locator(".beside").first.locator("img")
        assert images.count() == 3
        boxes = [images.nth(place).bounding_box() for place in range(3)]
        assert all(box is not None and box["width"] > 60 for box in boxes)
        assert len({round(box["y"]) for box in boxes}) == 1
        assert all(images.nth(place).evaluate("image => image.naturalWidth") > 1 for place in range(3))
        assert "for " in tab.locator(".beside .other span").first.inner_text()
    finally:
        context.close()
