"""Looking at data and proposing a project file, with a reason for every choice."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.tables import pictures
from sanmaru.tables.config import MISSING_MARKERS
from sanmaru.tables.profile import Profile, profile
from sanmaru.tables.propose_people import propose_people, recognise
from sanmaru.tables.propose_table import ALL_MARKERS, odd_reasons, steps
from sanmaru.tables.propose_training import metric, network
from sanmaru.tables.raw import Raw, form_of, read_raw
from sanmaru.tables.roles_guess import Guess, guess_group, guess_id, guess_image, guess_target, guess_time
from sanmaru.tables.suspicious import Remark, remarks

FOLDS = 5
_FEW_VALUES = 20
_ROWS_PER_VALUE = 5
_COMMON_STEMS = {"train", "training", "data", "dataset", "index", "labels", "label", "train_data", "images"}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A project file's content, why it is so, and what a person should look at."""

    content: Mapping[str, Any]
    """As `Project.from_dict` takes it; paths are relative to the project folder where that is short."""
    why: Mapping[str, str]
    """Reason by dotted key, such as `data.target`; also of keys that are not set, such as `data.group`."""
    remarks: tuple[Remark, ...]
    source: str
    """The data in words: rows, columns, pictures."""
    summary: tuple[tuple[str, str], ...]
    """Label and short text of what was found, for the screen."""
    set_aside: Mapping[str, int] = field(default_factory=dict)


def propose(
    path: Path,
    *,
    target: str | None = None,
    test: Path | None = None,
    images: Path | None = None,
    name: str | None = None,
    folder: Path | None = None,
    encoding: str = "utf-8",
) -> Proposal:
    """Look at a table or a folder of pictures and propose roles, task, split, model and metric.

    Args:
        path: Training data.
        target: Column to predict; guessed where None.
        test: Rows to predict, which tells targets and leaks apart from features.
        images: Folder that pictures' paths are relative to; looked for where None.
        name: Project name; made from the path where None.
        folder: Project folder, which paths in the file are relative to.
        encoding: Of text files.

    Raises:
        DataError: when the data cannot be read, the target names no column, or nothing in it can be learned.
    """
    path, folder = path.resolve(), (folder or Path.cwd()).resolve()
    is_folder = form_of(path) == "folder"
    people = recognise(path)
    if people is not None:
        return propose_people(
            people,
            target=target,
            test=None if test is None else test.resolve(),
            images=None if images is None else images.resolve(),
            name=name or project_name(path),
            folder=folder,
        )
    raw = read_raw(path, encoding=encoding)
    tested = None if test is None else read_raw(test.resolve(), encoding=encoding, labelled=False)
    found = _Found(path, raw, profile(raw.table, ALL_MARKERS), None if tested is None else tested.table.columns)
    if is_folder:
        found.by_folder(target)
    else:
        found.by_columns(target, images)
    split = found.choose_split(None if tested is None else tested.table)
    content: dict[str, Any] = {
        "name": name or project_name(path),
        "problem": "",
        "task": "image-classification" if found.image else "tabular",
    }
    if not found.image and found.columns[found.target].is_number:
        content["problem_type"] = "classification" if found.classes else "regression"
    content["data"] = {
        "train": relative(path, folder),
        **({"test": relative(test.resolve(), folder)} if test else {}),
        **({"encoding": encoding} if encoding != "utf-8" else {}),
        **({"images": relative(found.images, folder)} if found.images else {}),
        **found.roles(is_folder),
    }
    content["split"] = split
    if found.image:
        content |= network(found.rows, found.why, found.picture_cells())
    else:
        content["model"] = {"kind": "lightgbm"}
        found.why["model.kind"] = (
            "Trees take mixed columns, gaps and odd scales as they come. Compare: model.kind=linear."
        )
        if found.rows < 300:
            content["model"] = {"kind": "linear"}
            found.why["model.kind"] = f"{found.rows} rows are few for trees. Compare with: model.kind=lightgbm."
        proposed = steps(found.columns, found.features())
        if proposed:
            content["features"] = [step for step, _ in proposed]
            found.why |= {f"features.{place}": why for place, (_, why) in enumerate(proposed)}
        found.why |= odd_reasons(raw.table, found.columns, found.features(), found.target, found.id)
    ratio = found.ratio if found.classes else None
    content["metric"] = metric(found.columns[found.target], found.why, ratio=ratio, ranked=not found.image)
    return Proposal(
        content=content,
        why=found.why,
        remarks=tuple(found.remarks),
        source=found.source(is_folder),
        summary=found.summary(content),
        set_aside=found.set_aside(),
    )


def project_name(path: Path) -> str:
    """Return a name made from a path: the file's, or its folder's where the file is called `train` and the like."""
    stem = path.stem if path.is_file() else path.name
    stem = path.parent.name if stem.lower() in _COMMON_STEMS and path.parent.name else stem
    return re.sub(r"[^A-Za-z0-9가-힣._-]+", "-", stem).strip("-._")[:80] or "project"


def relative(path: Path, folder: Path) -> str:
    """Return a path as the project file should hold it: relative where it is near, so that both can move together."""
    text = os.path.relpath(path, folder)
    return Path(text).as_posix() if text.count("..") <= 3 else path.as_posix()


class _Found:
    """What is known so far while a proposal is made."""

    def __init__(self, path: Path, raw: Raw, columns: dict[str, Profile], test: Sequence[str] | None) -> None:
        self.path, self.raw, self.columns, self.test = path, raw, columns, test
        self.rows = len(raw.table)
        self.why: dict[str, str] = {}
        self.remarks: list[Remark] = []
        self.target, self.classes = "", True
        self.id: str | None = None
        self.image: str | None = None
        self.images: Path | None = None
        self.group: str | None = None
        self.time: str | None = None
        self.learn_time = False
        self.drop: list[str] = []
        self.sure = True

    def by_folder(self, target: str | None) -> None:
        if target not in (None, pictures.LABEL):
            raise DataError(f"{self.path} is a folder per class, so the target is called 'label', not {target!r}.")
        self.target, self.image, self.id = pictures.LABEL, pictures.IMAGE, pictures.PATH
        count = self.columns[pictures.LABEL].distinct
        if count < 2:
            raise DataError(
                f"{self.path} has one folder of pictures ({self.columns['label'].values[0]}); give two classes."
            )
        self.why["data.train"] = f"A folder per class: the target is called `label` and has {count} classes."
        self._balance()
        self._choose_group()

    def by_columns(self, target: str | None, images: Path | None) -> None:
        image = guess_image(self.columns)
        if image is not None:
            self.image = image.name
            self.why["data.image"] = _because("Pictures", image)
            self._find_images(images)
        self._choose_target(target)
        self._choose_id()
        column = self.columns[self.target]
        self.classes = _is_classes(column)
        if self.image and not self.classes:
            many = f"has {column.distinct} different numbers; each is taken as a class of its own"
            self.remarks.append(Remark(self.target, many, drop=False))
            self.classes = True
        if self.classes:
            self._balance()
        else:
            low, middle, high = (_number(column.values.quantile(q)) for q in (0.0, 0.5, 1.0))
            self.why["data.target"] += f" Numbers from {low} to {high}, half of them below {middle}."
        self._choose_time()
        self._choose_group()
        self._look_at_features()

    def _choose_target(self, target: str | None) -> None:
        if target is not None:
            if target not in self.columns:
                raise DataError(f"{self.path} has no column {target!r} (--target). {nearest(target, self.columns)}")
            self.target, self.why["data.target"] = target, "As asked for."
        else:
            guess = guess_target(self.columns, self.test, {self.image})
            if guess is None:
                raise DataError(
                    f"no column of {self.path} looks like something to predict; name one with --target. "
                    f"Columns: {', '.join(self.columns)}."
                )
            (found, self.sure) = guess
            self.target = found.name
            sure = "Chosen because" if self.sure else "Guessed, because"
            self.why["data.target"] = f"{sure} {found.why}." + ("" if self.sure else " Is it? Else name it here.")
        # A class may be called `none`; in a target only plain markers mean that there is no value.
        self.columns |= profile(self.raw.table.select(self.target), MISSING_MARKERS)
        column = self.columns[self.target]
        if column.distinct < 2:
            raise DataError(
                f"the target {self.target!r} of {self.path} has {column.distinct} value(s); nothing to learn."
            )
        if column.kind == "text" or (column.kind == "category" and column.distinct > 1000):
            raise DataError(
                f"the target {self.target!r} of {self.path} holds {column.distinct:,} different texts, such as "
                f"{column.values.drop_nulls()[0][:60]!r}. A target is a number or one of at most 1,000 classes; name "
                "another with --target."
            )
        if column.missing:
            self.why["data.target"] += f" {column.missing:,} rows without one are set aside."

    def _balance(self) -> None:
        column = self.columns[self.target]
        counts = column.values.cast(pl.String).drop_nulls().value_counts(sort=True)
        most, least = counts.row(0), counts.row(-1)
        shown = f"{column.distinct} classes, from {most[0]} ({most[1]:,} rows) to {least[0]} ({least[1]:,})."
        self.why["data.target"] = (self.why.get("data.target", "") + " " + shown).strip()
        self.ratio, self.rarest = most[1] / least[1], int(least[1])

    def _choose_id(self) -> None:
        guess = guess_id(self.columns, self.test, {self.target, self.image})
        if guess is None:
            self.why["data.id"] = "No column names rows, so they are numbered from 0 (`row`)."
        else:
            self.id, self.why["data.id"] = guess.name, _because("Names a row", guess)

    def _choose_time(self) -> None:
        guess = guess_time(self.columns, FOLDS, {self.target, self.image}, self.id)
        if guess is not None:
            self.time, self.why["data.time"] = guess[0].name, _because("Orders rows in time", guess[0])
            self._choose_learn_time()
            return
        dates = [c.name for c in self.columns.values() if c.kind == "date" and c.missing_share < 0.5]
        if dates:
            self.why["data.time"] = (
                f"{dates[0]} holds dates, but the rows are not ordered by it. If the rows to predict come later than "
                f"these, set time: {dates[0]} and split.kind: time."
            )

    def _choose_learn_time(self) -> None:
        """Learn from hours, which come round; of dates alone the model would learn how much time has passed."""
        column = self.columns.get(str(self.time))
        absent = self.test is not None and self.time not in self.test
        if self.image is not None or column is None or column.kind != "date" or absent:
            return
        if column.values.dtype == pl.Datetime and column.values.dt.hour().n_unique() > 1:
            self.learn_time = True
            self.why["data.learn_time"] = f"The hour of {self.time} comes round every day."
        else:
            self.why["data.time"] += " It is not learned from; learn_time: true says otherwise."

    def _choose_group(self) -> None:
        guess = guess_group(self.columns, self.image, self.target, {self.target, self.id, self.image, self.time})
        if guess is not None:
            self.group, self.why["data.group"] = guess.name, _because("Rows of one are never torn apart", guess)

    def _look_at_features(self) -> None:
        roles = {self.target, self.id, self.image, self.time, self.group}
        looked_at = [] if self.image else [name for name in self.columns if name not in roles]
        self.remarks += remarks(self.columns, looked_at, self.target, classes=self.classes, test=self.test)
        self.drop = [remark.column for remark in self.remarks if remark.drop]
        for name in self.raw.table.columns:
            if name not in self.columns:
                kind = self.raw.table[name].dtype
                self.remarks.append(Remark(name, f"holds {kind}, not single values, and cannot be learned from", False))
        if not self.image and not self.features():
            raise DataError(f"{self.path}: no column is left to learn {self.target!r} from.")

    def features(self) -> list[str]:
        """Columns to learn from."""
        roles = {self.target, self.id, self.image, None if self.learn_time else self.time, self.group, *self.drop}
        return [name for name in self.columns if name not in roles]

    def _find_images(self, images: Path | None) -> None:
        cells = self.columns[str(self.image)].values.drop_nulls().head(20)
        if cells.dtype != pl.String:
            return
        here = self.path.parent
        below = sorted(entry for entry in here.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        for folder in [images.resolve()] if images else [here, *below, *(e for d in below for e in d.glob("*/"))]:
            if not pictures.resolve(cells, folder)[1].all():
                self.images = folder if folder != here else None
                return
        where = images or f"{here} and the folders in it"
        raise DataError(
            f"none of the first {len(cells)} pictures of column {self.image!r} (e.g. {cells[0]}) is in {where}. Say "
            "where they are with --images."
        )

    def choose_split(self, test: pl.DataFrame | None) -> dict[str, Any]:
        folds = FOLDS
        if self.time is not None:
            self.why["split.kind"] = (
                "The rows are ordered in time: each fold learns from the past and is scored on what follows."
            )
            if self.group is not None:
                self.why["data.group"] += " Folds in time do not use it; stratified-grouped would."
            return {"kind": "time", "folds": folds}
        if self.group is not None and test is not None and self.group in test.columns:
            here = self.raw.table[self.group].cast(pl.String).unique().implode()
            known = int(test[self.group].cast(pl.String).is_in(here).sum())
            if known > 0.5 * len(test):
                self.why["data.group"] = (
                    f"{self.group} looks like a group, but {known:,} of {len(test):,} test rows belong to one that is "
                    "also here, so folds may mix them as well. Otherwise set it."
                )
                self.group = None
        if self.group is not None:
            values = self.raw.table[self.group] if self.group in self.columns else None
            if values is not None:
                folds = max(2, min(folds, values.n_unique()))
            kind = "stratified-grouped" if self.classes else "grouped"
            even = ", with classes as even as that allows" if self.classes else ""
            self.why["split.kind"] = f"All rows of one {self.group} are validated in the same fold{even}."
        elif self.classes:
            kind = "stratified"
            self.why["split.kind"] = "Every fold has each class in the same share."
            if self.rarest < folds:
                self.why["split.kind"] += f" The rarest class has only {self.rarest}, so not every fold has one."
        elif self.rows < 5000:
            kind = "stratified"
            self.why["split.kind"] = "Few rows: every fold gets the same share of small and large targets."
        else:
            kind = "random"
            self.why["split.kind"] = "No group and no order of time was found, so rows are shuffled."
        if self.rows > 500_000:
            folds = min(folds, 3)
            self.why["split.folds"] = "Three folds score this many rows well enough."
        return {"kind": kind, "folds": folds}

    def roles(self, is_folder: bool) -> dict[str, Any]:
        named: dict[str, Any] = {"id": self.id, "image": self.image, "target": self.target} if not is_folder else {}
        named |= {
            "group": self.group,
            "time": self.time,
            "learn_time": self.learn_time or None,
            "drop": self.drop or None,
        }
        return {key: value for key, value in named.items() if value is not None}

    def picture_cells(self) -> pl.Series:
        """Up to a hundred of the pictures: absolute paths or bytes."""
        cells = self.columns[str(self.image)].values.drop_nulls()
        cells = cells.gather_every(max(1, len(cells) // 100)).head(100)
        return pictures.resolve(cells, self.images or self.path.parent)[0] if cells.dtype == pl.String else cells

    def set_aside(self) -> dict[str, int]:
        out = {"ragged-row": len(self.raw.violations)} if self.raw.violations else {}
        if self.target in self.columns and self.columns[self.target].missing:
            out["missing-target"] = self.columns[self.target].missing
        return out

    def source(self, is_folder: bool) -> str:
        if is_folder:
            return f"{self.rows:,} pictures in {self.columns[self.target].distinct} folders"
        pictures_ = f", one picture each ({self.image})" if self.image else ""
        return f"{self.rows:,} rows, {len(self.raw.table.columns)} columns{pictures_}"

    def summary(self, content: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
        kind = "classes" if self.classes else "numbers"
        target = f"{self.target} ({kind})" + ("" if self.sure else "  <- guessed, please check")
        rows = [("target", target), ("task", content["task"])]
        said = {"time": f"{self.time}, learned from too" if self.learn_time else self.time}
        roles = {role: said.get(role, getattr(self, role)) for role in ("id", "group", "time", "image")}
        rows += [(role, str(name)) for role, name in roles.items() if name]
        split = content["split"]
        rows.append(("split", f"{split['kind']}, {split['folds']} folds: {self.why['split.kind']}"))
        model = content["model"]
        rows.append(("model", model.get("backbone", model["kind"])))
        rows.append(("metric", content["metric"]))
        return tuple(rows)


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _because(what: str, guess: Guess) -> str:
    return f"{what}: {guess.why}."


def _is_classes(column: Profile) -> bool:
    if not column.is_number:
        return True
    whole = column.values.dtype == pl.Int64 or bool((column.values.drop_nulls() % 1 == 0).all())
    few = column.distinct <= _FEW_VALUES and column.rows - column.missing >= _ROWS_PER_VALUE * column.distinct
    return whole and few
