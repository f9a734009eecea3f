"""The project file's column names, checked against those of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from sanmaru.errors import DataError, nearest
from sanmaru.tables import person_folders, pictures
from sanmaru.tables.config import DataConfig
from sanmaru.tables.roles import ROW_ID, Roles

Part = Literal["train", "test"]


def find_roles(
    data: DataConfig,
    names: Sequence[str],
    path: Path,
    *,
    task: str,
    part: Part,
    is_folder: bool,
    aside: Sequence[str],
) -> Roles:
    """Return the roles of a table's columns.

    Args:
        data: What the project file says.
        names: Columns of the table.
        path: Where the table lies, for messages.
        task: Name of the task.
        part: In a test table targets, group and time may be absent.
        is_folder: Whether the table was made from a folder of pictures.
        aside: Columns that have another use and are no features.

    Raises:
        DataError: for a name that is no column, a role that is missing, or a column in two roles.
    """
    targets, id_, image = data.target_names, data.id, data.image
    group = data.group
    if data.layout == "person-folders":
        id_, image, group = id_ or person_folders.PHOTO, image or pictures.IMAGE, group or person_folders.PERSON
    elif is_folder:
        if task == "tabular":
            raise DataError(f"{path} is a folder of pictures, and task `tabular` learns from a table.")
        targets, id_, image = targets or (pictures.LABEL,), id_ or pictures.PATH, image or pictures.IMAGE
    for key, wanted in (
        ("id", (id_,)),
        ("target", targets if part == "train" else ()),
        ("group", (group,)),
        ("time", (data.time_column,)),
        ("image", (image,)),
        ("features", data.features or ()),
        ("drop", data.drop if part == "train" else ()),
    ):
        for name in wanted:
            if name is not None and name not in names and not (key == "time" and name == ROW_ID):
                needed = part == "train" or key in ("id", "image", "features")
                if needed:
                    raise DataError(f"{path} has no column {name!r} (data.{key}). {nearest(name, names)}")
    if task == "tabular" and len(targets) > 1:
        raise DataError(
            f"a tabular task learns one target column, got {', '.join(map(repr, targets))}. Name one in data.target."
        )
    if part == "train" and not targets:
        raise DataError(f"data.target is not set: name the column of {path} to predict. {nearest('target', names)}")
    if part == "train" and (lost := [name for name in aside if name not in names]):
        raise DataError(f"{path} has no column {lost[0]!r}. {nearest(lost[0], names)}")
    if task == "image-classification" and image is None:
        raise DataError(
            f"data.image is not set: name the column of {path} with the pictures' paths. "
            f"{nearest('image', [name for name in names if name not in targets])}"
        )
    if id_ is None and ROW_ID in names:
        raise DataError(
            f"{path} has a column {ROW_ID!r}, the name that row numbers would get. Set data.id: {ROW_ID} if it names "
            "rows, or rename it."
        )
    _no_two_roles(data, targets, id_, image)
    used = {*targets, *data.drop, *aside, id_, image, group, None if data.learn_time else data.time_column}
    if data.features is not None:
        features = data.features
    elif task == "image-classification":
        features = ()
    else:
        features = tuple(name for name in names if name not in used)
    present = set(names)
    return Roles(
        id=id_ or ROW_ID,
        targets=tuple(name for name in targets if name in present),
        features=features,
        group=group if group in present else None,
        time=data.time_column if data.time_column in present or data.time_column == ROW_ID else None,
        image=image,
    )


def _no_two_roles(data: DataConfig, targets: Sequence[str], id_: str | None, image: str | None) -> None:
    if id_ is not None and id_ == image:
        raise DataError(f"column {id_!r} is both data.id and data.image. Leave data.id out; rows are then numbered.")
    claims = [("id", id_), ("image", image), ("group", data.group), ("time", data.time_column)]
    for target in targets:
        for key, name in (*claims, *(("features", f) for f in data.features or ())):
            if name == target:
                raise DataError(f"column {target!r} is both data.target and data.{key}; a target is nothing else.")
    for name in data.drop:
        for key, taken in (*claims, *(("target", t) for t in targets), *(("features", f) for f in data.features or ())):
            if name == taken:
                raise DataError(f"column {name!r} is both in data.drop and in data.{key}. Take it out of one.")
