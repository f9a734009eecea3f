"""Damages scans as a hurried office does: askew, upside down, mirrored, out of focus, grainy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

KINDS = ("askew", "upside down", "mirrored", "blurred", "noisy", "all of these")


def damage(image: Image.Image, kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a damaged copy of a scan.

    Args:
        image: Of any mode; a grey one comes back.
        kind: One of `KINDS`; of `all of these` each is done with probability one half.
        rng: Draws how much.
    """
    image = image.convert("L")
    done = [name for name in KINDS[:-1] if (rng.random() < 0.5 if kind == KINDS[-1] else name == kind)]
    paper = int(np.percentile(np.asarray(image), 90))
    side = max(image.size)
    if "askew" in done:
        image = image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, expand=True, fillcolor=paper)
    if "upside down" in done:
        image = image.rotate(180)
    if "mirrored" in done:
        image = ImageOps.mirror(image)
    if "blurred" in done:
        image = image.filter(ImageFilter.GaussianBlur(side / 256 * rng.uniform(1.5, 3.5)))
    if "noisy" in done:
        grain = rng.normal(0, rng.uniform(20, 45), (image.height, image.width))
        image = Image.fromarray(np.clip(np.asarray(image, dtype=np.float64) + grain, 0, 255).astype(np.uint8))
    return image


def damaged_copies(source: Path, paths: list[str], folder: Path, kind: str, *, seed: int = 0) -> None:
    """Write a damaged copy of each picture below `folder`, under the same path."""
    for number, path in enumerate(paths):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source / path) as image:
            damage(image, kind, np.random.default_rng((seed, number))).save(target, quality=90)
