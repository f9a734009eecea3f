"""Collecting one interval: fetch, keep, parse, merge, and say whether it is complete."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from sanmaru.collect import table
from sanmaru.collect.base import Answer, BaseSource, Parsed, Span
from sanmaru.collect.client import Client
from sanmaru.collect.clock import Clock, SystemClock
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.opening import open_source
from sanmaru.collect.store import RawStore
from sanmaru.collect.sweep import Sweep, step_of
from sanmaru.collect.values import MOMENT
from sanmaru.files import whole
from sanmaru.pipelines.context import NotReady
from sanmaru.pipelines.intervals import FORM

_SEEN = timedelta(days=7)
"""Series of these last days are waited for where the source does not say which there are."""


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A complete interval."""

    outputs: dict[str, Any]
    """For the pipeline: `rows` (Path of a Parquet file), `count`, and `ahead` (Path) where the source looks ahead. They
    depend on what is known of the interval and on nothing else, so a repeated collection that brings nothing new
    gives the same."""
    merged: table.MergeReport
    """What the collection did to the collected table."""
    set_aside: int
    """Rows and cells that could not be used."""
    missing: int
    """Rows of the interval that never came and are not waited for."""


def collect_interval(
    name: str,
    config: SourceConfig,
    start: datetime,
    end: datetime,
    folder: Path,
    *,
    project: Path | None = None,
    clock: Clock | None = None,
    seed: int | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Collected:
    """Collect one source for one interval, up to and without its end.

    What came is kept and merged into the collected table even when the interval is not complete yet.

    Args:
        name: Of the source in the project file.
        config: Its config there.
        start: Of the interval, with a time zone.
        end: Of the interval.
        folder: Where answers, tables and intervals are kept (`storage.collected`).
        project: Folder of the project; the parent of `folder` where absent.
        clock: By which is waited; the machine's where absent.
        seed: Of the jitter between tries.
        tell: Called with the requests done and all of them.

    Raises:
        NotReady: when rows are missing that may still come.
        CollectError: when the source refused, or did not answer however often it was asked.
    """
    clock = clock or SystemClock()
    span = Span(start=start.astimezone(UTC), end=end.astimezone(UTC), now=clock.now())
    with RawStore(folder) as store:
        source = open_source(name, config, store, project or folder.parent)
        number, resumed = store.catalogue.begin_sweep(name, span.start, span.end, span.now, resume_s=config.resume_s)
        client = Client(name, source, config, store, clock, seed=seed)
        try:
            series = _series(folder / "tables" / name, source, span)
            sweep = Sweep(name, source, client, store, number, resumed=resumed)
            swept = sweep.run(span, _step(config, span), tell, series=series)
        finally:
            client.close()
        merged, set_aside = _take_in(name, folder, store, swept.parsed)
        if swept.failure is not None:
            raise swept.failure
        missing = _missing(folder / "tables" / name, source, config, span)
        patient = config.patience_s is None or source.time(span.now) < _later(span.end, config.patience_s)
        if patient and (missing or swept.waiting):
            reasons = [*swept.waiting, *([f"{name}: {missing[0]}"] if missing else [])]
            raise NotReady("; ".join(dict.fromkeys(reasons))[:1000])
        store.catalogue.end_sweep(number, "complete", clock.now())
        known_then = store.catalogue.first_complete(name, span.start, span.end) or clock.now()
    outputs = _write(name, folder, span, known_then)
    return Collected(outputs=outputs, merged=merged, set_aside=set_aside, missing=missing[1] if missing else 0)


def with_known(answer: Answer, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the moment at which they became known."""
    return rows.with_columns(pl.lit(answer.fetched_at).cast(MOMENT).alias(table.KNOWN))


def _take_in(
    name: str, folder: Path, store: RawStore, parsed: list[tuple[Answer, Parsed]]
) -> tuple[table.MergeReport, int]:
    if not parsed:
        return table.MergeReport(), 0
    rows = pl.concat([with_known(answer, one.rows) for answer, one in parsed])
    merged = table.merge(folder / "tables" / name, rows)
    ahead = [with_known(answer, one.ahead) for answer, one in parsed if one.ahead is not None]
    if ahead:
        table.merge(folder / "tables" / f"{name}-ahead", pl.concat(ahead))
    for answer, one in parsed:
        note_reading(store, name, answer, one)
    return merged, sum(len(one.quarantine) for _, one in parsed)


def note_reading(store: RawStore, name: str, answer: Answer, parsed: Parsed) -> None:
    """Record in the catalogue what was read from an answer and what was set aside."""
    violations = [asdict(violation) for violation in parsed.quarantine.violations]
    store.catalogue.keep_violations(answer.id, name, parsed.rows.height, violations)


def _series(folder: Path, source: BaseSource, span: Span) -> list[str]:
    """Return the series of which rows are waited for: those the source names, else those of the last days."""
    known = list(source.expected())
    return known or table.read(folder, span.start - _SEEN, span.end)["series"].unique().sort().to_list()


def _missing(folder: Path, source: BaseSource, config: SourceConfig, span: Span) -> tuple[str, int] | None:
    """Return what is missing of an interval, in words and as a number of rows; None where enough is there."""
    step = _step(config, span)
    series = _series(folder, source, span)
    steps = max(1, round((span.end - span.start) / step))
    here = table.read(folder, span.start, span.end)
    values = [name for name in here.columns if name not in table.KEY]
    # A row without a value still says something where a flag says why.
    here = here.filter(pl.any_horizontal(pl.col(values).is_not_null())) if values else here
    found = here.filter(pl.col("series").is_in(series)).select(pl.struct("series", "time").n_unique()).item()
    wanted = max(1, len(series) * steps)
    if found >= math.ceil(config.need * wanted):
        return None
    absent = [name for name in series if name not in set(here["series"])]
    names = f"; nothing of {', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}" if absent else ""
    return (
        f"{found} of {wanted} rows from {span.start.strftime(FORM)} to {span.end.strftime(FORM)}{names}",
        wanted - found,
    )


def _write(name: str, folder: Path, span: Span, known_then: datetime) -> dict[str, Any]:
    """Write the interval as it is known now, and what lies ahead as it was known when it was first complete."""
    stem = span.start.strftime("%Y-%m-%dT%H%MZ")
    place = folder / "intervals" / name / f"{stem[:7]}" / f"{stem}-{span.end.strftime('%Y-%m-%dT%H%MZ')}.parquet"
    rows = table.read(folder / "tables" / name, span.start, span.end)
    _put(place, rows)
    outputs: dict[str, Any] = {"rows": place, "count": rows.height}
    if (folder / "tables" / f"{name}-ahead" / table.MANIFEST).exists():
        ahead = place.with_name(f"{place.stem}-ahead.parquet")
        _put(ahead, table.read(folder / "tables" / f"{name}-ahead", span.end, None, known_then, known=True))
        outputs["ahead"] = ahead
    return outputs


def _put(path: Path, rows: pl.DataFrame) -> None:
    with whole(path) as beside:
        rows.write_parquet(beside, compression="zstd", statistics=False)


def _step(config: SourceConfig, span: Span) -> timedelta:
    return step_of(config.every, span.start)


def _later(moment: datetime, seconds: float) -> datetime:
    return moment + timedelta(seconds=seconds)
