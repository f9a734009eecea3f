"""Long tables: one row per series and time. Reading them, with everything that was odd counted.

The table that comes out has the columns `series` (String), `time` (Datetime[us, UTC]) and one column per value, sorted,
with one row per series and time. Missing is null; nothing is filled in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from sanmaru.errors import DataError, nearest
from sanmaru.files import sha256
from sanmaru.tables import types
from sanmaru.tables.config import DataConfig, TimeConfig
from sanmaru.tables.contract import Column, Quarantine, Violation
from sanmaru.tables.raw import Raw, read_raw
from sanmaru.tables.times import read_times

SERIES, TIME = "series", "time"
"""Columns of every long table."""
ONE_SERIES = "series"
"""What the one series is called where no column names them."""


@dataclass(frozen=True, kw_only=True)
class Long:
    """A long table, and what was found out while reading it."""

    table: pl.DataFrame
    columns: tuple[Column, ...]
    """Records of the value columns: numbers, or categories."""
    quarantine: Quarantine
    counts: Mapping[str, int] = field(default_factory=dict)
    """What was odd: `identical-rows`, `revised-rows`, `hour-24`, `ambiguous-time`, `nonexistent-time`,
    `unreadable-cells`; only what occurred."""
    notes: tuple[str, ...] = ()
    positions: pl.Series
    """Position of each row in the source, Int64 (n,), from 0."""
    fingerprint: str = ""


def read_long(data: DataConfig, folder: Path, *, zone: str) -> Long:
    """Read the training table of a project as a long table.

    Args:
        data: What the project file says of the data.
        folder: The project folder.
        zone: In which times without a zone were written.

    Raises:
        DataError: when the table cannot be read, a role names no column, or no row has a time.
    """
    path = (folder / Path(data.train).expanduser()).resolve()
    try:
        raw = read_raw(path, encoding=data.encoding)
        found = to_long(raw, data, zone=zone)
    except DataError as error:
        raise error if str(path) in str(error) else DataError(f"{path}: {error}") from error
    digest = sha256(path) if path.is_file() else ""
    return Long(**{**vars(found), "fingerprint": digest})


def to_long(
    raw: Raw | pl.DataFrame,
    data: DataConfig,
    *,
    zone: str,
    columns: Sequence[Column] | None = None,
    needed: bool = True,
) -> Long:
    """Make a long table of rows as they are written.

    Args:
        raw: Rows, as `read_raw` gives them, or a frame.
        data: Which column is what. A frame may also have the columns `series` and `time` of a long table.
        zone: In which times without a zone were written.
        columns: Records of the value columns that an earlier reading found, which the rows are held to.
        needed: Whether targets and covariates must all be there.

    Raises:
        DataError: when a role names no column, or no row has a time.
    """
    if isinstance(raw, pl.DataFrame):
        import numpy as np

        raw = Raw(table=raw, positions=np.arange(len(raw), dtype=np.int64))
    reader = _Reader(raw, data, zone)
    reader.read_keys()
    names = [column.name for column in columns] if columns is not None else reader.value_names()
    known = {column.name: column for column in columns or ()}
    if needed:
        reader.check_roles(names if columns is not None else ())
    records = [reader.add_value(name, known.get(name)) for name in names if name in raw.table.columns]
    table, positions = reader.one_row_per_time()
    described = [types.describe(one, table[one.name]) for one in records if one is not None]
    return Long(
        table=table,
        columns=tuple(described) if columns is None else tuple(columns),
        quarantine=Quarantine((*raw.violations, *reader.broken)),
        counts=reader.counts,
        notes=(*raw.notes, *reader.notes),
        positions=positions,
    )


class _Reader:
    """Adds one column after another and remembers what was odd."""

    def __init__(self, raw: Raw, data: DataConfig, zone: str) -> None:
        self.raw = raw
        self.data = data
        self.zone = zone
        self.table = raw.table
        canonical = SERIES in self.table.columns
        self.series_column = data.series if data.series in self.table.columns else SERIES if canonical else data.series
        wanted = TimeConfig(columns=(data.time,)) if isinstance(data.time, str) else data.time
        if wanted is None or (TIME in self.table.columns and not set(wanted.columns) <= set(self.table.columns)):
            wanted = TimeConfig(columns=(TIME,))
        if data.time is None and TIME not in self.table.columns:
            raise DataError(
                f"data.time is not set: name the column (or columns) with the time of a row. "
                f"{nearest(TIME, self.table.columns)}"
            )
        self.time = wanted
        self.out: dict[str, pl.Series] = {}
        self.broken: list[Violation] = []
        self.counts: dict[str, int] = {}
        self.notes: list[str] = []
        self.usable = pl.repeat(True, len(self.table), eager=True, dtype=pl.Boolean)

    def read_keys(self) -> None:
        """Read series and time of every row; rows without are set aside."""
        data, table = self.data, self.table
        if self.series_column is None:
            series = pl.repeat(ONE_SERIES, len(table), eager=True, dtype=pl.String).alias(SERIES)
        elif self.series_column not in table.columns:
            raise DataError(
                f"the table has no column {self.series_column!r} (data.series). "
                f"{nearest(self.series_column, table.columns)}"
            )
        else:
            cells = types.clean(table[self.series_column], data.missing)
            series = types.convert(cells, "category").series.alias(SERIES)
        times = read_times(table, self.time, series=series, zone=self.zone, missing=data.missing)
        self.counts.update(times.counts)
        self.out = {SERIES: series, TIME: times.utc.alias(TIME)}
        shown = self.time.columns[0]
        self._set_aside(series.is_null(), str(self.series_column), "missing-series", "the row names no series")
        wrong = times.utc.is_null() & ~times.nonexistent
        self._set_aside(wrong & ~series.is_null(), shown, "missing-time", "the row has no time that can be read")
        reason = f"the clocks of {self.zone} left this time out"
        self._set_aside(times.nonexistent, shown, "nonexistent-time", reason)
        if not self.usable.any():
            raise DataError(f"none of the {len(table):,} rows has a series and a time.")

    def value_names(self) -> list[str]:
        """Columns that hold values: all without another use."""
        data = self.data
        used = {*data.drop, *self.time.columns, self.series_column, data.revised, data.id, SERIES, TIME}
        chosen = data.features
        if chosen is not None:
            return list(dict.fromkeys([*data.target_names, *chosen, *data.known, *data.static]))
        return [name for name in self.table.columns if name not in used]

    def check_roles(self, names: Sequence[str]) -> None:
        """Refuse a role that names no column."""
        data = self.data
        roles = {"target": data.target_names, "known": data.known, "static": data.static, "drop": ()}
        for key, wanted in {**roles, "features": names}.items():
            for name in wanted:
                if name not in self.table.columns:
                    told = f"(data.{key})" if key != "features" else "that the model takes"
                    raise DataError(f"the table has no column {name!r} {told}. {nearest(name, self.table.columns)}")
                if name in (SERIES, TIME, "origin", "horizon", "window", "values", "series_code", "at", "fold"):
                    raise DataError(f"a value column may not be called {name!r}, which long tables use. Rename it.")

    def add_value(self, name: str, known: Column | None) -> Column | None:
        """Add a column of numbers or categories; cells that do not fit are taken as missing and counted."""
        cells = types.clean(self.table[name], self.data.missing)
        if not types.supported(cells.dtype):
            self.notes.append(f"column {name!r} holds {cells.dtype} and was left out: only single values can be used")
            return None
        wanted = self.data.types.get(name)
        column = known or (types.told(cells, wanted) if wanted else types.detect(cells))
        if column.kind in ("date", "text", "image"):
            self.notes.append(
                f"column {name!r} holds {column.kind}s and was left out: values are numbers or categories"
            )
            return None
        converted = types.convert(cells, column.kind, column.form)
        bad = converted.bad & self.usable
        if bad.any():
            self.counts["unreadable-cells"] = self.counts.get("unreadable-cells", 0) + int(bad.sum())
            example = str(cells.filter(bad)[0])[:80]
            self.notes.append(
                f"{int(bad.sum()):,} cells of {name!r} are no {column.kind}s and were taken as missing, "
                f"e.g. {example!r}"
            )
        values = converted.series
        self.out[name] = values if column.kind == "category" else values.cast(pl.Float64).alias(name)
        return column

    def one_row_per_time(self) -> tuple[pl.DataFrame, pl.Series]:
        """Sort; drop identical rows; of rows that differ, the last revision wins. Also the position of each row."""
        revised = self.data.revised
        table = pl.DataFrame([*self.out.values(), pl.Series("__row", self.raw.positions, dtype=pl.Int64)])
        if revised is not None:
            if revised not in self.table.columns:
                raise DataError(
                    f"the table has no column {revised!r} (data.revised). {nearest(revised, self.table.columns)}"
                )
            cells = types.clean(self.table[revised], self.data.missing)
            column = types.detect(cells)
            order = types.convert(cells, column.kind, column.form).series.rank("dense").alias("__revised")
            table = table.with_columns(order.fill_null(0))
        else:
            table = table.with_columns(pl.lit(0).alias("__revised"))
        table = table.filter(self.usable)
        values = [name for name in self.out if name not in (SERIES, TIME)]
        distinct = table.unique([SERIES, TIME, *values], keep="first", maintain_order=True)
        identical = table.height - distinct.height
        last = distinct.sort("__revised", maintain_order=True).unique([SERIES, TIME], keep="last", maintain_order=True)
        if identical:
            self.counts["identical-rows"] = identical
        if distinct.height - last.height:
            self.counts["revised-rows"] = distinct.height - last.height
        ordered = last.sort(SERIES, TIME)
        return ordered.drop("__revised", "__row"), ordered["__row"]

    def _set_aside(self, bad: pl.Series, name: str, rule: str, reason: str) -> None:
        bad = bad & self.usable
        if not bad.any():
            return
        self.usable = self.usable & ~bad
        raw = self.table[name] if name in self.table.columns else None
        for place in bad.arg_true().to_list():
            cell = None if raw is None else raw[place]
            value = "" if cell is None else str(cell)[:200]
            row = int(self.raw.positions[place])
            self.broken.append(Violation(row=row, id=None, column=name, value=value, rule=rule, reason=reason))
