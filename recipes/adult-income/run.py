"""Who earns more than 50,000 dollars a year? From the 1994 census, by age, work, schooling and family.

python recipes/adult-income/run.py            the whole recipe, about 4 minutes on two cores
python recipes/adult-income/run.py --tiny     does it run?
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.recipes.aside import keep_aside, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe
from sanmaru.recipes.sources import Download, obtain

COLUMNS = (
    "age workclass fnlwgt education education-num marital-status occupation relationship race sex capital-gain "
    "capital-loss hours-per-week native-country income"
).split()
TARGET = "income"

CENSUS = Download(
    url="https://raw.githubusercontent.com/jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f/adult-train.csv",
    sha256="5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
    to="adult-train.csv",
)


def convert(raw: Path, folder: Path) -> None:
    """Give the file a header and take off the blanks that follow its commas."""
    lines = (raw / CENSUS.to).read_text(encoding="utf-8").splitlines()
    rows = [",".join(cell.strip() for cell in line.split(",")) for line in lines if line.strip()]
    (folder / "train.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Keep a fifth aside; equal rows are dropped first, so that no row stands on both sides."""
    table = pl.read_csv(obtain("adult", [CENSUS], convert) / "train.csv", infer_schema=False)
    found = len(table)
    table = table.unique(maintain_order=True)
    duplicates = found - len(table)
    if tiny:
        table = table.sample(600, seed=0)
    parts = write_parts(table, keep_aside(table, strata=TARGET), folder, target=TARGET)
    return {**parts, "duplicates dropped": duplicates}


RECIPE = Recipe(
    home=Path(__file__).parent,
    prepare=prepare,
    variants={
        "trees": (),
        "trees and features": ("features=auto", "model.learning_rate=0.03"),
        "catboost": ("model.kind=catboost",),
        "linear": ("model.kind=linear",),
    },
    tiny={"": ("split.folds=2",), "lightgbm": ("model.trees=20",), "catboost": ("model.trees=20",)},
    tiny_variants=("trees and features", "catboost"),
    also=("accuracy", "macro_f1", "log_loss"),
    ensemble="greedy",
    minutes=4,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
