"""What is a piece of rubbish made of? Six materials, photographed on a plain ground.

python recipes/recyclables/run.py            the whole recipe, about 7 minutes on two cores
python recipes/recyclables/run.py --tiny     does it run?
"""

import hashlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from sanmaru.recipes.aside import keep_aside, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe
from sanmaru.recipes.sources import Download, obtain

SHAPE = (200, 150)
"""Width and height in pixels: the copy's pictures were squeezed from 4:3 to a square."""

PICTURES = Download(
    url="https://github.com/JMadiedo/RecycleNet/archive/cdb27a51c2a1e627cd4b540a82ef81ab0543c6db.zip",
    sha256="c89e19a75467da2efa1ef0d26cbc9280abfc0c79793189da0b7565bb31902e50",
    to="pictures",
    members=("data/dataset-resized/*.jpg",),
)


def convert(raw: Path, folder: Path) -> None:
    """Copy the pictures, of equal ones the first."""
    seen = set()
    source = raw / PICTURES.to / "data" / "dataset-resized"
    for path in sorted(source.rglob("*.jpg")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        if content not in seen:
            seen.add(content)
            target = folder / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(path, target)


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Give the pictures their shape back, and keep a fifth of each material aside."""
    pictures = obtain("recycle", [PICTURES], convert)
    paths = sorted(path.relative_to(pictures).as_posix() for path in pictures.glob("*/*.jpg"))
    if tiny:
        paths = paths[::20]
    for path in paths:
        target = folder / "pictures" / path
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(pictures / path) as image:
                image.resize(SHAPE, Image.Resampling.BICUBIC).save(target, quality=95)
    table = pl.DataFrame({"file": paths, "image": paths, "material": [path.split("/")[0] for path in paths]})
    return write_parts(table, keep_aside(table, strata="material"), folder, target="material")


ONE_CYCLE = "train.schedule={kind: one-cycle}"
LETTERBOX = "model.fit={kind: letterbox, fill: zero}"

RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "stretched": (),
        "letterbox": (LETTERBOX,),
        "letterbox, one cycle, longer": (
            LETTERBOX,
            ONE_CYCLE,
            "train.epochs=24",
            "train.learning_rate=5e-3",
            "train.early_stopping=null",
        ),
    },
    tiny={"": ("split.folds=2", "train.epochs=1", "model.image_size=16")},
    tiny_variants=("stretched", "letterbox"),
    also=("macro_f1",),
    minutes=7,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
