"""Draws people with and without masks, in exactly the layout of the mask competition.

python recipes/face-mask-18/generate.py --people 240 --folder faces

Nobody is real, and yet the task is: seven photos of each person, ages skewed as they were there (few people are 60 or
older), file endings mixed, gender and age told only by tendencies that overlap. A mask covers just the parts of a face
that tell most.

    train/train.csv                                    id,gender,race,age,path
    train/images/000001_female_Asian_45/mask1.jpg      mask1 to mask5, incorrect_mask, normal; .jpg .jpeg .png
    eval/info.csv                                      ImageID,ans (0 everywhere)
    eval/images/<40 letters>.jpg
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PHOTOS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
ENDINGS = (".jpg", ".jpeg", ".png")
BANDS = ((18, 29, 0.47), (30, 59, 0.46), (60, 60, 0.07))
"""Ages, and the share of people in them."""
MASKS = ((235, 240, 245), (120, 170, 205), (40, 40, 45), (215, 190, 200))

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Person:
    """What does not change from photo to photo."""

    gender: str
    age: int
    skin: Colour
    hair: Colour
    shirt: Colour
    wall: Colour
    width: float
    """Of the face, as a share of its height."""
    hair_length: float
    """0 is cropped, 1 reaches the shoulders."""
    brow: float
    lips: float
    beard: float
    eyes: float
    """Distance between the eyes."""


def draw_person(rng: np.random.Generator) -> Person:
    """Draw someone; gender and age move the averages of what is seen, and people lie around them."""
    low, high, _ = BANDS[rng.choice(3, p=[share for *_, share in BANDS])]
    age, female = int(rng.integers(low, high + 1)), bool(rng.random() < 0.6)
    tone = rng.uniform(0.62, 1.0)
    grey = np.clip((age - 38) / 26 + rng.normal(0, 0.22), 0, 1) ** 1.5
    own = np.array(((35, 28, 26), (70, 45, 30), (110, 75, 45))[rng.choice(3, p=[0.6, 0.3, 0.1])])
    hair = own * (1 - grey) + np.array((190, 190, 195)) * grey
    return Person(
        gender="female" if female else "male",
        age=age,
        skin=_colour(np.array((238, 205, 180)) * tone),
        hair=_colour(hair),
        shirt=_colour(rng.uniform(30, 220, 3)),
        wall=_colour(rng.uniform(110, 235) + rng.normal(0, 14, 3)),
        width=rng.normal(0.70 if female else 0.76, 0.03),
        hair_length=float(np.clip(rng.normal(0.75 if female else 0.15, 0.22), 0, 1)),
        brow=max(0.4, rng.normal(0.8 if female else 1.3, 0.25)),
        lips=max(0.4, rng.normal(1.25 if female else 0.85, 0.22)),
        beard=0.0 if female else float(np.clip(rng.normal(0.35, 0.35), 0, 1)),
        eyes=rng.normal(0.19, 0.012),
    )


def photo(person: Person, kind: str, rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Draw one photo (RGB, `size` is width and height): the head a little elsewhere, other light, grain.

    Args:
        person: Who.
        kind: One of `PHOTOS`.
        rng: Of this photo.
        size: In pixels.
    """
    width, height = size[0] * 2, size[1] * 2  # drawn at twice the size, so that edges are smooth
    image = Image.new("RGB", (width, height), person.wall)
    pen = ImageDraw.Draw(image)
    x, y = width * (0.5 + rng.normal(0, 0.03)), height * (0.47 + rng.normal(0, 0.025))
    tall = height * rng.normal(0.27, 0.015)
    wide = tall * person.width

    def spot(across: float, down: float) -> tuple[float, float]:
        """A place on the face: -1 to 1 across, -1 (top) to 1 (chin) down."""
        return x + across * wide, y + down * tall

    def oval(across: float, down: float, a: float, b: float, fill: Colour) -> None:
        cx, cy = spot(across, down)
        pen.ellipse((cx - a * wide, cy - b * tall, cx + a * wide, cy + b * tall), fill=fill)

    dark = _colour(np.array(person.skin) * 0.72)
    if person.hair_length > 0.3:  # hair behind the face
        bottom = y + tall * (person.hair_length * 1.5 - 0.3)
        pen.rounded_rectangle((x - wide * 1.18, y - tall, x + wide * 1.18, bottom), wide * 0.5, fill=person.hair)
    pen.rectangle((x - wide * 0.42, y + tall * 0.6, x + wide * 0.42, y + tall * 1.4), fill=dark)
    pen.ellipse((x - wide * 2.1, y + tall * 1.2, x + wide * 2.1, y + tall * 3.2), fill=person.shirt)
    oval(0, -0.42, 1.1, 0.72, person.hair)
    oval(0, 0, 1, 1, person.skin)
    back = 0.30 * np.clip((person.age - 40) / 20, 0, 1) if person.gender == "male" else 0.0
    pen.chord((*spot(-1.02, -1.08), *spot(1.02, 0.35 - back)), 188, 352, fill=person.hair)  # the fringe
    line = max(1, round(width / 110))
    for side in (-1, 1):
        cx = side * person.eyes * 2.1
        oval(cx, -0.08, 0.17, 0.055, (250, 250, 250))
        oval(cx, -0.08, 0.075, 0.052, (45, 32, 28))
        brow = [spot(cx - 0.2, -0.25), spot(cx, -0.30), spot(cx + 0.2, -0.25)]
        pen.line(brow, fill=person.hair, width=round(line * 2.0 * person.brow))
    _wrinkles(pen, spot, person, rng, line)
    pen.line([spot(0, -0.02), spot(0.10, 0.26), spot(-0.05, 0.28)], fill=dark, width=line)
    if person.beard > 0.25:
        shade = _colour(np.array(person.skin) * (1 - 0.35 * person.beard) + np.array(person.hair) * 0.2 * person.beard)
        pen.chord((*spot(-0.75, 0.05), *spot(0.75, 0.98)), 20, 160, fill=shade)
    red = _colour(np.array(person.skin) * (0.86, 0.55, 0.55))
    oval(0, 0.50, 0.30, 0.055 * person.lips, red)
    if kind != "normal":
        _mask(pen, spot, kind, rng, line)
    image = image.rotate(rng.normal(0, 3), resample=Image.Resampling.BILINEAR, fillcolor=person.wall)
    image = image.resize(size, Image.Resampling.LANCZOS)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    light = rng.normal(1, 0.12) * (1 + np.linspace(-0.12, 0.12, size[0]) * rng.normal(0, 1))[None, :, None]
    grain = rng.normal(0, 6, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.float64) * light + grain, 0, 255).astype(np.uint8))


def _wrinkles(pen: Any, spot: Any, person: Person, rng: np.random.Generator, line: int) -> None:
    """Lines on the forehead and around the eyes, more and deeper with age."""
    dark = np.array(person.skin) * 0.72
    many = rng.poisson(max(0.0, (person.age - 26) / 9))
    depth = np.clip((person.age - 20) / 45, 0.05, 0.85)
    shade = _colour(np.array(person.skin) * (1 - depth) + dark * depth)
    for place in range(min(many, 6)):
        if place % 2:
            side = -1 if place % 4 == 1 else 1
            pen.line([spot(side * 0.62, -0.10), spot(side * 0.82, -0.16 + 0.05 * place)], fill=shade, width=line)
            pen.line([spot(side * 0.25, 0.22), spot(side * 0.42, 0.46)], fill=shade, width=line)
        else:
            down = -0.42 - 0.055 * place
            pen.line([spot(-0.45, down), spot(0, down - 0.02), spot(0.45, down)], fill=shade, width=line)


def _mask(pen: Any, spot: Any, kind: str, rng: np.random.Generator, line: int) -> None:
    """A mask over nose, mouth and chin; worn wrongly it leaves the nose out, or hangs under the chin."""
    colour = MASKS[rng.integers(len(MASKS))]
    top, bottom = 0.12 + rng.normal(0, 0.02), 0.98
    if kind == "incorrect_mask":
        top, bottom = (0.36, 1.0) if rng.random() < 0.7 else (0.70, 1.15)
        top += rng.normal(0, 0.015)
    middle = (top + bottom) / 2
    outline = [
        (-0.80, top + 0.06),
        (0, top),
        (0.80, top + 0.06),
        (0.68, middle + 0.12),
        (0.34, bottom),
        (-0.34, bottom),
    ]
    pen.polygon([spot(*place) for place in (*outline, (-0.68, middle + 0.12))], fill=colour)
    fold = _colour(np.array(colour) * 0.88)
    for share in (0.35, 0.6):
        down = top + (bottom - top) * share
        pen.line([spot(-0.62, down), spot(0.62, down)], fill=fold, width=line)
    for side in (-1, 1):
        pen.line([spot(side * 0.78, top + 0.08), spot(side * 1.0, -0.05)], fill=colour, width=line)


def generate(folder: Path, *, people: int = 240, eval_people: int = 20, side: int = 96, seed: int = 18) -> None:
    """Write the data set; the same arguments write the same pictures.

    Args:
        folder: Where `train` and `eval` are made.
        people: Who stand in `train`, seven photos each.
        eval_people: Others, whose photos are those to be told.
        side: Width of a picture in pixels; the height is four thirds of it (384 x 512 in the competition).
        seed: Of everything.
    """
    size = (side, side * 4 // 3)
    (folder / "train" / "images").mkdir(parents=True, exist_ok=True)
    (folder / "eval" / "images").mkdir(parents=True, exist_ok=True)
    rows, answers = [], []
    for number in range(people + eval_people):
        rng = np.random.default_rng((seed, number))
        person = draw_person(rng)
        code = f"{number + 1:06d}"
        path = f"{code}_{person.gender}_Asian_{person.age}"
        if number < people:
            (folder / "train" / "images" / path).mkdir(exist_ok=True)
            rows.append((code, person.gender, "Asian", person.age, path))
        for kind in PHOTOS:
            image = photo(person, kind, rng, size)
            if number < people:
                ending = ENDINGS[rng.choice(3, p=(0.8, 0.1, 0.1))]
                _save(image, folder / "train" / "images" / path / f"{kind}{ending}")
            else:
                name = hashlib.sha1(f"{seed} {number} {kind}".encode()).hexdigest() + ".jpg"
                _save(image, folder / "eval" / "images" / name)
                answers.append((name, 0))
    _table(folder / "train" / "train.csv", ("id", "gender", "race", "age", "path"), rows)
    _table(folder / "eval" / "info.csv", ("ImageID", "ans"), sorted(answers))


def _save(image: Image.Image, path: Path) -> None:
    if path.suffix == ".png":
        image.save(path)
    else:
        image.save(path, format="JPEG", quality=88)


def _table(path: Path, header: tuple[str, ...], rows: list[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _colour(values: Any) -> Colour:
    red, green, blue = (int(value) for value in np.clip(values, 0, 255))
    return red, green, blue


def main() -> None:
    """Read the command line and write the data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=240)
    parser.add_argument("--eval-people", type=int, default=20)
    parser.add_argument("--side", type=int, default=96, help="width in pixels; 384 in the competition")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--folder", type=Path, default=Path("face-mask-18"))
    given = parser.parse_args()
    generate(given.folder, people=given.people, eval_people=given.eval_people, side=given.side, seed=given.seed)


if __name__ == "__main__":
    main()
