"""Mask, gender and age of a person in a photo: eighteen classes, in the layout of the mask competition.

python recipes/face-mask-18/run.py            the whole recipe on drawn people, about 6 minutes on two cores
python recipes/face-mask-18/run.py --tiny     does it run?

With SANMARU_DATA naming a folder that holds `face-mask-18` (the competition's train and eval), that is used instead.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, link
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe, Table, Walked
from sanmaru.recipes.targets import per_target

HOME = Path(__file__).parent


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Draw the people (or take the competition's), and keep a fifth of them aside, whole."""
    local = Path(os.environ.get("SANMARU_DATA", "absent")) / "face-mask-18"
    if local.is_dir() and not tiny:
        faces = local
    else:
        sys.path.insert(0, str(HOME))
        from generate import generate

        faces = folder / "drawn"
        generate(faces, people=24 if tiny else 240, eval_people=2 if tiny else 20, side=48 if tiny else 96)
    link(faces, folder / "faces")
    people = pl.read_csv(faces / "train" / "train.csv", schema_overrides={"id": pl.String})
    band = pl.when(pl.col("age") >= 60).then(2).when(pl.col("age") >= 30).then(1).otherwise(0)
    aside = keep_aside(people.with_columns(cell=pl.col("gender") + band.cast(pl.String)), strata="cell")
    people.filter(~aside).write_csv(folder / "train.csv")
    people.filter(aside).write_csv(folder / "aside.csv")
    return {
        "data": "the competition's" if faces == local else "drawn",
        "people to learn from": int((~aside).sum()),
        "people kept aside": int(aside.sum()),
    }


def submission(walked: Walked) -> Sequence[Table]:
    """Fill in the competition's info.csv, and say which target loses the points."""
    from sanmaru.packages.batch import predict_file
    from sanmaru.registry.models import load_model

    folder = walked.project.folder
    asked = folder / "faces" / "eval" / "info.csv"
    model = load_model(f"{walked.project.name}@production", walked.project)
    done = predict_file(model, asked, folder / "submission.csv", sample=asked)
    walked.say(f"submission: {folder / 'submission.csv'}, {done.rows} rows")
    return [per_target(walked)]


RECIPE = Recipe(
    home=HOME,
    prepare=prepare,
    variants={
        "joint": (),
        "shared": ("model.heads=shared",),
        "separate": ("model.heads=separate",),
        "joint, balanced": ("train.sampling=balanced",),
    },
    tiny={"": ("split.folds=2", "train.epochs=1", "model.image_size=16", "train.augment=[]")},
    tiny_variants=("joint", "shared", "separate"),
    also=("accuracy",),
    questions=(("shared", "joint"), ("shared", "separate"), ("joint", "separate"), ("joint, balanced", "joint")),
    after=submission,
    minutes=6,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
