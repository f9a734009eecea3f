"""Gender and age band of a face: six classes learned as one, by shared heads, or by separate networks.

python recipes/faces-age-gender/run.py            the whole recipe, about 7 minutes on two cores
python recipes/faces-age-gender/run.py --tiny     does it run?
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, link, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe, Table, Walked
from sanmaru.recipes.sources import Download, obtain
from sanmaru.recipes.targets import per_target

PER_CELL = 50
"""Pictures taken per gender and stretch of ages when the set is made from its source."""
AGES = (18, 25, 30, 40, 50, 60, 70, 80, 200)

FACES = Download(
    url="https://github.com/Mohanish-5744/Major_Ensemble_Gender/archive/2f8aa4a5932c395d465f4f58d864b6a17a1b03f6.zip",
    sha256="b7c8b130511c300dfe72b88df33939ed5d60fbe2a83ff731447ca3986fde4914",
    to="faces",
    members=("crop_part1/*",),
)


def convert(raw: Path, folder: Path) -> None:
    """Take adults evenly over ages and genders from files called AGE_GENDER_RACE_TIME; race is not taken over."""
    (folder / "images").mkdir()
    taken: dict[tuple[int, str], int] = {}
    rows = []
    for path in sorted((raw / FACES.to / "crop_part1").glob("*.jpg")):
        parts = path.name.split("_")
        if len(parts) < 4 or parts[1] not in ("0", "1") or int(parts[0]) < AGES[0]:
            continue  # some names lack a part
        age, gender = int(parts[0]), parts[1]
        cell = (max(start for start in AGES if start <= age), gender)
        if taken.get(cell, 0) < PER_CELL:
            taken[cell] = taken.get(cell, 0) + 1
            name = f"{age}_{gender}_{len(rows):05d}.jpg"
            shutil.copy(path, folder / "images" / name)
            rows.append({"file": name, "age": age, "gender": int(gender)})
    pl.DataFrame(rows).write_csv(folder / "labels.csv")


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Keep a fifth aside, with genders and ages as in the rest."""
    faces = obtain("faces-age-gender", [FACES], convert)
    link(faces / "images", folder / "faces")
    table = pl.read_csv(faces / "labels.csv").with_columns(image=pl.col("file"))
    table = table.with_columns(gender=pl.col("gender").replace_strict({0: "male", 1: "female"}))
    if tiny:
        table = table.gather_every(6)
    decade = table.with_columns(cell=pl.col("gender") + (pl.col("age") // 20 * 20).cast(pl.String))
    return write_parts(table, keep_aside(decade, strata="cell"), folder, target=["age", "gender"])


def heads(walked: Walked) -> Sequence[Table]:
    """Which target loses the points."""
    return [per_target(walked)]


FINER = "data.target=[{name: gender, classes: [male, female]}, {name: age, bands: [30, 60], finer: 10}]"

RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "joint": (),
        "shared": ("model.heads=shared",),
        "separate": ("model.heads=separate",),
        "shared, ages by decade": ("model.heads=shared", FINER),
    },
    tiny={"": ("split.folds=2", "train.epochs=1", "model.image_size=16", "train.augment=[hflip]")},
    tiny_variants=("joint", "shared, ages by decade"),
    also=("accuracy",),
    questions=(
        ("shared", "joint"),
        ("shared", "separate"),
        ("joint", "separate"),
        ("shared, ages by decade", "shared"),
    ),
    after=heads,
    minutes=7,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
