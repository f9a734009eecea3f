"""Mask, gender and age of a person in a photo: eighteen classes, in the layout of the mask competition.

python recipes/face-mask-18/run.py            the whole recipe on drawn people, about 7 minutes on two cores
python recipes/face-mask-18/run.py --tiny     does it run?

With SANMARU_DATA naming a folder that holds `face-mask-18` (the competition's train and eval), that is used instead.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, link, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe, Table, Walked
from sanmaru.recipes.targets import per_target

HOME = Path(__file__).parent
TARGETS = ["mask", "gender", "age"]
STATES = {"mask": "wear", "incorrect_mask": "incorrect", "normal": "not"}


def photos(faces: Path) -> pl.DataFrame:
    """One row per photo of the competition's training people, from `train.csv` and the folder of each."""
    people = pl.read_csv(faces / "train" / "train.csv", schema_overrides={"id": pl.String})
    rows = []
    for person in people.to_dicts():
        for path in sorted((faces / "train" / "images" / person["path"]).glob("[!.]*")):
            state = STATES[path.stem.rstrip("12345")]
            rows.append(
                {
                    "ImageID": f"{person['id']}/{path.name}",
                    "image": path.relative_to(faces).as_posix(),
                    "person": person["id"],
                    "mask": state,
                    "gender": person["gender"],
                    "age": person["age"],
                }
            )
    return pl.DataFrame(rows)


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Draw the people (or take the competition's), and keep a fifth of them aside, whole."""
    local = Path(os.environ.get("SANMARU_DATA", "absent")) / "face-mask-18"
    if local.is_dir() and not tiny:
        faces = local
    else:
        sys.path.insert(0, str(HOME))
        from generate import generate

        faces = folder / "drawn"
        generate(faces, people=30 if tiny else 240, eval_people=2 if tiny else 20, side=48 if tiny else 96)
    link(faces, folder / "faces")
    table = photos(faces)
    old = pl.when(pl.col("age") >= 60).then(pl.lit("old"))
    age = old.when(pl.col("age") >= 30).then(pl.lit("middle")).otherwise(pl.lit("young"))
    band = table.with_columns(band=pl.col("gender") + age)
    counts = write_parts(table, keep_aside(band, strata="band", group="person"), folder, target=TARGETS)
    return {"data": "drawn" if faces != local else "the competition's", **counts, "people": table["person"].n_unique()}


def submission(walked: Walked) -> Sequence[Table]:
    """Fill in the competition's info.csv, and say which target loses the points."""
    from sanmaru.packages.batch import predict_file
    from sanmaru.registry.models import load_model

    folder = walked.project.folder
    asked = pl.read_csv(folder / "faces" / "eval" / "info.csv")
    images = asked.with_columns(image="eval/images/" + pl.col("ImageID"))
    images.drop("ans").write_csv(folder / "eval.csv")
    predict_file(
        load_model(f"{walked.project.name}@production", walked.project),
        folder / "eval.csv",
        folder / "submission.csv",
        sample=folder / "faces" / "eval" / "info.csv",
        images=folder / "faces",
    )
    walked.say(f"submission: {folder / 'submission.csv'}, {len(asked)} rows")
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
    also=("accuracy",),
    questions=(("shared", "joint"), ("shared", "separate"), ("joint", "separate"), ("joint, balanced", "joint")),
    after=submission,
    minutes=7,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
