"""Transactions that were in each other's way are done again; other errors are not."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from sanmaru.database import TRIES, driver_codes, in_transaction, open_engine

META = sa.MetaData()
ACCOUNTS = sa.Table(
    "accounts",
    META,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)


@pytest.fixture
def engine(database_url: str, tmp_path: Path) -> sa.Engine:
    opened = open_engine(database_url, tmp_path)
    META.create_all(opened)
    with opened.begin() as connection:
        connection.execute(ACCOUNTS.insert(), [{"name": "a", "value": 0}, {"name": "b", "value": 0}])
    return opened


def add(connection: sa.Connection, name: str) -> None:
    connection.execute(ACCOUNTS.update().where(ACCOUNTS.c.name == name).values(value=ACCOUNTS.c.value + 1))


def values(engine: sa.Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.name: row.value for row in connection.execute(sa.select(ACCOUNTS))}


def test_a_deadlock_is_done_again_and_nothing_twice(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        engine.dispose()
        pytest.skip("SQLite has one writer at a time")
    both_hold_one, calls, errors = threading.Barrier(2), [], []

    def move(first: str, second: str) -> None:
        begun = False

        def change(connection: sa.Connection) -> None:
            nonlocal begun
            calls.append(first)
            add(connection, first)
            if not begun:
                begun = True
                both_hold_one.wait(20)
            add(connection, second)

        try:
            in_transaction(engine, change)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=move, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert values(engine) == {"a": 2, "b": 2}
    assert len(calls) >= 3  # one of the two was ended by the database
    engine.dispose()


def test_other_errors_are_raised_at_once_and_leave_nothing(engine: sa.Engine) -> None:
    calls = []

    def change(connection: sa.Connection) -> None:
        calls.append(1)
        add(connection, "a")
        connection.execute(ACCOUNTS.insert(), {"name": "b", "value": 5})

    with pytest.raises(sa.exc.IntegrityError, match=r"(?i)unique|duplicate"):
        in_transaction(engine, change)
    assert len(calls) == 1
    assert values(engine) == {"a": 0, "b": 0}
    assert in_transaction(engine, lambda connection: connection.scalar(sa.select(sa.literal(7)))) == 7
    engine.dispose()


def test_a_conflict_that_stays_is_raised_in_the_end(tmp_path: Path) -> None:
    engine, calls = open_engine("sqlite:///test.db", tmp_path), []

    def change(_: sa.Connection) -> None:
        calls.append(1)
        raise sa.exc.OperationalError("UPDATE", {}, Exception(1213, "Deadlock found when trying to get lock"))

    with pytest.raises(sa.exc.OperationalError, match="Deadlock found"):
        in_transaction(engine, change)
    assert len(calls) == TRIES
    engine.dispose()


def test_drivers_tell_the_kind_of_an_error_in_three_ways() -> None:
    class PsycopgError(Exception):
        sqlstate = "40P01"

    for origin, codes in (
        (PsycopgError("deadlock detected"), {"40p01", "deadlock detected"}),
        (Exception({"S": "ERROR", "C": "40001", "M": "could not serialize"}), {"40001"}),
        (Exception(1213, "Deadlock found"), {"1213"}),
        (Exception(), set()),
    ):
        assert driver_codes(sa.exc.OperationalError("", {}, origin)) == codes
