"""Reading a project's table: typed, roles checked, the rows that cannot be used set aside and counted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.files import sha256
from sanmaru.tables import person_folders, pictures, types
from sanmaru.tables.config import MISSING_WORDS, DataConfig
from sanmaru.tables.contract import Column, Quarantine, Violation
from sanmaru.tables.find_roles import Part, find_roles
from sanmaru.tables.joint import learn_joint
from sanmaru.tables.odd import Oddity, oddities, told, twins
from sanmaru.tables.raw import Raw, form_of, read_raw
from sanmaru.tables.roles import ROW_ID, Roles
from sanmaru.tables.target_config import TargetConfig

_EDGE_BYTES = 64 << 10


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A table ready to learn from, and all that was found out while reading it."""

    table: pl.DataFrame
    """Usable rows: id, targets, group, time, image and features, typed."""
    roles: Roles
    quarantine: Quarantine
    fingerprint: str
    """SHA-256 over the source's content (of a large picture, its size, beginning and end)."""
    columns: tuple[Column, ...]
    """Records of the features, in the order of `roles.features`."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out on the way, such as files that are no pictures, and how odd cells were read."""
    oddities: tuple[Oddity, ...] = ()
    """How the cells of features were written, where that is not plain."""


def read_data(
    data: DataConfig,
    folder: Path,
    *,
    task: str,
    part: Part = "train",
    columns: Sequence[Column] | None = None,
    aside: Sequence[str] = (),
) -> Dataset:
    """Read the training or the test table of a project.

    Cells are stripped of blanks and markers of a missing value become null. A text column of which at least 95 % reads
    as numbers (or dates) is one, and the rows of the other cells are quarantined; likewise rows without target (part
    train), without group or time, without picture, and rows whose id stood before.

    Args:
        data: What the project file says of the data.
        folder: The project folder.
        task: Name of the task; pictures are needed for `image-classification`.
        part: Which of the two tables. In a test table targets may be absent.
        columns: Records of the features as an earlier reading found them; the table is held to them instead of
            having its types told anew.
        aside: Columns to read along though they have no role, such as `split.column`; they are no features.

    Raises:
        DataError: when the table cannot be read, a role names no column, or no row can be used.
    """
    source = data.train if part == "train" else data.test
    if source is None:
        raise DataError("data.test is not set in the project file, so there is no test table to read.")
    path = (folder / Path(source).expanduser()).resolve()
    is_folder = form_of(path) == "folder"
    images = path if is_folder else (folder / data.images).resolve() if data.images else path.parent
    if data.layout == "person-folders":
        path, is_folder = person_folders.table_of(path), False
        given = (folder / data.images).resolve() if data.images else None
        read = person_folders.read_people if part == "train" else person_folders.read_evaluation
        raw, images = read(path, given, encoding=data.encoding)
    else:
        labelled = part == "train" or _has_folders(path)
        raw = with_folders(read_raw(path, encoding=data.encoding, labelled=labelled), data.group, data.image)
    roles = find_roles(data, raw.table.columns, path, task=task, part=part, is_folder=is_folder, aside=aside)
    reader = _Reader(raw, roles, data, path, part)
    reader.add_id()
    if roles.image:
        reader.add_image(images)
    for name in roles.targets:
        reader.add_target(name)
    if roles.group:
        reader.add_group(roles.group)
    if roles.time:
        reader.add_time(roles.time)
    for name in data.types:
        if name not in raw.table.columns:
            raise DataError(f"{path} has no column {name!r} (data.types). {nearest(name, raw.table.columns)}")
    known = {column.name: column for column in columns or ()}
    records = [reader.add_feature(name, known.get(name)) for name in roles.features]
    for name in aside:
        reader.add_aside(name)
    if part == "train" and task == "tabular" and data.duplicates == "drop":
        reader.drop_duplicates()
    table, quarantine = reader.finish()
    table, roles = _with_joint(table, roles, data, path, task=task, part=part)
    kept = [types.describe(record, table[record.name]) for record in records if record is not None]
    features = tuple(record.name for record in kept)
    return Dataset(
        table=table,
        roles=replace(roles, features=features),
        quarantine=quarantine,
        fingerprint=_fingerprint(path, table, roles.image),
        columns=tuple(kept),
        notes=(*raw.notes, *reader.notes, *told(reader.oddities)),
        oddities=tuple(reader.oddities),
    )


def _with_joint(
    table: pl.DataFrame, roles: Roles, data: DataConfig, path: Path, *, task: str, part: Part
) -> tuple[pl.DataFrame, Roles]:
    """Add the joint label of several targets, which from here on is the one target; their columns stay."""
    configs = data.targets or tuple(TargetConfig(name=name) for name in roles.targets)
    if part == "test":
        several = len(configs) > 1 or any(not config.plain for config in configs)
        return (table.drop(roles.targets), replace(roles, targets=())) if several else (table, roles)
    if task == "tabular" and any(config.finer is not None for config in configs):
        raise DataError("`finer` bins are learnt by networks; leave them out of data.target for task `tabular`.")
    try:
        joint = learn_joint(configs, data.joint, table)
        if joint is None:
            return table, roles
        return table.with_columns(joint.column(table)), replace(roles, targets=(joint.name,), joint=joint)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _has_folders(path: Path) -> bool:
    return path.is_dir() and any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir())


@dataclass
class _Reader:
    """Adds one typed column after another and remembers which rows broke what."""

    raw: Raw
    roles: Roles
    data: DataConfig
    path: Path
    part: Part
    out: dict[str, pl.Series] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    oddities: list[Oddity] = field(default_factory=list)
    _broken: list[Violation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.usable = np.ones(len(self.raw.table), dtype=bool)

    def _cells(self, name: str) -> pl.Series:
        return types.clean(self.raw.table[name], self.data.missing)

    def _set_aside(self, bad: np.ndarray, name: str, rule: str, reason: str) -> None:
        """Quarantine rows. `reason` may hold {value}."""
        self.usable &= ~bad
        raw = self.raw.table[name] if name in self.raw.table.columns else None
        ids = self.out[self.roles.id]
        for i in np.flatnonzero(bad):
            cell = None if raw is None else raw[int(i)]
            value = "" if cell is None else f"<{len(cell)} bytes>" if isinstance(cell, bytes) else str(cell)[:200]
            row_id = ids[int(i)]
            self._broken.append(
                Violation(
                    row=int(self.raw.positions[i]),
                    id=None if row_id is None else str(row_id),
                    column=name,
                    value=value,
                    rule=rule,
                    reason=reason.replace("{value}", repr(value)),
                )
            )

    def add_id(self) -> None:
        name = self.roles.id
        if name not in self.raw.table.columns:
            self.out[name] = pl.Series(name, self.raw.positions, dtype=pl.Int64)
            return
        ids = as_key(self._cells(name))
        self.out[name] = ids
        self._set_aside(ids.is_null().to_numpy(), name, "missing-id", f"the id column {name!r} is empty")
        later = (~ids.is_first_distinct() & ids.is_not_null()).to_numpy()
        if later.sum() * 2 > len(ids):
            raise DataError(
                f"{self.path}: {int(later.sum()):,} of {len(ids):,} values of the id column {name!r} stood before, "
                f"e.g. {ids.filter(pl.Series(later))[0]!r}. It does not name rows; leave data.id out, or is it "
                "data.group?"
            )
        if later.any():
            copies = later & ~self.raw.table.is_unique().to_numpy() & ~_first(self.raw.table)
            self._set_aside(copies, name, "duplicate-id", "the whole row stood before; the first is kept")
            self._set_aside(
                later & ~copies, name, "conflicting-id", "this id stood before in a row that differs; the first is kept"
            )

    def add_image(self, folder: Path) -> None:
        name = str(self.roles.image)
        cells = self._cells(name)
        if cells.dtype == pl.Binary:
            self.out[name] = cells
            self._set_aside(cells.is_null().to_numpy(), name, "missing-image", "no picture is given")
            return
        if cells.dtype != pl.String:
            raise DataError(f"{self.path}: column {name!r} (data.image) holds {cells.dtype}, not paths or bytes.")
        paths, missing = pictures.resolve(cells, folder)
        if missing.all():
            raise DataError(
                f"none of the {len(paths):,} pictures of column {name!r} was found, e.g. "
                f"{paths.drop_nulls().head(1).to_list()}. Set data.images to the folder that the paths are relative to."
            )
        self.out[name] = paths
        self._set_aside(missing.to_numpy(), name, "missing-image", f"there is no file {{value}} in {folder}")

    def add_target(self, name: str) -> None:
        markers = [text for text in self.data.missing if text not in MISSING_WORDS]
        cells = types.clean(self.raw.table[name], markers)
        self._refuse_nested(cells, "target")
        column = self._told(cells) or types.detect(cells, booleans=False)
        if column.kind == "date":
            column = Column(name=name, kind="integer" if cells.dtype.is_integer() else "category")
        if self.part == "train":
            self.oddities += oddities(self.raw.table[name], column, markers)
        converted = types.convert(cells, column.kind, column.form)
        self.out[name] = converted.series
        if self.part == "train":
            if cells.null_count() == len(cells):
                raise DataError(f"{self.path}: every cell of the target {name!r} is empty.")
            self._set_aside(cells.is_null().to_numpy(), name, "missing-target", f"the target {name!r} is empty")
            self._not_of_kind(converted, column)

    def add_group(self, name: str) -> None:
        cells = self._cells(name)
        self._refuse_nested(cells, "group")
        self.out[name] = as_key(cells)
        if self.part == "train":
            self._missing_role(self.out[name], "group")

    def add_time(self, name: str) -> None:
        if name == ROW_ID and name not in self.raw.table.columns:
            return  # the rows' own order, which the id holds already
        cells = self._cells(name)
        column = self._told(cells) or types.detect(cells)
        if column.kind not in ("date", "integer", "number"):
            example = cells.drop_nulls().head(1).to_list()
            raise DataError(
                f"{self.path}: column {name!r} (data.time) holds neither dates nor numbers, e.g. {example}. Write "
                "dates as 2026-01-31 or 2026-01-31 13:45."
            )
        converted = types.convert(cells, column.kind, column.form)
        self.out[name] = converted.series
        if self.part == "train":
            self._missing_role(cells, "time")
            self._not_of_kind(converted, column)

    def add_feature(self, name: str, known: Column | None) -> Column | None:
        if name in self.out:  # the group or time column, explicitly listed as a feature too
            column = types.detect(self._cells(name)) if self.out[name].dtype == pl.String else None
            return column or types.detect(self.out[name])
        cells = self._cells(name)
        if not types.supported(cells.dtype):
            if self.data.features is not None:
                self._refuse_nested(cells, "features")
            self.notes.append(
                f"column {name!r} holds {cells.dtype} and was left out: only single values can be learned"
            )
            return None
        column = known or self._told(cells) or types.detect(cells)
        if self.part == "train":
            self.oddities += oddities(self.raw.table[name], column, self.data.missing)
        converted = types.convert(cells, column.kind, column.form)
        self.out[name] = converted.series
        self._not_of_kind(converted, column)
        return column

    def _told(self, cells: pl.Series) -> Column | None:
        """What the project file says the column holds."""
        wanted = self.data.types.get(cells.name)
        return None if wanted is None else types.told(cells, wanted)

    def drop_duplicates(self) -> None:
        """Set rows aside that equal an earlier usable one in every column but the id."""
        usable = pl.Series(self.usable)
        found = twins(pl.DataFrame(list(self.out.values())).filter(usable), self.roles)
        later = np.zeros(len(self.usable), dtype=bool)
        later[self.usable] = (found.is_not_null() & ~found.is_first_distinct()).to_numpy()
        reason = "the row equals an earlier one in every column but the id (data.duplicates: drop)"
        self._set_aside(later, self.roles.id, "duplicate-row", reason)

    def add_aside(self, name: str) -> None:
        if name in self.raw.table.columns and name not in self.out:
            self.out[name] = as_key(self._cells(name))

    def finish(self) -> tuple[pl.DataFrame, Quarantine]:
        quarantine = Quarantine(tuple(sorted((*self.raw.violations, *self._broken), key=lambda v: v.row)))
        if not self.usable.any():
            counts = ", ".join(f"{rule} {count:,}" for rule, count in quarantine.counts().items())
            raise DataError(f"{self.path}: none of the {len(self.usable):,} rows can be used ({counts}).")
        return pl.DataFrame(list(self.out.values())).filter(pl.Series(self.usable)), quarantine

    def _missing_role(self, cells: pl.Series, role: str) -> None:
        missing = cells.is_null().to_numpy()
        if missing.mean() > 0.5:
            raise DataError(
                f"{self.path}: column {cells.name!r} (data.{role}) is empty in {int(missing.sum()):,} of "
                f"{len(cells):,} rows. Fill it, or leave data.{role} out."
            )
        self._set_aside(missing, cells.name, f"missing-{role}", f"the {role} column {cells.name!r} is empty")

    def _not_of_kind(self, converted: types.Converted, column: Column) -> None:
        bad = converted.bad.to_numpy()
        if bad.any():
            kind = {"integer": "number"}.get(column.kind, column.kind)
            reason = (
                f"{{value}} is not a {kind}, as column {column.name!r} holds elsewhere; add it to data.missing if it "
                'means "no value"'
            )
            self._set_aside(bad, column.name, converted.rule, reason)

    def _refuse_nested(self, cells: pl.Series, role: str) -> None:
        if not types.supported(cells.dtype):
            raise DataError(f"{self.path}: column {cells.name!r} (data.{role}) holds {cells.dtype}, not single values.")


def with_folders(raw: Raw, group: str | None, image: str | None) -> Raw:
    """Add the column `folder`, the folder of each picture, where it is asked for as the group and is not there.

    Collections with a folder per person or thing say so only in their paths.
    """
    names = raw.table.columns
    if group != pictures.FOLDER or group in names or image not in names or raw.table[image].dtype != pl.String:
        return raw
    folder = pictures.parents(raw.table[image]).alias(pictures.FOLDER)
    return replace(raw, table=raw.table.with_columns(folder))


def as_key(cells: pl.Series) -> pl.Series:
    """Return ids or group names in their own type: Int64 where every one is a whole number, else text.

    Leading zeros and plus signs are part of a name, so `007` stays text.
    """
    if cells.dtype.is_integer() and cells.dtype != pl.UInt64:
        return cells.cast(pl.Int64)
    if cells.dtype == pl.String:
        plain = cells.drop_nulls().str.contains(r"^(0|-?[1-9]\d{0,17})$").all()
        return cells.cast(pl.Int64) if plain and cells.null_count() < len(cells) else cells
    return types.convert(cells, "category").series if types.supported(cells.dtype) else cells


def _first(table: pl.DataFrame) -> np.ndarray:
    """True where a row stands for the first time."""
    return table.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()


def _fingerprint(path: Path, table: pl.DataFrame, image: str | None) -> str:
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(sha256(path).encode())
    if image and table[image].dtype == pl.String:
        for name in table[image].to_list():
            size = os.path.getsize(name)
            digest.update(f"{os.path.relpath(name, path if path.is_dir() else path.parent)}\0{size}\0".encode())
            with open(name, "rb") as handle:
                digest.update(handle.read(_EDGE_BYTES))
                if size > 2 * _EDGE_BYTES:
                    handle.seek(-_EDGE_BYTES, os.SEEK_END)
                digest.update(handle.read(_EDGE_BYTES))
    return digest.hexdigest()
