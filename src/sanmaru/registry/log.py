"""The log of moves: who gave which alias to which version, when and why, and what was refused.

It lies in the registry's own database, in a table that only grows: triggers abort updates and deletions where the
database has them, and every entry holds the hash of the one before, so that a change made in spite of them is found
by `MoveLog.verify`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from sanmaru.errors import RegistryError
from sanmaru.files import read_json, write_json
from sanmaru.registry.lock import locked

Kind = Literal["register", "promote", "rollback", "refused", "failed", "found"]
START = "0" * 64
"""What stands for the hash before the first entry."""

_TABLE = "sanmaru_moves"
_METADATA = sa.MetaData()
_MOVES = sa.Table(
    _TABLE,
    _METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(40), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer),
    sa.Column("alias", sa.String(40), nullable=False),
    sa.Column("previous", sa.Integer),
    sa.Column("forced", sa.Integer, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("checks", sa.Text, nullable=False),
    sa.Column("before", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    mysql_charset="utf8mb4",
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log."""

    seq: int
    """From 1, without gaps."""
    at: str
    """UTC, ISO 8601."""
    who: str
    """User of the operating system."""
    kind: Kind
    """`found` records an alias that was moved by other hands, `failed` a move that the registry then did not make."""
    name: str
    version: int | None
    alias: str
    previous: int | None
    """The version that held the alias before."""
    forced: bool
    why: str
    checks: tuple[Mapping[str, Any], ...]
    """What the gate found: `name`, `passed`, `text`."""
    before: str
    """Hash of the entry before this one."""
    hash: str

    def digest(self) -> str:
        """Compute the hash that the entry should have: SHA-256 over all other fields as sorted JSON."""
        content = {key: value for key, value in asdict(self).items() if key != "hash"}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


class MoveLog:
    """The log in the database at `url`.

    Args:
        url: SQLAlchemy URL: SQLite, PostgreSQL or MySQL/MariaDB.
        head: File in which the newest entry's number and hash are also kept, so that entries cut off at the end of
            the log are missed too.
    """

    def __init__(self, url: str, head: Path | None = None) -> None:
        self.url = url
        self._head = head
        self._ready = False

    @property
    def _engine(self) -> sa.Engine:
        return engine(self.url, os.getpid())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the registry's lock: moves are made one at a time, on all machines that share the database.

        Raises:
            RegistryError: when another holds it for more than a minute.
        """
        with locked(self._engine):
            yield

    def append(
        self,
        *,
        kind: Kind,
        name: str,
        version: int | None,
        alias: str,
        previous: int | None = None,
        forced: bool = False,
        why: str = "",
        checks: Sequence[Mapping[str, Any]] = (),
    ) -> Entry:
        """Add an entry. Call it with the lock held."""
        self._create()
        with self._engine.begin() as connection:
            last = connection.execute(sa.select(_MOVES).order_by(_MOVES.c.seq.desc()).limit(1)).mappings().first()
            fields: dict[str, Any] = {
                "seq": last["seq"] + 1 if last else 1,
                "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "who": _plain(_user())[:200],
                "kind": kind,
                "name": name,
                "version": version,
                "alias": alias,
                "previous": previous,
                "forced": forced,
                "why": _plain(why),
                "checks": tuple({key: _plain(v) if isinstance(v, str) else v for key, v in c.items()} for c in checks),
                "before": last["hash"] if last else START,
            }
            entry = Entry(**fields, hash="")
            entry = Entry(**fields, hash=entry.digest())
            row = {**fields, "forced": int(forced), "checks": json.dumps(entry.checks, ensure_ascii=False)}
            connection.execute(sa.insert(_MOVES).values(**row, hash=entry.hash))
        if self._head is not None:
            write_json(self._head, {"seq": entry.seq, "hash": entry.hash})
        return entry

    def entries(self, name: str | None = None) -> list[Entry]:
        """Every entry, oldest first; of one model where named."""
        if not self._exists():
            return []
        query = sa.select(_MOVES).order_by(_MOVES.c.seq)
        if name is not None:
            query = query.where(_MOVES.c.name == name)
        with self._engine.connect() as connection:
            return [_entry(dict(row)) for row in connection.execute(query).mappings()]

    def verify(self) -> int:
        """Check the chain from the first entry to the last.

        Returns:
            The number of entries.

        Raises:
            RegistryError: naming the first entry that was altered, or the gap where entries are missing.
        """
        before, entries = START, self.entries()
        for number, entry in enumerate(entries, start=1):
            if entry.seq != number:
                raise RegistryError(f"the log of moves was tampered with: entry {number} is missing ({self._where()}).")
            if entry.before != before or entry.digest() != entry.hash:
                raise RegistryError(
                    f"the log of moves was tampered with: entry {number} ({entry.kind} {entry.name}, {entry.at}) is "
                    f"not as it was written ({self._where()})."
                )
            before = entry.hash
        if self._head is not None and self._head.is_file():
            head = read_json(self._head)
            if len(entries) < head["seq"] or entries[head["seq"] - 1].hash != head["hash"]:
                raise RegistryError(
                    f"the log of moves was tampered with: it held entry {head['seq']} with another hash or end "
                    f"({self._where()}; noted in {self._head})."
                )
        return len(entries)

    def _where(self) -> str:
        return f"table {_TABLE} in {sa.make_url(self.url).render_as_string(hide_password=True)}"

    def _exists(self) -> bool:
        database = sa.make_url(self.url).database
        if self.url.startswith("sqlite") and not (database and Path(database).is_file()):
            return False
        return sa.inspect(self._engine).has_table(_TABLE)

    def _create(self) -> None:
        if self._ready:
            return
        if not sa.inspect(self._engine).has_table(_TABLE):
            with self._engine.begin() as connection:
                _METADATA.create_all(connection)
                for statement in _guards(self._engine.dialect.name):
                    connection.exec_driver_sql(statement)
        self._ready = True


@functools.lru_cache(maxsize=16)
def engine(url: str, pid: int) -> sa.Engine:
    """The engine for a database; one per process, for connections do not survive a fork."""
    del pid
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    return sa.create_engine(url, **options)


def _guards(dialect: str) -> list[str]:
    """Statements that make the table append-only, for databases that have triggers."""
    said = f"{_TABLE} is append-only"
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {_TABLE}_{verb.lower()} BEFORE {verb} ON {_TABLE} BEGIN SELECT RAISE(ABORT, '{said}'); END"
            for verb in ("UPDATE", "DELETE")
        ]
    if dialect == "postgresql":
        function = (
            f"CREATE OR REPLACE FUNCTION {_TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{said}'; END $$"
        )
        return [
            function,
            f"CREATE TRIGGER {_TABLE}_rows BEFORE UPDATE OR DELETE ON {_TABLE} "
            f"FOR EACH ROW EXECUTE FUNCTION {_TABLE}_refuse()",
            f"CREATE TRIGGER {_TABLE}_truncate BEFORE TRUNCATE ON {_TABLE} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_TABLE}_refuse()",
        ]
    if dialect in ("mysql", "mariadb"):
        return [
            f"CREATE TRIGGER {_TABLE}_{verb.lower()} BEFORE {verb} ON {_TABLE} "
            f"FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{said}'"
            for verb in ("UPDATE", "DELETE")
        ]
    return []


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(**{**row, "forced": bool(row["forced"]), "checks": tuple(json.loads(row["checks"]))})


def _plain(text: str) -> str:
    """Text that every database stores as it is: no NUL, no half of a character pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this user, as in some containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
