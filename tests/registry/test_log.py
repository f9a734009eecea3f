from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanmaru.errors import RegistryError
from sanmaru.registry.log import MoveLog

COLUMNS = ("at", "who", "kind", "name", "version", "alias", "previous", "forced", "why", "checks", "before", "hash")


def fill(log: MoveLog, whys: list[str]) -> None:
    with log.lock():
        for number, why in enumerate(whys, start=1):
            log.append(
                kind="promote", name="집값", version=number, alias="production", previous=number - 1 or None, why=why,
                checks=[{"name": "package intact", "passed": True, "text": "16 golden rows"}],
            )  # fmt: skip


def test_entries_come_back_as_written(database_url, tmp_path):
    log = MoveLog(database_url, head=tmp_path / "head.json")
    assert log.entries() == []
    assert log.verify() == 0
    fill(log, ["first", "한글 'quoted' \U0001f600", ""])
    entries = log.entries("집값")
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert entries[1].why == "한글 'quoted' \U0001f600"
    assert entries[1].checks == ({"name": "package intact", "passed": True, "text": "16 golden rows"},)
    assert entries[0].previous is None
    assert entries[0].who
    assert log.entries("other") == []
    assert log.verify() == 3
    assert MoveLog(database_url).verify() == 3


def test_the_database_refuses_changes(database_url):
    log = MoveLog(database_url)
    fill(log, ["first", "second"])
    engine = sa.create_engine(database_url)
    for statement in ("UPDATE sanmaru_moves SET why = 'other' WHERE seq = 1", "DELETE FROM sanmaru_moves"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
    engine.dispose()
    assert [entry.why for entry in log.entries()] == ["first", "second"]


def test_the_lock_is_held_by_one_at_a_time(database_url):
    log = MoveLog(database_url)
    fill(log, ["first"])
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with log.lock():
                inside += 1
                most = max(most, inside)
                log.append(kind="promote", name="a", version=1, alias="production")
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert log.verify() == 16


def test_a_lock_that_stays_taken_is_told(database_url):
    from sanmaru.registry.lock import locked
    from sanmaru.registry.log import engine

    MoveLog(database_url)
    first = engine(database_url, 0)
    with locked(first), pytest.raises(RegistryError, match=r"for more than 1 s"), locked(first, wait_s=1):
        pass
    with locked(first, wait_s=1):
        pass
    first.dispose()


def unguarded(log: MoveLog, path: Path) -> sa.Engine:
    """The database after somebody removed the triggers."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for verb in ("update", "delete"):
            connection.execute(sa.text(f"DROP TRIGGER IF EXISTS sanmaru_moves_{verb}"))
    return engine


TAMPERINGS = st.one_of(
    st.tuples(st.just("alter"), st.integers(1, 6), st.sampled_from(COLUMNS)),
    st.tuples(st.just("delete"), st.integers(1, 6), st.just("")),
    st.tuples(st.just("swap"), st.integers(1, 5), st.just("")),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whys=st.lists(st.text(max_size=20), min_size=6, max_size=6, unique=True), tampering=TAMPERINGS)
def test_every_tampering_is_found(tmp_path_factory, whys, tampering):
    folder = tmp_path_factory.mktemp("log")
    log = MoveLog(f"sqlite:///{folder / 'log.db'}", head=folder / "head.json")
    fill(log, whys)
    assert log.verify() == 6
    how, row, column = tampering
    engine = unguarded(log, folder / "log.db")
    with engine.begin() as connection:
        if how == "alter":
            changed: Any = {"version": 99, "previous": 98, "forced": 1, "checks": "[]"}.get(column, "x" * 9)
            connection.execute(
                sa.text(f"UPDATE sanmaru_moves SET {column} = :v WHERE seq = :s"), {"v": changed, "s": row}
            )
        elif how == "delete":
            connection.execute(sa.text("DELETE FROM sanmaru_moves WHERE seq = :s"), {"s": row})
        else:
            for old, new in ((row, 100), (row + 1, row), (100, row + 1)):
                connection.execute(sa.text("UPDATE sanmaru_moves SET seq = :n WHERE seq = :o"), {"n": new, "o": old})
    engine.dispose()
    with pytest.raises(RegistryError, match="tampered with"):
        log.verify()


def test_an_entry_added_by_hand_with_a_wrong_hash_is_found(tmp_path):
    log = MoveLog(f"sqlite:///{tmp_path / 'log.db'}")
    fill(log, ["first"])
    engine = sa.create_engine(log.url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO sanmaru_moves SELECT 2, at, who, kind, name, 7, alias, previous, forced, why, checks, "
                "hash, hash FROM sanmaru_moves WHERE seq = 1"
            )
        )
    engine.dispose()
    with pytest.raises(RegistryError, match=r"entry 2 .* is not as it was written"):
        log.verify()
