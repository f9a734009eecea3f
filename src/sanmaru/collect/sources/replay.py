"""Recorded data fed as if it were measured now, with lateness, loss and revisions of its own making.

What happens to a row is drawn from a hash of seed, series and time, so it is the same whenever and in whatever
order spans are asked for.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from sanmaru.collect.base import Answer, BaseSource, CollectError, Parsed, Request, Span
from sanmaru.collect.catalogue import stamp, unstamp
from sanmaru.collect.config import ReplayConfig
from sanmaru.collect.sources.csv_rows import TIME, read_cells, to_rows
from sanmaru.collect.values import number
from sanmaru.pipelines.intervals import parse_moment

END = datetime.max.replace(tzinfo=UTC)
"""The time of a recording that stands complete."""
_FORM = "%Y-%m-%dT%H:%M:%S"


class Replay(BaseSource):
    """Recorded data as a source.

    Args:
        config: Its part of the project file.
        folder: The project's, for `path:`.
        began: Takes the time and returns when the replay was first asked.
    """

    def __init__(self, config: ReplayConfig, folder: Path, began: Callable[[datetime], datetime]) -> None:
        self.config, self._folder, self._began = config, folder, began

    def expected(self) -> Sequence[str]:
        """Return nothing where the recording has several series: it tells itself which."""
        return () if self.config.series else (self.config.series_name,)

    def time(self, now: datetime) -> datetime:
        """Return the recorded time to which the replay has come."""
        if self.config.speed is None:
            return END
        passed = (now - self._began(now)).total_seconds() * self.config.speed
        return self._start + timedelta(seconds=passed)

    def requests(self, span: Span) -> list[Request]:
        """Return the request of the span's rows."""
        return [Request(url="replay:", params={"start": stamp(span.start), "end": stamp(span.end)})]

    def local(self, request: Request, now: datetime) -> Answer | None:
        """Return, as a csv file, the rows of a span that have arrived by now."""
        start, end = unstamp(request.params["start"]), unstamp(request.params["end"])
        reached = self.time(now)
        known = now if self.config.speed is None else reached  # on the clock of the recording, as the rows are
        config = self.config
        cells = self._cells.filter((pl.col(TIME) >= start) & (pl.col(TIME) < end) & (pl.col(TIME) <= reached))
        table = cells.with_columns(pl.col(TIME).dt.strftime(_FORM))
        if config.late or config.lost or config.revised:
            told = (self._told(row, reached) for row in cells.iter_rows(named=True))
            table = pl.DataFrame([row for row in told if row is not None], schema=table.schema)
        return Answer(request=request, status=200, headers={}, body=table.write_csv().encode(), fetched_at=known)

    def parse(self, answer: Answer) -> Parsed:
        """Return the rows that were fed."""
        plain = self.config.model_copy(update={"encoding": "utf-8", "time": (TIME,), "form": _FORM, "zone": "UTC"})
        table, quarantine = to_rows(read_cells(answer.body, plain), plain)
        return Parsed(rows=table, quarantine=quarantine)

    def _told(self, row: dict[str, object], reached: datetime) -> dict[str, object] | None:
        """Return a row as it stands when the replay has reached a time; None when it has not come, or never will."""
        config, time = self.config, row.pop(TIME)
        assert isinstance(time, datetime)
        series = str(row.get(config.series)) if config.series else config.series_name
        lost, late, by, wrong, way = _draws(f"{config.seed}|{series}|{stamp(time)}", 5)
        if lost < config.lost:
            return None
        arrives = time + timedelta(seconds=-math.log1p(-by) * config.late_s if late < config.late else 0)
        if arrives > reached:
            return None
        if wrong < config.revised and reached < time + timedelta(seconds=config.revised_after_s):
            factor = math.exp(config.revised_by * math.sqrt(2) * _inverse_erf(2 * way - 1))
            for name in config.columns:
                row[name] = _scaled(row[name], factor)
        return {**row, TIME: time.strftime(_FORM)}

    @cached_property
    def _cells(self) -> pl.DataFrame:
        path = self._folder / Path(os.path.expandvars(self.config.path)).expanduser()
        if "$" in str(path):
            raise CollectError(f"{self.config.path}: the environment variable is not set (collect: path).")
        files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        try:
            tables = [read_cells(file.read_bytes(), self.config) for file in files]
        except OSError as error:
            raise CollectError(f"{error.filename} cannot be read: {error.strerror} (collect: path).") from None
        if not tables:
            raise CollectError(f"{path} holds no csv files (collect: path).")
        cells = pl.concat(tables, how="diagonal")
        return cells.filter(pl.col(TIME).is_not_null()).sort(TIME, maintain_order=True)

    @cached_property
    def _start(self) -> datetime:
        if self.config.begin is not None:
            return parse_moment(self.config.begin, self.config.zone).astimezone(UTC)
        first = self._cells[TIME].min()
        if not isinstance(first, datetime):
            raise CollectError(f"{self.config.path}: no time could be read (collect: time, form).")
        return first.replace(tzinfo=ZoneInfo("UTC")).astimezone(UTC)


def _draws(text: str, number_of: int) -> list[float]:
    """Return numbers in [0, 1) that a text decides."""
    digest = hashlib.blake2b(text.encode(), digest_size=8 * number_of).digest()
    return [(int.from_bytes(digest[8 * i : 8 * i + 8]) >> 11) / 2**53 for i in range(number_of)]


def _inverse_erf(x: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(min(max(x, -0.999999), 0.999999)))


def _scaled(cell: object, factor: float) -> object:
    try:
        value = number(cell)
    except ValueError:
        return cell
    return cell if value is None else f"{value * factor:.6g}"
