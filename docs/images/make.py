"""Make docs/images/report.png: train on scikit-learn's digits and photograph the top of the run's report.

    .venv/bin/python docs/images/make.py [--chromium /usr/bin/chromium]

Takes about two minutes on two cores; needs the `dev` extra (Playwright) and a Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

WIDTH = 1280
PROJECT = {
    "name": "digits",
    "problem": "Read handwritten digits from 32 x 32 pictures.",
    "task": "image-classification",
    "data": {
        "train": "train.csv",
        "test": "test.csv",
        "images": "images",
        "id": "id",
        "image": "file",
        "target": "digit",
    },
    "split": {"kind": "stratified", "folds": 5},
    "model": {"image_size": 16},
    "train": {"epochs": 8, "device": "cpu"},
}


def main() -> None:
    """Train, report, photograph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("report.png"))
    arguments = parser.parse_args()

    from sanmaru.cli.demo_data import write_digits
    from sanmaru.experiments.report import report
    from sanmaru.experiments.train import train
    from sanmaru.project import Project

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_digits(folder)
        path = report(train(Project.from_dict(folder, PROJECT)))
        photograph(path, arguments.output, arguments.chromium)


def photograph(page: Path, output: Path, chromium: str) -> None:
    """Write the first screen of a page as a PNG of few colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        view = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        view.goto(page.as_uri())
        bottom = view.locator("#scores-per-fold").bounding_box()
        assert bottom is not None
        clip = {"x": 0.0, "y": 0.0, "width": float(WIDTH), "height": bottom["y"] + bottom["height"] + 24}
        taken = Image.open(io.BytesIO(view.screenshot(full_page=True, clip=clip)))
        browser.close()
    taken.convert("RGB").quantize(192, dither=Image.Dither.NONE).save(output, optimize=True)


if __name__ == "__main__":
    main()
