"""A csv file of a city's open data, by address or from a folder.

Seoul's hourly and daily files, for one, have the columns 측정일시, 측정소명, 이산화질소농도(ppm), 오존농도(ppm),
이산화탄소농도(ppm) (which is carbon monoxide: the heading is wrong), 아황산가스(ppm), 미세먼지(㎍/㎥),
초미세먼지(㎍/㎥), with times such as 202201010100. They change their headings and encodings from year to year, so
the project file says which column is what.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from sanmaru.collect.base import Answer, BaseSource, CollectError, Parsed, Problem, Request, Span
from sanmaru.collect.config import CityCsvConfig
from sanmaru.collect.sources.csv_rows import read_cells, to_rows


class CityCsv(BaseSource):
    """A csv file as a source.

    Args:
        config: Its part of the project file.
        folder: The project's, for `path:`.
    """

    def __init__(self, config: CityCsvConfig, folder: Path) -> None:
        self.config, self._folder = config, folder

    def expected(self) -> Sequence[str]:
        """Return nothing: the file tells which series there are, unless it is of one."""
        return () if self.config.series else (self.config.series_name,)

    def requests(self, span: Span) -> list[Request]:
        """Return the request of the whole file."""
        return [Request(url=self.config.url or f"file:{self.config.path}", params={})]

    def local(self, request: Request, now: datetime) -> Answer | None:
        """Return the file where it is one of this machine.

        Raises:
            CollectError: when it cannot be read.
        """
        if self.config.path is None:
            return None
        path = self._folder / Path(self.config.path).expanduser()
        try:
            body = path.read_bytes()
        except OSError as error:
            raise CollectError(f"{path} cannot be read: {error.strerror} (collect: path).") from None
        return Answer(request=request, status=200, headers={}, body=body, fetched_at=now)

    def problem(self, answer: Answer) -> Problem | None:
        """Tell pages from files."""
        start = answer.body[:200].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml")):
            return Problem("retry", f"a page instead of a csv file: {start[:60]!r}")
        return Problem("retry", "an empty file") if not answer.body.strip() else None

    def parse(self, answer: Answer) -> Parsed:
        """Return the rows of the file."""
        table, quarantine = to_rows(read_cells(answer.body, self.config), self.config)
        return Parsed(rows=table, quarantine=quarantine)
