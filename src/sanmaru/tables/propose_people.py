"""A project for the layout of the mask competition: a folder of photos per person, eighteen joint classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables import person_folders as layout
from sanmaru.tables import pictures
from sanmaru.tables.config import MISSING_MARKERS
from sanmaru.tables.joint import learn_joint
from sanmaru.tables.propose_training import network
from sanmaru.tables.target_config import JointConfig, TargetConfig
from sanmaru.tables.types import clean, convert, detect

if TYPE_CHECKING:
    from sanmaru.tables.propose import Proposal

BANDS = (30, 60)
GENDERS = ("male", "female")


@dataclass(frozen=True)
class People:
    """Where the parts of the layout lie."""

    train: Path
    """Table of people, or the folder of their folders where there is none."""
    test: Path | None
    """Table of pictures to predict."""


def recognise(path: Path) -> People | None:
    """Return where the parts lie when a path is of the layout, else None.

    Args:
        path: A train.csv with a folder images/ beside it, the folder of both, a folder with train/ and eval/ in it, or
            a folder of people's folders.
    """
    if path.is_file():
        return _with_table(path)
    for table in (path / layout.TABLE, path / "train" / layout.TABLE):
        if table.is_file():
            return _with_table(table)
    if path.is_dir() and any(_is_person(path / name) for name in _folders(path)):
        return People(path, None)
    return None


def _with_table(table: Path) -> People | None:
    for root in (table.parent / layout.IMAGES, table.parent):
        if any(_is_person(root / name) for name in _folders(root)):
            if not _names_folders(table, root):
                return None
            evaluations = (table.parent.parent / "eval" / "info.csv", table.parent / "eval" / "info.csv")
            return People(table, next((test for test in evaluations if test.is_file()), None))
    return None


def _names_folders(table: Path, root: Path) -> bool:
    """Whether a table's column `path` names folders in `root`."""
    try:
        head = pl.read_csv(table, n_rows=20, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError):
        return False
    if layout.FOLDER not in head.columns:
        return False
    return any((root / name).is_dir() for name in head[layout.FOLDER].drop_nulls().to_list())


def _folders(root: Path) -> list[str]:
    """A few of the folders in a folder."""
    if not root.is_dir():
        return []
    names: list[str] = []
    for entry in root.iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            names.append(entry.name)
        if len(names) == 20:
            break
    return names


def _is_person(folder: Path) -> bool:
    stems = {entry.stem for entry in folder.iterdir()}
    return "normal" in stems and "incorrect_mask" in stems and any(stem.startswith("mask") for stem in stems)


def propose_people(
    found: People, *, target: str | None, test: Path | None, images: Path | None, name: str, folder: Path
) -> Proposal:
    """Propose the targets mask, gender and age band, and folds that never tear a person apart.

    Args:
        found: What `recognise` returned.
        target: The one target to learn; all three where None.
        test: Table to predict; the one found where None.
        images: Folder of the people's folders; looked for where None.
        name: Of the project.
        folder: Project folder, which paths in the file are relative to.

    Raises:
        DataError: when the target is none of the layout's, or no photo is found.
    """
    from sanmaru.tables.propose import Proposal, relative

    raw, root = layout.read_people(found.train, images)
    table = raw.table
    targets = _targets(table, target)
    configs = [TargetConfig.model_validate({"name": one} if isinstance(one, str) else one) for one in targets]
    several = len(targets) > 1
    why = {
        "data.layout": "A folder per person with mask1 to mask5, incorrect_mask and normal: one row per photo.",
        "data.target": _balance(table, configs),
        "data.group": f"{table[layout.PERSON].n_unique():,} people with {len(table):,} photos: photos of one person "
        "must not stand on both sides of a split, or the score promises what new people will not keep.",
        "split.kind": "All photos of one person are validated in the same fold, with classes as even as that allows.",
        "metric": "The classes are uneven, so each counts the same.",
    }
    if several:
        why["data.joint"] = "Codes are the places in the product of the classes: mask x gender x age, 0 to 17."
        why["model.heads"] = "One head for the joint classes. Compare: model.heads=shared and model.heads=separate."
    predicted = test or found.test
    data: dict[str, Any] = {
        "train": relative(found.train, folder),
        **({"test": relative(predicted, folder)} if predicted else {}),
        "layout": "person-folders",
        **({"images": relative(images, folder)} if images else {}),
        "target": targets if several else targets[0],
        **({"joint": {"name": "ans", "labels": "codes"}} if several else {}),
        "group": layout.PERSON,
    }
    cells = table[pictures.IMAGE].gather_every(max(1, len(table) // 100)).head(100)
    made = network(len(table), why, pictures.resolve(cells, root)[0])
    made["model"] |= {"heads": "joint"} if several else {}
    folds = max(2, min(5, table[layout.PERSON].n_unique()))
    content = {
        "name": name,
        "problem": "",
        "task": "image-classification",
        "data": data,
        "split": {"kind": "stratified-grouped", "folds": folds},
        **made,
        "metric": "macro_f1",
    }
    names = " x ".join(config.name for config in configs)
    return Proposal(
        content=content,
        why=why,
        remarks=(),
        source=f"{table[layout.PERSON].n_unique():,} people, {len(table):,} photos",
        summary=(
            ("target", f"{names} (classes)"),
            ("task", "image-classification"),
            ("id", layout.PHOTO),
            ("group", layout.PERSON),
            ("image", pictures.IMAGE),
            ("split", f"stratified-grouped, {folds} folds: {why['split.kind']}"),
            ("model", made["model"]["backbone"]),
            ("metric", "macro_f1"),
        ),
        set_aside={"missing-folder": len(raw.violations)} if raw.violations else {},
    )


def _targets(table: pl.DataFrame, target: str | None) -> list[Any]:
    """The targets as the project file holds them, in the competition's order."""
    known: dict[str, Any] = {layout.MASK: {"name": layout.MASK, "classes": list(layout.MASKS)}}
    if "gender" in table.columns:
        spelled = set(table["gender"].cast(pl.String).drop_nulls().unique())
        known["gender"] = {"name": "gender", "classes": list(GENDERS)} if spelled <= set(GENDERS) else "gender"
    if "age" in table.columns:
        known["age"] = {"name": "age", "bands": list(BANDS)}
    if target is None:
        return list(known.values())
    if target not in known:
        raise DataError(
            f"--target {target!r} is none of the targets of people's photos. {nearest(target, known)} "
            "For any other, write the project file by hand (data.layout: person-folders)."
        )
    return [known[target]]


def _balance(table: pl.DataFrame, configs: list[TargetConfig]) -> str:
    """Say how many photos the largest and the smallest joint class have."""
    cells = {config.name: clean(table[config.name], MISSING_MARKERS) for config in configs}
    typed = pl.DataFrame([convert(column, detect(column, booleans=False).kind).series for column in cells.values()])
    whole = typed.drop_nulls()
    try:
        joint = learn_joint(configs, JointConfig(name="joint"), whole)
    except DataError as error:
        return f"Look here first: {error}"
    if joint is None:
        return ""
    counts = joint.column(whole).value_counts(sort=True)
    most, least, absent = counts.row(0), counts.row(-1), len(joint.classes) - len(counts)
    text = f"{len(joint.classes)} joint classes, from {most[0]} ({most[1]:,} photos) to {least[0]} ({least[1]:,})."
    if absent:
        text += f" {absent} occur in no photo: {', '.join(sorted(set(joint.classes) - set(counts['joint']))[:5])}."
    return text
