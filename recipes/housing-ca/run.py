"""What is a home in a Californian block worth? From the 1990 census, by place, age, rooms and income.

python recipes/housing-ca/run.py            the whole recipe, about 5 minutes on two cores
python recipes/housing-ca/run.py --tiny     does it run?
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe
from sanmaru.recipes.sources import Download, obtain

TARGET = "median_house_value"

CENSUS = Download(
    url="https://raw.githubusercontent.com/ageron/handson-ml2/1e2115277b50f6c584cd668fa30e3af309a5b136/"
    "datasets/housing/housing.csv",
    sha256="8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
    to="housing.csv",
)


def convert(raw: Path, folder: Path) -> None:
    """The file is used as it comes."""
    shutil.copy(raw / CENSUS.to, folder / "train.csv")


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Keep a fifth aside, with as many dear and cheap blocks as in the rest."""
    table = pl.read_csv(obtain("housing-ca", [CENSUS], convert) / "train.csv")
    if tiny:
        table = table.sample(600, seed=0)
    return write_parts(table, keep_aside(table, strata=TARGET), folder, target=TARGET)


PLACE = "features=[{neighbours: {columns: [latitude, longitude], k: [5, 25]}}, {ratios: auto}]"
SLOW = ("model.learning_rate=0.02", "model.trees=4000", "model.feature_fraction=0.6")

RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "trees": (),
        "trees and features": (PLACE,),
        "slow trees and features": (
            PLACE,
            "model.learning_rate=0.02",
            "model.trees=4000",
            "model.feature_fraction=0.6",
        ),
        "catboost and features": ("model.kind=catboost", PLACE),
        "linear and features": ("model.kind=linear", PLACE),
    },
    tiny={"": ("split.folds=2",), "lightgbm": ("model.trees=20",), "catboost": ("model.trees=20",)},
    tiny_variants=("trees and features", "linear and features"),
    also=("mae", "r2"),
    ensemble="greedy",
    minutes=5,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
