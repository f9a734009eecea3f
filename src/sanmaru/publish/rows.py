"""Forecasts as rows of a database: one per model, series, origin and horizon, written again without doubling.

The table has a column per target and quantile (`pm25`, `pm25_q10` ...); columns that a new target needs are added. One
transaction writes a whole forecast: readers see the old one or the new one. Times are UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl
import sqlalchemy as sa

from sanmaru.database import in_transaction
from sanmaru.errors import DataError

KEYS = ("model", "series", "origin", "horizon")
TABLE = "sanmaru_forecasts"
_FIXED = (*KEYS, "version", "time")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")


def upsert_forecasts(
    engine: sa.Engine, forecast: pl.DataFrame, *, model: str = "", version: str = "", table: str = TABLE
) -> int:
    """Write a forecast table to a database in one transaction; rows that are there already are replaced.

    Args:
        engine: SQLite, PostgreSQL or MySQL/MariaDB, as `sanmaru.database.open_engine` gives it.
        forecast: Columns series, origin, horizon, time and numbers (`pm25`, `pm25.q10` ...); `model` and `version`
            where it has them. A missing number (null, NaN) is written as NULL.
        model: Where the table has no such column.
        version: Where the table has no such column.
        table: Name of the database's table; made where it is missing.

    Returns:
        The number of rows written.

    Raises:
        DataError: for a table that lacks columns, has a key twice, or has names that cannot be columns of a database.
    """
    frame, names = _prepare(forecast, model, version)
    if frame.is_empty():
        return 0
    target = _table(table, list(names.values()))
    _make(engine, target)
    rows = frame.rename(names).sort(KEYS).to_dicts()  # so that two writers of the same rows lock them in one order
    in_transaction(engine, lambda connection: _write(connection, target, rows))
    return len(rows)


def read_forecasts(engine: sa.Engine, *, table: str = TABLE) -> pl.DataFrame:
    """Return every row of the table, times as UTC, sorted by its key; columns as the database names them."""
    # Not reflected: MySQL's DOUBLE would then be read through a decimal of ten digits.
    columns = [column["name"] for column in sa.inspect(engine).get_columns(table)]
    found = _table(table, [name for name in columns if name not in _FIXED])
    with engine.connect() as connection:
        rows = connection.execute(sa.select(found).order_by(*(found.c[key] for key in KEYS))).mappings().all()
    schema = {
        column.name: pl.Datetime("us") if column.name in ("origin", "time") else pl.Int32
        if column.name == "horizon" else pl.String if column.name in _FIXED else pl.Float64
        for column in found.columns
    }  # fmt: skip
    frame = pl.DataFrame([dict(row) for row in rows], schema=schema)
    return frame.with_columns(pl.col("origin", "time").dt.replace_time_zone("UTC"))


def _prepare(forecast: pl.DataFrame, model: str, version: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the columns to write, and number column -> its name in the database."""
    missing = [name for name in ("series", "origin", "horizon", "time") if name not in forecast.columns]
    if missing:
        raise DataError(f"a forecast table needs {', '.join(missing)}; this one has {', '.join(forecast.columns)}.")
    for name, value in (("model", model), ("version", version)):
        if name not in forecast.columns:
            forecast = forecast.with_columns(pl.lit(value).alias(name))
    names: dict[str, str] = {}
    for name in forecast.columns:
        if name in _FIXED:
            continue
        written = name.replace(".", "_")
        if not _NAME.fullmatch(written) or written.lower() in {*_FIXED, *(other.lower() for other in names.values())}:
            raise DataError(
                f"column {name!r} cannot be the column {written!r} of a database: it takes letters, digits and _, and "
                "no name twice. Rename the target."
            )
        names[name] = written
    times = [_utc(forecast, name) for name in ("origin", "time")]
    numbers = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in names]
    frame = forecast.select(
        pl.col("model", "series", "version").cast(pl.String), pl.col("horizon").cast(pl.Int32), *times, *numbers
    )
    nulls = [key for key in _FIXED if frame[key].null_count()]
    if nulls:
        raise DataError(f"the columns {', '.join(nulls)} of a forecast table may not have missing values.")
    doubled = frame.filter(frame.select(KEYS).is_duplicated()).select(KEYS)
    if not doubled.is_empty():
        raise DataError(
            f"{len(doubled)} rows share their model, series, origin and horizon, such as {doubled.row(0)}. Keep one."
        )
    if not all(math.isfinite(v) for name in names for v in frame[name].drop_nulls()):
        raise DataError(
            "a forecast table has infinite numbers, which databases do not take. Find where they come from."
        )
    return frame, names


def _utc(table: pl.DataFrame, column: str) -> pl.Expr:
    kind = table.schema[column]
    if not isinstance(kind, pl.Datetime):
        raise DataError(f"column {column!r} of a forecast table holds {kind}, not times.")
    moments = pl.col(column).cast(pl.Datetime("us", kind.time_zone))
    return (moments.dt.convert_time_zone("UTC") if kind.time_zone else moments).dt.replace_time_zone(None)


def _table(name: str, numbers: Sequence[str]) -> sa.Table:
    from sqlalchemy.dialects.mysql import DATETIME

    text = sa.String(80)
    moment = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("model", text, primary_key=True),
        sa.Column("series", sa.String(120), primary_key=True),
        sa.Column("origin", moment, primary_key=True),
        sa.Column("horizon", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", text, nullable=False),
        sa.Column("time", moment, nullable=False),
        *(sa.Column(number, sa.Double) for number in numbers),
        sa.Index(f"{name}_time", "series", "time"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )


def _make(engine: sa.Engine, table: sa.Table) -> None:
    """Make the table, or add the columns it lacks. Of two that do so at once one may fail, and finds it done."""
    for last in (False, True):
        try:
            found = sa.inspect(engine)
            if not found.has_table(table.name):
                table.create(engine)
                return
            has = {column["name"] for column in found.get_columns(table.name)}
            quote = engine.dialect.identifier_preparer.quote
            kind = sa.Double().compile(dialect=engine.dialect)
            with engine.begin() as connection:
                for column in table.columns:
                    if column.name not in has:
                        connection.exec_driver_sql(
                            f"ALTER TABLE {quote(table.name)} ADD COLUMN {quote(column.name)} {kind}"
                        )
            return
        except sa.exc.DBAPIError:
            if last:
                raise


def _write(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    updated = [name for name in columns if name not in KEYS]
    kind = connection.dialect.name
    if kind == "postgresql":
        # One statement with one parameter: a round trip per row would take most of a second for a thousand rows.
        quote = connection.dialect.identifier_preparer.quote
        listed = ", ".join(quote(name) for name in columns)
        changes = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in updated)
        keys, name = ", ".join(quote(key) for key in KEYS), quote(table.name)
        connection.execute(
            sa.text(
                f"INSERT INTO {name} ({listed}) SELECT {listed} FROM json_populate_recordset(NULL::{name}, "
                f"CAST(:rows AS json)) ON CONFLICT ({keys}) DO UPDATE SET {changes}"
            ),
            {"rows": orjson.dumps(rows).decode()},
        )
    elif kind == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        statement = insert(table)
        changed = {name: statement.excluded[name] for name in updated}
        connection.execute(statement.on_conflict_do_update(index_elements=list(KEYS), set_=changed), rows)
    elif kind in ("mysql", "mariadb"):
        from sqlalchemy.dialects.mysql import insert as insert_or_update

        # PyMySQL sends such a statement for many rows at once.
        other = insert_or_update(table)
        connection.execute(other.on_duplicate_key_update({name: other.inserted[name] for name in updated}), rows)
    else:
        raise DataError(f"forecasts are written to SQLite, PostgreSQL or MySQL/MariaDB, not to {kind}.")
