"""The collected table: observations by series and time, with every revision and when each became known.

One Parquet file per month holds all versions of its rows, in order of series, time and `known`; a version that says
the same as the one before it is not kept. `table.json` names the files. Files are named by their content and
written first; the manifest is replaced last, in one rename: a reader, and a crash, find the table as it was or as
it is now.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.collect.values import MOMENT
from sanmaru.errors import DataError
from sanmaru.files import read_json, whole, write_json

MANIFEST = "table.json"
KEY = ("series", "time")
KNOWN = "known"
SEEN = "seen"
LOCK_S = 120.0


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What new rows did to a table. Added, revised, unchanged and duplicates sum up to the rows given."""

    added: int = 0
    """Rows of a series and time that the table did not have."""
    revised: int = 0
    """Rows that say something else than what was known before."""
    unchanged: int = 0
    """Rows that say what was known already."""
    duplicates: int = 0
    """Rows that stood twice for one series, time and moment of knowing; the last counts."""
    revised_times: tuple[datetime, ...] = ()
    """Times of the revised rows, in order."""


def merge(folder: Path, rows: pl.DataFrame, fetched_at: datetime | None = None) -> MergeReport:
    """Bring new rows into a table: wholly, or on any failure not at all.

    What was fetched last counts, and what was known before is kept. Rows may come in any order of fetching, and may
    come again. A column that the rows do not bring keeps its values; a new column is null in earlier rows.

    Args:
        folder: Of the table; made where absent.
        rows: Long table: series, time (a UTC Datetime), values. NaN counts as null.
        fetched_at: When they became known; needed unless the rows have a column `known`.

    Raises:
        DataError: when the rows are no long table, or the table cannot be read.
    """
    new = _prepare(rows, fetched_at)
    if not new.height:
        return MergeReport()
    with _locked(folder):
        manifest = _manifest(folder)
        files = dict(manifest["files"])
        reports = []
        for month, part in _by_month(new):
            old = pl.read_parquet(folder / files[month]) if month in files else None
            versions, report = fold(old, part)
            files[month] = _write(folder, month, versions)
            reports.append(report)
        _commit(folder, files, manifest["files"])
    return _sum(reports)


def rebuild(folder: Path, batches: Iterable[pl.DataFrame]) -> MergeReport:
    """Make a table anew from all rows ever fetched (with their column `known`), in one step for whoever reads it."""
    versions: dict[str, pl.DataFrame] = {}
    reports = []
    for rows in batches:
        for month, part in _by_month(_prepare(rows, None)):
            versions[month], report = fold(versions.get(month), part)
            reports.append(report)
    with _locked(folder):
        manifest = _manifest(folder)
        files = {month: _write(folder, month, part) for month, part in sorted(versions.items())}
        _commit(folder, files, manifest["files"])
    return _sum(reports)


def read(
    folder: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    *,
    known: bool = False,
    history: bool = False,
) -> pl.DataFrame:
    """Return the rows of a span as they are known, or as they were known at a moment.

    Args:
        folder: Of the table; one that is absent has no rows. start: First time; from the beginning where absent.
        end: Up to, and without, this time. as_of: Leave out what became known later. known: Add the column `known`,
        when each row's values became known. history: Every version instead of the newest, with `known` and `seen`,
        the last moment at which the source told it.

    Returns:
        Long table in order of series and time (and `known`).
    """
    for _ in range(20):
        try:
            found = _versions(folder, start, end, as_of)
            break
        except FileNotFoundError:  # two merges ended while we read: what the manifest named is gone
            time.sleep(0.01)
    else:
        raise DataError(f"{folder} changes faster than it can be read, or files that {MANIFEST} names are absent.")
    if not history:
        found = found.unique(KEY, keep="last", maintain_order=True)
    if history:
        return found
    return found.drop(SEEN) if known else found.drop(KNOWN, SEEN)


def fold(old: pl.DataFrame | None, new: pl.DataFrame) -> tuple[pl.DataFrame, MergeReport]:
    """Put new rows among the versions of before.

    A version says from when (`known`) and until when at least (`seen`) the source told the same. Each stands for a
    point at either end; with the points of new rows in between, equal neighbours make one version again:

        old  1.0 from 0 to 2        points  0: 1.0   2: 1.0
        new  2.0 at 1                       1: 2.0               versions  1.0 (0 to 0), 2.0 (1 to 1), 1.0 (2 to 2)

    Args:
        old: Versions of before, or None.
        new: New rows with series, time, known and values.
    """
    given = new.height
    new = new.unique([*KEY, KNOWN], keep="last", maintain_order=True)
    before = new.clear().with_columns(pl.col(KNOWN).alias(SEEN)) if old is None else old
    confirmed = before.filter(pl.col(SEEN) > pl.col(KNOWN)).with_columns(pl.col(SEEN).alias(KNOWN))
    points = pl.concat([before, confirmed]).drop(SEEN).with_columns(_new=False)
    both = pl.concat([points, new.with_columns(_new=True)], how="diagonal_relaxed")
    both = both.unique([*KEY, KNOWN], keep="last", maintain_order=True).sort(*KEY, KNOWN)
    values = sorted(name for name in both.columns if name not in (*KEY, KNOWN, "_new"))
    absent = [name for name in values if name not in new.columns]
    if absent:  # a struct tells "was null" from "was not said"
        said = pl.when(~pl.col("_new")).then(pl.struct(absent)).forward_fill().over(KEY)
        both = both.with_columns(said.alias("_said"))
        both = both.with_columns(pl.col("_said").struct.field(name).alias(name) for name in absent).drop("_said")
    differs = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in (*KEY, *values)]
    both = both.with_columns(_run=pl.any_horizontal(differs).cum_sum())
    versions = both.group_by("_run", maintain_order=True).agg(
        *(pl.col(name).first() for name in (*KEY, KNOWN)),
        pl.col(KNOWN).last().alias(SEEN),
        *(pl.col(name).first() for name in values),
        pl.col("_new").all().alias("_new"),
    )
    fresh = versions.filter("_new").with_columns(
        _added=(pl.int_range(pl.len()).over(KEY) == 0)
        & ~pl.struct(KEY).is_in(before.select(pl.struct(KEY).unique()).to_series().implode())
    )
    revised = fresh.filter(~pl.col("_added"))
    report = MergeReport(
        added=fresh.height - revised.height,
        revised=revised.height,
        unchanged=new.height - fresh.height,
        duplicates=given - new.height,
        revised_times=tuple(revised["time"].unique().sort().to_list()),
    )
    return versions.select(*KEY, KNOWN, SEEN, *values), report


def _versions(folder: Path, start: datetime | None, end: datetime | None, as_of: datetime | None) -> pl.DataFrame:
    parts = []
    for month, name in sorted(_manifest(folder)["files"].items()):
        if (start is None or month >= f"{start.astimezone(UTC):%Y-%m}") and (
            end is None or month <= f"{end.astimezone(UTC):%Y-%m}"
        ):
            part = pl.read_parquet(folder / name)
            if start is not None:
                part = part.filter(pl.col("time") >= start)
            if end is not None:
                part = part.filter(pl.col("time") < end)
            parts.append(part if as_of is None else part.filter(pl.col(KNOWN) <= as_of))
    empty = pl.DataFrame(schema={"series": pl.String, "time": MOMENT, KNOWN: MOMENT, SEEN: MOMENT})
    return pl.concat([empty, *parts], how="diagonal_relaxed").sort(*KEY, KNOWN)


def _prepare(rows: pl.DataFrame, fetched_at: datetime | None) -> pl.DataFrame:
    if KNOWN not in rows.columns:
        if fetched_at is None or fetched_at.tzinfo is None:
            raise DataError(
                f"rows without a column {KNOWN!r} need fetched_at, a time with a time zone; got {fetched_at!r}."
            )
        rows = rows.with_columns(pl.lit(fetched_at.astimezone(UTC)).cast(MOMENT).alias(KNOWN))
    for name, kind in (("series", pl.String), ("time", pl.Datetime), (KNOWN, pl.Datetime)):
        if rows.schema.get(name) != kind:
            raise DataError(f"rows of a collected table need a column {name!r} of {kind}, got {rows.schema.get(name)}.")
    naive = [name for name in ("time", KNOWN) if rows.schema[name].time_zone is None]  # type: ignore[attr-defined]
    if naive:
        raise DataError(f"{naive[0]!r} has no time zone. Say which: dt.replace_time_zone('Asia/Seoul').")
    rows = rows.with_columns(pl.col(name).dt.convert_time_zone("UTC").cast(MOMENT) for name in ("time", KNOWN))
    if rows.select(pl.any_horizontal(pl.col(*KEY, KNOWN).is_null()).any()).item():
        raise DataError("rows of a collected table need a series and a time each, and some have none.")
    return rows.with_columns(pl.selectors.float().fill_nan(None))


def _by_month(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    parts = rows.with_columns(_month=pl.col("time").dt.strftime("%Y-%m")).partition_by("_month", as_dict=True)
    for month, part in sorted(parts.items()):
        yield str(month[0]), part.drop("_month")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        content = read_json(folder / MANIFEST)
    except FileNotFoundError:
        return {"files": {}, "before": {}}
    if not isinstance(content, dict) or content.get("form") != 1:
        raise DataError(f"{folder / MANIFEST} is of a form that this version does not read.")
    return content


def _write(folder: Path, month: str, versions: pl.DataFrame) -> str:
    buffer = io.BytesIO()
    versions.write_parquet(buffer, compression="zstd", statistics=False)
    name = f"{month}-{hashlib.sha256(buffer.getbuffer()).hexdigest()[:16]}.parquet"
    if not (folder / name).exists():
        with whole(folder / name) as beside:
            beside.write_bytes(buffer.getbuffer())
    return name


def _commit(folder: Path, files: dict[str, str], before: dict[str, str]) -> None:
    if files != before or not (folder / MANIFEST).exists():
        write_json(folder / MANIFEST, {"form": 1, "files": files, "before": before})
    # Readers may still hold the manifest of before: its files stay until the next merge.
    named = {*files.values(), *before.values(), MANIFEST}
    for path in folder.iterdir():
        if path.name not in named and (path.suffix == ".parquet" or path.name.endswith(".part")):
            path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the table for writing; the lock is SQLite's, which the system frees when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "lock.db", timeout=LOCK_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise DataError(f"{folder} was held by another process for more than {LOCK_S:g} s ({error}).") from None
        yield


def _sum(reports: list[MergeReport]) -> MergeReport:
    return MergeReport(
        added=sum(one.added for one in reports),
        revised=sum(one.revised for one in reports),
        unchanged=sum(one.unchanged for one in reports),
        duplicates=sum(one.duplicates for one in reports),
        revised_times=tuple(sorted({moment for one in reports for moment in one.revised_times})),
    )
