"""One lock per registry database, freed by the database itself when its holder dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa

from sanmaru.errors import RegistryError

WAIT_S = 60
_NAME = "sanmaru-registry"
_NUMBER = 0x73616E6D6172  # "sanmar", the number of the advisory lock in PostgreSQL


@contextlib.contextmanager
def locked(engine: sa.Engine, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold the lock of a database while the block runs.

    MLflow writes to the same database through connections of its own, and so the lock must not be a transaction
    on it. SQLite: an exclusive transaction on a second, empty database beside the first. PostgreSQL and MySQL: their
    advisory locks. Elsewhere nothing is held; the log's unique numbers then let one of two writers fail.

    Raises:
        RegistryError: when the lock was not free within `wait_s` seconds.
    """
    match engine.dialect.name:
        case "sqlite":
            with _sqlite(engine, wait_s):
                yield
        case "postgresql":
            with engine.connect() as connection:
                try:
                    connection.execute(sa.text(f"SET lock_timeout = {int(wait_s * 1000)}"))
                    connection.execute(sa.text("SELECT pg_advisory_lock(:n)"), {"n": _NUMBER})
                except sa.exc.DBAPIError as error:
                    raise _busy(wait_s) from error
                try:
                    yield
                finally:
                    connection.execute(sa.text("SELECT pg_advisory_unlock(:n)"), {"n": _NUMBER})
                    connection.execute(sa.text("SET lock_timeout = DEFAULT"))
        case "mysql" | "mariadb":
            with engine.connect() as connection:
                # The lock is the server's, not the database's: its name carries that of the database.
                name = f"{_NAME}-{engine.url.database}"[:64]
                if connection.execute(sa.text("SELECT GET_LOCK(:n, :s)"), {"n": name, "s": wait_s}).scalar() != 1:
                    raise _busy(wait_s)
                try:
                    yield
                finally:
                    connection.execute(sa.text("SELECT RELEASE_LOCK(:n)"), {"n": name})
        case _:
            yield


@contextlib.contextmanager
def _sqlite(engine: sa.Engine, wait_s: float) -> Iterator[None]:
    import sqlite3

    database = engine.url.database
    if not database or database == ":memory:":
        yield
        return
    connection = sqlite3.connect(f"{database}.lock", timeout=wait_s, isolation_level=None)
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _busy(wait_s) from error
        yield
    finally:
        connection.close()


def _busy(wait_s: float) -> RegistryError:
    return RegistryError(
        f"another process has been changing the registry for more than {wait_s:g} s. Try again when it has ended."
    )
