"""A folder of photos per person: the layout of the mask competition, read as one row per photo.

<folder>/train.csv                              id, gender, race, age, path: one row per person
<folder>/images/000001_female_Asian_45/         the folder that `path` names: {id}_{gender}_{race}_{age}
    mask1.jpg ... mask5.jpg                     worn
    incorrect_mask.png                          worn wrongly
    normal.jpeg                                 none

Without a train.csv the folders' names say who it is. Rows to predict stand in a table with a column of file names
(info.csv: ImageID, ans) beside a folder images/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError
from sanmaru.tables import pictures
from sanmaru.tables.contract import Violation
from sanmaru.tables.raw import Raw, read_raw

PHOTO, PERSON, MASK = "photo", "person", "mask"
"""Columns that reading adds: the photo's path below the folder of images (the id), its person (the group), and how
the mask is worn. The column `image` holds the path again."""
MASKS = ("Wear", "Incorrect", "Normal")
FOLDER = "path"
"""Column of train.csv with the name of a person's folder."""
TABLE, IMAGES = "train.csv", "images"

_STEM = re.compile(r"(?P<worn>mask\d+)|(?P<wrong>incorrect_mask)|(?P<none>normal)", re.IGNORECASE)
_NAME = re.compile(r"(?P<id>[^_]+)_(?P<gender>[^_]+)_(?P<race>.+)_(?P<age>\d+)")


def table_of(path: Path) -> Path:
    """Return the table of people: the file itself, or the train.csv in a folder; the folder where it has none."""
    return path / TABLE if (path / TABLE).is_file() else path


def read_people(path: Path, images: Path | None, *, encoding: str = "utf-8") -> tuple[Raw, Path]:
    """Return one row per photo, and the folder that the photos' paths are relative to.

    Args:
        path: Table of people, a folder with train.csv, or a folder of folders named after people.
        images: Folder of the people's folders; `images` beside the table, or its own folder, where None.
        encoding: Of the table.

    Raises:
        DataError: when the table has no column `path`, or not one photo is found.
    """
    path = table_of(path)
    if path.is_dir():
        root = images or (path / IMAGES if (path / IMAGES).is_dir() else path)
        people = _from_names(root)
    else:
        people = read_raw(path, encoding=encoding)
        if FOLDER not in people.table.columns:
            raise DataError(
                f"{path} has no column {FOLDER!r}, which names each person's folder (data.layout: person-folders). "
                f"It has: {', '.join(people.table.columns)}."
            )
        names = people.table[FOLDER].cast(pl.String).drop_nulls().head(20).to_list()
        places = (path.parent / IMAGES, path.parent)
        root = images or next((p for p in places if any((p / name).is_dir() for name in names)), places[0])
    return _photos(path, people, root), root


def _photos(path: Path, people: Raw, root: Path) -> Raw:
    taken = [name for name in (PHOTO, PERSON, MASK, pictures.IMAGE) if name in people.table.columns]
    if taken:
        raise DataError(f"{path} has a column {taken[0]!r}, a name that data.layout: person-folders gives. Rename it.")
    rows: list[tuple[int, str, str, str]] = []
    missing: list[Violation] = []
    ignored: list[str] = []
    number = 0
    for place, cell in enumerate(people.table[FOLDER].cast(pl.String).to_list()):
        name = (cell or "").strip().replace("\\", "/")
        found = _listed(root / name) if name else None
        if not found:
            reason = f"there is no folder {name!r} in {root}" if found is None else f"the folder {name!r} is empty"
            missing.append(
                Violation(row=number, id=None, column=FOLDER, value=name, rule="missing-folder", reason=reason)
            )
            number += 1
            continue
        for file in found:
            mask = _mask_of(file)
            if mask is None:
                ignored.append(f"{name}/{file}")
                continue
            rows.append((place, f"{name}/{file}", name, mask))
            number += 1
    if not rows:
        raise DataError(
            f"none of the {len(people.table):,} people in {path} has a folder with photos in {root}. Set data.images "
            "to the folder that holds their folders (photos are called mask1 to mask5, incorrect_mask and normal)."
        )
    places, photos, persons, masks = zip(*rows, strict=True)
    table = people.table.drop(FOLDER)[list(places)].with_columns(
        pl.Series(PHOTO, photos), pl.Series(pictures.IMAGE, photos), pl.Series(PERSON, persons), pl.Series(MASK, masks)
    )
    aside = {violation.row for violation in missing}
    positions = np.array([row for row in range(number) if row not in aside], dtype=np.int64)
    notes = [*people.notes, f"{len(set(persons)):,} people have {len(rows):,} photos"]
    if ignored:
        notes.append(f"{len(ignored):,} files are no photos of the layout and were left out, e.g. {ignored[0]}")
    return Raw(table=table, positions=positions, violations=(*people.violations, *missing), notes=tuple(notes))


def _mask_of(file: str) -> str | None:
    stem, suffix = os.path.splitext(file)
    found = _STEM.fullmatch(stem)
    if found is None or suffix.lower() not in pictures.SUFFIXES:
        return None
    return MASKS[0] if found["worn"] else MASKS[1] if found["wrong"] else MASKS[2]


def _listed(folder: Path) -> list[str] | None:
    """Names of the files in a folder, hidden ones left out; None where it is absent."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file() and not entry.name.startswith("."))
    except OSError:
        return None


def _from_names(root: Path) -> Raw:
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    matched = [(name, found) for name in names if (found := _NAME.fullmatch(name))]
    if not matched:
        raise DataError(f"{root} holds no folder named like a person, {{id}}_{{gender}}_{{race}}_{{age}}.")
    columns = {key: [found[key] for _, found in matched] for key in ("id", "gender", "race", "age")}
    table = pl.DataFrame({**columns, FOLDER: [name for name, _ in matched]})
    odd = [name for name in names if not _NAME.fullmatch(name)]
    notes = (f"{len(odd):,} folders are not named after a person and were left out, e.g. {odd[0]}",) if odd else ()
    return Raw(table=table, positions=np.arange(len(table), dtype=np.int64), notes=notes)


def read_evaluation(path: Path, images: Path | None, *, encoding: str = "utf-8") -> tuple[Raw, Path]:
    """Return the rows to predict with the columns `photo` and `image`, and the folder of their pictures.

    Args:
        path: A table with a column of file names (info.csv), or a folder of pictures.
        images: Where its pictures may lie besides the table's own folder and `images` in it.
        encoding: Of the table.

    Raises:
        DataError: when the table has no column of file names.
    """
    raw = read_raw(path, encoding=encoding, labelled=False)
    name = pictures.PATH if path.is_dir() else picture_column(raw.table)
    if name is None:
        raise DataError(f"{path} has no column of picture files. It has: {', '.join(raw.table.columns)}.")
    cells = raw.table[name]
    table = pl.DataFrame([cells.alias(PHOTO), cells.alias(pictures.IMAGE)])
    root = path if path.is_dir() else nearby(cells, path.parent, (images,) if images else ())
    return Raw(table=table, positions=raw.positions, violations=raw.violations, notes=raw.notes), root


def picture_column(table: pl.DataFrame) -> str | None:
    """Return the first column whose cells end like pictures; None where there is none."""
    for name in table.columns:
        cells = table[name].drop_nulls().head(50)
        if cells.dtype == pl.String and len(cells):
            endings = [os.path.splitext(cell.strip().lower())[1] for cell in cells.to_list()]
            if sum(ending in pictures.SUFFIXES for ending in endings) >= 0.9 * len(endings):
                return name
    return None


def nearby(cells: pl.Series, folder: Path, others: Sequence[Path] = ()) -> Path:
    """Return the folder in which pictures are: `folder`, `images` in it, or one of others; `folder` where none has any.

    Args:
        cells: Paths of pictures.
        folder: Where they usually are.
        others: Where they may be as well.
    """
    few = cells.drop_nulls().head(20)
    for place in (folder, folder / IMAGES, *others):
        if len(few) and not pictures.resolve(few, place)[1].all():
            return place
    return folder
