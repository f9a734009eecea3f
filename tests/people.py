"""The mask competition's layout in a few tiny pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

GREY = {"mask": 60, "incorrect_mask": 130, "normal": 200}
ENDINGS = (".jpg", ".jpeg", ".png", ".JPG")


def write_people(folder: Path, *, n_people: int = 12, n_test: int = 6, seed: int = 0) -> Path:
    """Write train/train.csv with images/ and eval/info.csv with images/, and return the folder.

    How light a picture is says how the mask is worn, its left edge the gender, its lower edge the age.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_people):
        gender, age = ("male", "female")[number % 2], (22, 35, 61)[number // 2 % 3] + int(rng.integers(5))
        name = f"{number:06d}_{gender}_Asian_{age}"
        rows.append({"id": f"{number:06d}", "gender": gender, "race": "Asian", "age": age, "path": name})
        person = folder / "train" / "images" / name
        person.mkdir(parents=True)
        for place, stem in enumerate([f"mask{k}" for k in range(1, 6)] + ["incorrect_mask", "normal"]):
            picture = _picture(rng, stem.rstrip("12345"), gender, age)
            picture.save(person / f"{stem}{ENDINGS[(number + place) % 4]}")
        (person / "._mask1.jpg").write_bytes(b"left by another system")
    pl.DataFrame(rows).write_csv(folder / "train" / "train.csv")
    images = folder / "eval" / "images"
    images.mkdir(parents=True)
    names = [f"{rng.integers(16**8):08x}.{'jpg' if k % 2 else 'png'}" for k in range(n_test)]
    for name in names:
        _picture(rng, "mask", "female", 30).save(images / name)
    pl.DataFrame({"ImageID": names, "ans": [0] * n_test}).write_csv(folder / "eval" / "info.csv")
    return folder


def _picture(rng: np.random.Generator, stem: str, gender: str, age: int) -> Image.Image:
    pixels = np.full((16, 12, 3), GREY[stem], np.int16) + rng.integers(-9, 10, (16, 12, 3), dtype=np.int16)
    pixels[:, :4] += 40 if gender == "male" else -40
    pixels[12:] += age
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
