"""The catalogue of a raw store: every attempt, what it brought, and what was read from it, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, sweep INTEGER NOT NULL, request TEXT NOT NULL, url TEXT NOT NULL,
    params TEXT NOT NULL, page INTEGER NOT NULL, fetched_at TEXT NOT NULL, status INTEGER, headers TEXT, body TEXT,
    size INTEGER, problem TEXT);
CREATE INDEX IF NOT EXISTS attempts_by_request ON attempts (source, request, id);
CREATE INDEX IF NOT EXISTS attempts_by_day ON attempts (url, fetched_at);
CREATE TABLE IF NOT EXISTS sweeps (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, start TEXT NOT NULL, end TEXT NOT NULL, begun_at TEXT NOT NULL,
    ended_at TEXT, outcome TEXT);
CREATE INDEX IF NOT EXISTS sweeps_by_span ON sweeps (source, start, end, id);
CREATE TABLE IF NOT EXISTS parsed (
    attempt INTEGER PRIMARY KEY, source TEXT NOT NULL, rows INTEGER NOT NULL, set_aside INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS set_aside (
    attempt INTEGER NOT NULL, source TEXT NOT NULL, row INTEGER NOT NULL, id TEXT, "column" TEXT NOT NULL,
    value TEXT NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS set_aside_by_attempt ON set_aside (attempt);
CREATE TABLE IF NOT EXISTS pace (host TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


def stamp(moment: datetime) -> str:
    """Return a moment as text of UTC, which sorts as time does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unstamp(text: str) -> datetime:
    """Return the moment of `stamp`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


class Catalogue:
    """One SQLite file; several processes may use it at once.

    A power failure may lose the newest entries (never tear one): what they stood for is simply asked again.

    Args:
        path: The file; made where absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        with self.changing() as connection:
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection within one transaction, of which all or nothing is kept."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Return what a query finds."""
        return self._connection.execute(query, values).fetchall()

    def begin_sweep(
        self, source: str, start: datetime, end: datetime, now: datetime, *, resume_s: float
    ) -> tuple[int, bool]:
        """Return the number of the collection of a span: that of one that broke off not long ago, else a new one.

        Returns:
            The number, and whether it goes on with an earlier one.
        """
        with self.changing() as connection:
            span = (source, stamp(start), stamp(end))
            last = connection.execute(
                "SELECT * FROM sweeps WHERE source = ? AND start = ? AND end = ? ORDER BY id DESC LIMIT 1", span
            ).fetchone()
            if last is not None and last["outcome"] is None:
                age = (now - unstamp(last["begun_at"])).total_seconds()
                if 0 <= age <= resume_s:
                    return int(last["id"]), True
            done = connection.execute(
                "INSERT INTO sweeps (source, start, end, begun_at) VALUES (?, ?, ?, ?)", (*span, stamp(now))
            )
            return int(done.lastrowid or 0), False

    def end_sweep(self, sweep: int, outcome: str, now: datetime) -> None:
        """Record that a collection came to its end."""
        with self.changing() as connection:
            connection.execute("UPDATE sweeps SET outcome = ?, ended_at = ? WHERE id = ?", (outcome, stamp(now), sweep))

    def first_complete(self, source: str, start: datetime, end: datetime) -> datetime | None:
        """Return when a span was first collected completely."""
        found = self.rows(
            "SELECT ended_at FROM sweeps WHERE source = ? AND start = ? AND end = ? AND outcome = 'complete' "
            "ORDER BY id LIMIT 1",
            (source, stamp(start), stamp(end)),
        )
        return unstamp(found[0]["ended_at"]) if found else None

    def asked_since(self, url: str, since: datetime) -> int:
        """Return how often an address was asked since a moment, whatever came of it."""
        found = self.rows("SELECT count(*) FROM attempts WHERE url = ? AND fetched_at >= ?", (url, stamp(since)))
        return int(found[0][0])

    def keep_violations(self, attempt: int, source: str, rows: int, violations: Sequence[Mapping[str, Any]]) -> None:
        """Record what was read from an answer, in place of an earlier reading."""
        with self.changing() as connection:
            connection.execute("DELETE FROM set_aside WHERE attempt = ?", (attempt,))
            connection.executemany(
                "INSERT INTO set_aside VALUES (:attempt, :source, :row, :id, :column, :value, :rule, :reason)",
                [{"attempt": attempt, "source": source, **one} for one in violations],
            )
            aside = len({one["row"] for one in violations})
            connection.execute("INSERT OR REPLACE INTO parsed VALUES (?, ?, ?, ?)", (attempt, source, rows, aside))

    def note(self, name: str, value: str) -> str:
        """Keep a value under a name unless one is kept already; return the one that is kept."""
        with self.changing() as connection:
            connection.execute("INSERT OR IGNORE INTO notes VALUES (?, ?)", (name, value))
            return str(connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()[0])

    def add_attempt(
        self,
        *,
        source: str,
        sweep: int,
        request: str,
        url: str,
        params: Mapping[str, str],
        page: int,
        fetched_at: datetime,
        status: int | None,
        headers: Mapping[str, str],
        body: str | None,
        size: int,
        problem: str | None,
    ) -> int:
        """Add an attempt and return its number."""
        shown = (json.dumps(dict(params), ensure_ascii=False, sort_keys=True), page, stamp(fetched_at))
        with self.changing() as connection:
            done = connection.execute(
                "INSERT INTO attempts (source, sweep, request, url, params, page, fetched_at, status, headers, body, "
                "size, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (source, sweep, request, url, *shown, status, json.dumps(dict(headers)), body, size, problem),
            )
            return int(done.lastrowid or 0)
