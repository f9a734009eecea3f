"""What kind of document is a scan? Four networks under one validation, and scans that arrive damaged.

python recipes/document-types/run.py            the whole recipe, about 20 minutes on two cores
python recipes/document-types/run.py --tiny     does it run?
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from sanmaru.recipes.aside import keep_aside, link, write_parts
from sanmaru.recipes.command import run
from sanmaru.recipes.course import Recipe, Table, Walked, predict_aside
from sanmaru.recipes.readme import number
from sanmaru.recipes.sources import Download, obtain

HOME = Path(__file__).parent
PER_CLASS = 150
LONGEST = 256
UNHURT = "as it is"
CLASSES = {"0": "letter", "2": "email", "4": "advertisement", "6": "scientific_publication", "9": "news_article"}

SCANS = Download(
    url="https://github.com/moh-a-abde/document-image-classifier/archive/a9883bc2d1e924bd531f554983d38925704d255e.zip",
    sha256="81096221e03a630ba5e611129be5d53e03ec1eb89041fbc6dd79c5eb54c664c5",
    to="scans",
    members=("data/images/*",),
)
RECEIPTS = Download(
    url="https://github.com/zzzDavid/ICDAR-2019-SROIE/archive/27be4271b251c256f695acbade9a801bffe85994.zip",
    sha256="89034b63d3e21d108eaf2e6668abcc74d3734c439da3b4b1033b2902bc87ac06",
    to="receipts",
    members=("data/img/*",),
)


def convert(raw: Path, folder: Path) -> None:
    """Take the first 150 of each kind, grey, at most 256 pixels long."""
    sources = {name: raw / SCANS.to / "data" / "images" / code for code, name in CLASSES.items()}
    for name, source in {**sources, "receipt": raw / RECEIPTS.to / "data" / "img"}.items():
        (folder / name).mkdir()
        for path in sorted(source.iterdir())[:PER_CLASS]:
            with Image.open(path) as image:
                grey = image.convert("L")
            grey.thumbnail((LONGEST, LONGEST))
            grey.save(folder / name / f"{path.stem}.jpg", quality=90)


def prepare(folder: Path, tiny: bool) -> Mapping[str, Any]:
    """Keep a fifth of each kind aside."""
    scans = obtain("doc-types", [SCANS, RECEIPTS], convert)
    link(scans, folder / "scans")
    paths = sorted(path.relative_to(scans).as_posix() for path in scans.glob("*/*.jpg"))
    table = pl.DataFrame({"file": paths, "image": paths, "kind": [path.split("/")[0] for path in paths]})
    if tiny:
        table = table.gather_every(8)
    return write_parts(table, keep_aside(table, strata="kind"), folder, target="kind")


def damaged_scans(walked: Walked) -> Sequence[Table]:
    """Score every variant on damaged copies of the rows kept aside, and name the kinds that are confused."""
    sys.path.insert(0, str(HOME))
    from damage import KINDS, damaged_copies

    folder = walked.project.folder
    aside = pl.read_csv(folder / "aside.csv")
    copies = [aside.with_columns(damage=pl.lit(UNHURT))]
    for kind in KINDS:
        damaged_copies(folder / "scans", aside["image"].to_list(), folder / "damaged" / kind, kind)
        place = (folder / "damaged" / kind).as_posix() + "/" + pl.col("image")
        copies.append(aside.with_columns(file=f"{kind}/" + pl.col("file"), image=place, damage=pl.lit(kind)))
    damaged = pl.concat(copies)
    damaged.write_csv(folder / "damaged.csv")
    rows = []
    for name, trained in walked.runs.items():
        task, table, predictions = predict_aside(trained, "damaged.csv")
        said = dict(damaged.select("file", "damage").iter_rows())
        which = table["file"].replace_strict(said)
        parts = [(table.filter(which == kind), predictions.filter(which == kind)) for kind in (UNHURT, *KINDS)]
        rows.append((name, *(number(task.score(*part)["accuracy"]) for part in parts)))
        if name == walked.best:
            confused = _confused(name, task, *parts[-1])
    header = ("variant", UNHURT, *KINDS)
    return [Table(title="Accuracy on the rows kept aside, damaged", header=header, rows=tuple(rows)), confused]


def _confused(best: str, task: Any, table: pl.DataFrame, predictions: pl.DataFrame) -> Table:
    classes, truth = task.outputs[0].classes, task.truth(table)
    said = task.scored(predictions).argmax(axis=1)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (truth, said), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:6]
    pairs = [divmod(int(place), len(classes)) for place in order]
    rows = [
        (classes[true], classes[taken], f"{counts[true, taken]} of {int((truth == true).sum())}")
        for true, taken in pairs
        if counts[true, taken]
    ]
    title = f"Kinds that {best!r} confuses most, on damaged rows kept aside"
    return Table(title=title, header=("is", "was taken for", "times"), rows=tuple(rows))


CLEAN = "train.augment=[]"

RECIPE = Recipe(
    home=HOME,
    prepare=prepare,
    variants={
        "convnet": (),
        "convnet, no damage in training": (CLEAN,),
        "resnet-18": ("model.backbone=resnet-18", "train.epochs=10", "train.learning_rate=1e-3"),
        "regnet-y-400mf": ("model.backbone=regnet-y-400mf", "train.epochs=14", "train.learning_rate=1e-3"),
        "efficientnet-b0": ("model.backbone=efficientnet-b0", "train.epochs=7", "train.learning_rate=1e-3"),
    },
    tiny={"": ("split.folds=2", "train.epochs=1", "model.image_size=32")},
    tiny_variants=("convnet", "convnet, no damage in training"),
    also=("macro_f1",),
    after=damaged_scans,
    minutes=20,
)

if __name__ == "__main__":
    sys.exit(run(RECIPE, about=__doc__))
