"""The collected table: revisions kept, what was known when, whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sanmaru.collect.table import MergeReport, fold, merge, read, rebuild
from sanmaru.errors import DataError
from sanmaru.files import read_json

T = datetime(2026, 10, 31, 22, tzinfo=UTC)
"""Two hours before a month ends."""
KNOWN = datetime(2026, 11, 1, tzinfo=UTC)


def rows(*values: tuple[str, int, float | None], **more: Any) -> pl.DataFrame:
    """Long table of (series, hours after T, value)."""
    return pl.DataFrame(
        {
            "series": [one[0] for one in values],
            "time": [T + timedelta(hours=one[1]) for one in values],
            "a": [one[2] for one in values],
            **more,
        },
        schema_overrides={"series": pl.String, "time": pl.Datetime("us", "UTC"), "a": pl.Float64},
    )


def at(hours: float) -> datetime:
    return KNOWN + timedelta(hours=hours)


def test_rows_are_added_revised_and_left(tmp_path: Path) -> None:
    assert merge(tmp_path, rows(("x", 0, 1.0), ("x", 3, 2.0)), at(0)) == MergeReport(added=2)
    report = merge(tmp_path, rows(("x", 0, 1.0), ("x", 3, 2.5), ("y", 3, 9.0)), at(1))
    assert report == MergeReport(added=1, revised=1, unchanged=1, revised_times=(T + timedelta(hours=3),))
    assert read(tmp_path).rows() == [
        ("x", T, 1.0),
        ("x", T + timedelta(hours=3), 2.5),
        ("y", T + timedelta(hours=3), 9.0),
    ]


def test_the_table_tells_what_was_known_at_a_moment(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, 1.0)), at(0))
    merge(tmp_path, rows(("x", 0, None)), at(2))
    merge(tmp_path, rows(("x", 0, 3.0), ("x", 1, 4.0)), at(4))
    assert read(tmp_path, as_of=at(-1)).height == 0
    assert read(tmp_path, as_of=at(1))["a"].to_list() == [1.0]
    assert read(tmp_path, as_of=at(3))["a"].to_list() == [None]
    assert read(tmp_path)["a"].to_list() == [3.0, 4.0]
    assert read(tmp_path, T, T + timedelta(hours=1), known=True)["known"].to_list() == [at(4)]
    assert read(tmp_path, history=True)["a"].to_list() == [1.0, None, 3.0, 4.0]
    assert read(tmp_path, history=True)["seen"].to_list() == [at(0), at(2), at(4), at(4)]


def test_a_span_is_half_open_and_crosses_months(tmp_path: Path) -> None:
    merge(tmp_path, rows(*(("x", hour, float(hour)) for hour in range(6))), at(0))
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    assert read(tmp_path, T + timedelta(hours=1), T + timedelta(hours=4))["a"].to_list() == [1.0, 2.0, 3.0]
    assert read(tmp_path, T + timedelta(hours=9)).height == 0


def test_an_absent_table_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "none").height == 0
    assert merge(tmp_path / "none", rows(), at(0)) == MergeReport()


def test_a_column_that_does_not_come_keeps_its_values_and_nulls_are_values(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, 1.0), ("y", 0, 2.0), b=[5.0, None]), at(0))
    merge(tmp_path, rows(("x", 0, 1.5), ("y", 0, None)), at(1))
    assert read(tmp_path).select("a", "b").rows() == [(1.5, 5.0), (None, None)]
    merge(tmp_path, rows(("x", 0, 1.5), b=[None]).with_columns(pl.col("b").cast(pl.Float64)), at(2))
    merge(tmp_path, rows(("x", 0, 1.7)), at(3))
    assert read(tmp_path).select("a", "b").rows()[0] == (1.7, None)


def test_a_new_column_is_null_before(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, 1.0)), at(0))
    report = merge(tmp_path, rows(("x", 0, 1.0), flag=["통신장애"]), at(1))
    assert report.revised == 1
    assert read(tmp_path)["flag"].to_list() == ["통신장애"]
    assert read(tmp_path, as_of=at(0))["flag"].to_list() == [None]


def test_nan_counts_as_missing(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, float("nan"))), at(0))
    assert read(tmp_path)["a"].to_list() == [None]
    assert merge(tmp_path, rows(("x", 0, float("nan"))), at(1)).unchanged == 1


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (rows(("x", 0, 1.0)).drop("series"), "need a column 'series'"),
        (rows(("x", 0, 1.0)).with_columns(pl.col("time").dt.replace_time_zone(None)), "has no time zone"),
        (rows(("x", 0, 1.0)).with_columns(pl.lit(None, pl.String).alias("series")), "some have none"),
    ],
)
def test_what_is_no_long_table_is_refused_and_nothing_changes(tmp_path: Path, table: pl.DataFrame, match: str) -> None:
    with pytest.raises(DataError, match=match):
        merge(tmp_path, table, at(0))
    assert read(tmp_path).height == 0


def test_rows_need_a_moment_of_knowing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need fetched_at"):
        merge(tmp_path, rows(("x", 0, 1.0)))
    with pytest.raises(DataError, match="need fetched_at"):
        merge(tmp_path, rows(("x", 0, 1.0)), datetime(2026, 1, 1))


def test_a_table_of_a_later_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text('{"form": 2}')
    with pytest.raises(DataError, match="of a form that this version does not read"):
        read(tmp_path)


# Each event: known at hour k, series and time told, value. Few of each, so that all kinds of meetings occur.
EVENTS = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["x", "y"]), st.integers(0, 3), st.sampled_from([None, 1.0, 2.0])),
    max_size=25,
)


def point(known: int, series: str, hour: int, value: float | None) -> pl.DataFrame:
    return rows((series, hour, value)).with_columns(known=pl.lit(at(known)).cast(pl.Datetime("us", "UTC")))


def told_last(versions: pl.DataFrame, moment: datetime | None = None) -> dict[tuple[str, datetime], float | None]:
    if moment is not None:
        versions = versions.filter(pl.col("known") <= moment)
    last = versions.sort("series", "time", "known").unique(["series", "time"], keep="last", maintain_order=True)
    return {(row[0], row[1]): row[2] for row in last.select("series", "time", "a").iter_rows()}


@settings(max_examples=40)
@given(EVENTS, st.randoms(use_true_random=False))
def test_what_was_fetched_last_counts_in_whatever_order_it_comes(events: list[tuple[Any, ...]], random: Any) -> None:
    # The same key known at the same moment with two values would depend on the order; keep the last.
    told = {(known, series, hour): value for known, series, hour, value in events}
    shuffled = list(told.items())
    random.shuffle(shuffled)

    def expected(until: int) -> dict[tuple[str, datetime], float | None]:
        in_order = sorted(told.items(), key=lambda one: one[0])
        return {(series, T + timedelta(hours=hour)): v for (k, series, hour), v in in_order if k <= until}

    versions, counted = None, 0
    for (known, series, hour), value in shuffled:
        versions, report = fold(versions, point(known, series, hour, value))
        assert report.added + report.revised + report.unchanged == 1
        counted += report.added
    assert counted == len({(series, hour) for _, series, hour in told})
    assert versions is None or told_last(versions) == expected(4)
    # In order of fetching, every moment between is exact, too.
    versions = None
    for (known, series, hour), value in sorted(told.items(), key=lambda one: one[0]):
        versions, _ = fold(versions, point(known, series, hour, value))
    for moment in range(5):
        assert versions is None or told_last(versions, at(moment)) == expected(moment)


def test_a_confirmation_outlasts_what_is_told_late(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, 1.0)), at(0))
    merge(tmp_path, rows(("x", 0, 1.0)), at(2))
    merge(tmp_path, rows(("x", 0, 9.0)), at(1))  # fetched in between by somebody slower
    assert read(tmp_path)["a"].to_list() == [1.0]
    assert read(tmp_path, as_of=at(1))["a"].to_list() == [9.0]


def test_a_table_made_anew_is_the_same_to_the_byte(tmp_path: Path) -> None:
    events = [(0, "x", 0, 1.0), (1, "x", 0, 2.0), (2, "x", 0, 2.0), (2, "y", 4, None), (3, "x", 0, 1.0)]
    for known, series, hour, value in events:
        merge(tmp_path / "once", rows((series, hour, value)), at(known))
    rebuild(tmp_path / "again", [point(*events[0]), pl.concat([point(*event) for event in events[1:]])])
    assert _named(tmp_path / "again") == _named(tmp_path / "once")


@settings(max_examples=30)
@given(EVENTS)
def test_folding_twice_changes_nothing(events: list[tuple[Any, ...]]) -> None:
    new = rows(*((series, hour, value) for _, series, hour, value in events)).with_columns(
        pl.Series("known", [at(known) for known, *_ in events], dtype=pl.Datetime("us", "UTC"))
    )
    once, report = fold(None, new)
    assert report.added + report.revised + report.unchanged + report.duplicates == len(events)
    twice, again = fold(once, new)
    assert twice.equals(once)
    assert again.added == 0


def test_readers_and_writers_at_once_see_whole_merges(tmp_path: Path) -> None:
    merge(tmp_path, rows(("x", 0, 0.0), ("x", 5, 0.0)), at(0))
    torn, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            values = read(tmp_path)["a"].to_list()
            if len(set(values)) != 1:
                torn.append(values)

    def write(start: int) -> None:
        for n in range(start, start + 20, 2):
            merge(tmp_path, rows(("x", 0, float(n)), ("x", 5, float(n))), at(n))

    readers = [threading.Thread(target=look) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(start,)) for start in (1, 2)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()
    assert torn == []
    assert read(tmp_path)["a"].to_list() == [20.0, 20.0]
    assert read(tmp_path, history=True).height == 2 * 21  # no merge was lost


CRASH = """
import os, pathlib, signal, sys
from datetime import datetime
import polars as pl
from sanmaru.collect.table import merge

calls, die = 0, 0

def boundary(function):
    def count():
        global calls
        calls += 1
        if calls == die:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(*args, **kwargs):
        count()  # before the call, and after it
        result = function(*args, **kwargs)
        count()
        return result
    return wrapped

os.replace, os.fsync = boundary(os.replace), boundary(os.fsync)
for name in ("write_bytes", "write_text", "unlink"):
    setattr(pathlib.Path, name, boundary(getattr(pathlib.Path, name)))
base, new, known = pathlib.Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])
for folder in sorted(base.iterdir()):
    die = int(folder.name)
    child = os.fork()  # polars has done nothing yet, and so has no threads that a fork would lose
    if child == 0:
        merge(folder, pl.read_parquet(new), known)
        print(calls, flush=True)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (-signal.SIGKILL if die else 0), (die, ended)
"""


def _crash(base: Path, new: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(base), str(new), at(5).isoformat()],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "POLARS_MAX_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_at_any_boundary_the_table_is_as_before_or_as_after(tmp_path: Path) -> None:
    new, table = tmp_path / "new.parquet", tmp_path / "table"
    rows(*(("x", hour, hour + 0.5) for hour in range(6))).write_parquet(new)
    merge(table, rows(*(("x", hour, float(hour)) for hour in range(6))), at(0))
    merge(table, rows(*(("x", hour, hour + 0.1) for hour in range(6))), at(1))  # leaves files to clear
    before = read(table)
    shutil.copytree(table, tmp_path / "whole" / "0")
    boundaries = int(_crash(tmp_path / "whole", new))
    undisturbed = tmp_path / "whole" / "0"
    after = read(undisturbed)
    # Two months and a manifest are each written, flushed and renamed, and two old files cleared.
    assert boundaries == 2 * (3 * 3 + 2)
    for die in range(1, boundaries + 1):
        shutil.copytree(table, tmp_path / "killed" / f"{die:02}")
    _crash(tmp_path / "killed", new)
    states = []
    for folder in sorted((tmp_path / "killed").iterdir()):
        found = read(folder)
        assert found.equals(before) or found.equals(after), folder.name
        states.append(found.equals(after))
        merge(folder, pl.read_parquet(new), at(5))
        assert _named(folder) == _named(undisturbed)
        assert not list(folder.glob(".*.part"))
    assert states == sorted(states)
    assert set(states) == {False, True}


def _named(folder: Path) -> dict[str, bytes]:
    """The bytes of the files that the manifest names."""
    return {name: (folder / name).read_bytes() for name in read_json(folder / "table.json")["files"].values()}
