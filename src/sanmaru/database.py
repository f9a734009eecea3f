"""Databases by URL: SQLite beside the project, or PostgreSQL or MySQL/MariaDB."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from sanmaru.errors import ProjectFileError, UserError

R = TypeVar("R")
CONFLICTS = frozenset({"40001", "40p01", "1213"})
"""Codes of transactions that were in each other's way: PostgreSQL's serialisation and deadlock, MySQL's deadlock."""
TRIES = 6
"""How often a transaction is begun at most."""


def open_engine(url: str, folder: Path, key: str = "pipeline.ledger") -> sa.Engine:
    """Return an engine for a database that answers.

    Args:
        url: SQLAlchemy URL. A relative SQLite file lies in `folder`.
        folder: The project's.
        key: Of the project file where the URL stands, for messages.

    Raises:
        ProjectFileError: when the URL is none, or its driver is not installed.
        UserError: when the database does not answer.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise ProjectFileError(
            f"{key} {url!r} is no database URL. Write e.g. sqlite:///pipeline.db or postgresql+pg8000://user@host/name."
        ) from None
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and parsed.database and not Path(parsed.database).is_absolute():
        parsed = parsed.set(database=str(folder / parsed.database))
    options: dict[str, Any] = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    try:
        engine = sa.create_engine(parsed, **options)
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        raise ProjectFileError(
            f"{key} {url!r}: its driver is not installed ({error}). PostgreSQL: pip install "
            "'sanmaru[postgres]' and postgresql+pg8000://...; MySQL: 'sanmaru[mysql]' and mysql+pymysql://..."
        ) from None
    if sqlite:
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    try:
        engine.connect().close()
    except sa.exc.DBAPIError as error:
        shown = parsed.render_as_string(hide_password=True)
        raise UserError(f"the database {shown} ({key}) does not answer: {error.orig}") from error
    return engine


def in_transaction(engine: sa.Engine, change: Callable[[sa.Connection], R]) -> R:
    """Return what `change` returns, in a transaction that is begun again where another one was in its way.

    Of two transactions that wait for each other PostgreSQL, MySQL and MariaDB end one, with an error that asks for it
    to be done again. `change` may therefore be called up to `TRIES` times, each with nothing of the time before done.

    Raises:
        sqlalchemy.exc.DBAPIError: any other error, and a conflict that came every time.
    """
    tries = 1
    while True:
        try:
            with engine.begin() as connection:
                return change(connection)
        except sa.exc.DBAPIError as error:
            if tries == TRIES or not driver_codes(error) & CONFLICTS:
                raise
        time.sleep(random.uniform(0.01, 0.1))
        tries += 1


def driver_codes(error: sa.exc.DBAPIError) -> set[str]:
    """Return what the driver says of the kind of error: PostgreSQL's SQLSTATE in lower case, or MySQL's number."""
    arguments = getattr(error.orig, "args", ())
    first = arguments[0] if arguments else None
    # psycopg has an attribute, pg8000 the C field of a message, MySQL's drivers a number before the text.
    found = (getattr(error.orig, "sqlstate", None), first.get("C") if isinstance(first, dict) else first)
    return {str(code).lower() for code in found if isinstance(code, str | int)}


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # Readers beside one writer; a power failure may lose the newest commits, which are then simply done again.
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below, instead of the driver's
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_immediate(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes would fail at once when another writes in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
