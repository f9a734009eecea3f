"""Does the person in a picture wear a mask? Real photos, on half of which a mask was pasted.

python recipes/masks/run.py            the whole recipe, about 3 minutes on two cores
python recipes/masks/run.py --tiny     does it run?
"""

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, link, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe
from sanmaru.recipes.sources import Download, obtain

CLASSES = ("with_mask", "without_mask")

PICTURES = Download(
    url="https://github.com/prajnasb/observations/archive/cdcf4501bf7fdec7ac8a4ee245e343b187fa53c7.zip",
    sha256="129da0f942a2940e0538a83de6db64abde1758e56333415d1eecf7ffabfbb473",
    to="pictures",
    members=("experiements/data/*",),
)


def convert(raw: Path, folder: Path) -> None:
    """Copy the photos and name their group: N.jpg and N-with-mask.jpg are one photo.

    Of the pictures called augmented_image_* nobody says which photo they were made from, so they are left out.
    """
    rows = []
    for label in CLASSES:
        (folder / label).mkdir()
        for path in sorted((raw / PICTURES.to / "experiements" / "data" / label).iterdir()):
            if path.name.startswith("augmented"):
                continue
            shutil.copy(path, folder / label / path.name)
            group = re.sub(r"-with-mask$", "", path.stem)
            rows.append({"file": f"{label}/{path.name}", "class": label, "group": group, "augmented": 0})
    pl.DataFrame(rows).write_csv(folder / "index.csv")


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Keep a fifth of the source photos aside, each with all its pictures."""
    pictures = obtain("masks", [PICTURES], convert)
    link(pictures, folder / "pictures")
    table = pl.read_csv(pictures / "index.csv").drop("augmented").with_columns(image=pl.col("file"))
    if tiny:
        table = table.filter(pl.col("group").rank("dense") % 9 == 0)
    aside = keep_aside(table, strata="class", group="group")
    return {**write_parts(table, aside, folder, target="class"), "source photos": table["group"].n_unique()}


RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "plain": (),
        "augmented": ("train.augment=[hflip, {rotate: 10}, {crop: 0.15}, {brightness: 0.2}]",),
        "augmented, holes": ("train.augment=[hflip, {rotate: 10}, {crop: 0.15}, {brightness: 0.2}, griddropout]",),
    },
    tiny={"": ("split.folds=2", "train.epochs=1", "model.image_size=16")},
    tiny_variants=("plain", "augmented, holes"),
    also=("macro_f1", "log_loss"),
    minutes=3,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
