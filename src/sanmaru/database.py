"""Databases by URL: SQLite beside the project, or PostgreSQL or MySQL/MariaDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sanmaru.errors import ProjectFileError, UserError


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


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # Readers beside one writer; a power failure may lose the newest commits, which are then simply done again.
    connection.isolation_level = None  # SQLAlchemy's own BEGIN below, instead of the driver's
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_immediate(connection: sa.Connection) -> None:
    # A transaction that reads first and then writes would fail at once when another writes in between.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
