"""Make docs/images/augmentations.png: scikit-learn's sample photographs under every size policy and augmentation.

    .venv/bin/python docs/images/augmentations.py

Takes a few seconds; the pictures come from the code that training runs.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from sanmaru.images.fit import FitConfig
from sanmaru.images.read import read_square
from sanmaru.training.augment_names import AUGMENTATIONS
from sanmaru.training.batches import ImageBatches

SIDE, GAP, LABEL = 80, 4, 14
DRAWS, COLUMNS = 3, 4
POLICIES = {
    "stretch": {},
    "letterbox": {"kind": "letterbox"},
    "letterbox, fill: edge": {"kind": "letterbox", "fill": "edge"},
    "letterbox, top-left": {"kind": "letterbox", "anchor": "top-left", "fill": 255},
    "center-crop": {"kind": "center-crop"},
    "crop_box [.25, .2, .75, .9]": {"crop_box": (0.25, 0.2, 0.75, 0.9)},
}
STRONGER = {"rotate": 30, "crop": 0.4, "scale": 0.3, "translate": 0.25, "shear": 20, "perspective": 0.15, "hue": 60}
STRONGER |= {"brightness": 0.5, "contrast": 0.7, "saturation": 0.9, "blur": 7, "noise": 90, "jpeg": 5, "mixup": 2}
"""Beyond the defaults, so that a small picture shows the change."""


def main() -> None:
    """Draw the sheet."""
    files = []
    for photograph in load_sample_images().images:
        file = io.BytesIO()
        Image.fromarray(photograph).save(file, "PNG")
        files.append(file.getvalue())
    groups = [("as read", [read_square(file, SIDE, FitConfig(kind="center-crop").reader()) for file in files])]
    for name, options in POLICIES.items():
        fit = FitConfig.model_validate(options).reader()
        groups.append((name, [read_square(file, SIDE, fit) for file in files]))
    squares = np.stack(groups[0][1])
    shown = [(name, pictures) for name, pictures in groups[1:]]
    for name in AUGMENTATIONS:
        given = {"p": 1.0}
        if name in STRONGER:
            given[AUGMENTATIONS[name][0].name] = STRONGER[name]
        if name == "jpeg":
            given["best"] = 30.0
        batches = ImageBatches(
            np.stack([squares[0], squares[1], squares[0]]),
            np.arange(3),
            np.arange(3),
            mean=(124, 116, 104),
            std=(60, 60, 60),
            augmentations=[{name: given}],
        )
        pictures, _ = batches.look(DRAWS, seed=4)
        shown.append((name, list(pictures)))
    sheet(shown).quantize(200, dither=Image.Dither.NONE).save(
        Path(__file__).with_name("augmentations.png"), optimize=True
    )


def sheet(groups: list[tuple[str, list[np.ndarray]]]) -> Image.Image:
    """Lay labelled groups of pictures out in columns."""
    wide, high = DRAWS * (SIDE + 2) + 3 * GAP, LABEL + SIDE + 2 * GAP
    out = Image.new("RGB", (COLUMNS * wide, -(-len(groups) // COLUMNS) * high), "white")
    pen = ImageDraw.Draw(out)
    for place, (name, pictures) in enumerate(groups):
        left, top = place % COLUMNS * wide + GAP, place // COLUMNS * high + GAP
        pen.text((left, top - 1), name, fill="black")
        for number, picture in enumerate(pictures):
            out.paste(Image.fromarray(picture), (left + number * (SIDE + 2), top + LABEL))
    return out


if __name__ == "__main__":
    main()
