"""The raw store: kept once, found again, refused when altered; its catalogue and its limits."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.collect.answering import NOW

from sanmaru.collect.base import Answer, Problem, Request
from sanmaru.collect.catalogue import Catalogue, stamp, unstamp
from sanmaru.collect.keys import Scrubber
from sanmaru.collect.limits import left_today, push_back, take_turn
from sanmaru.collect.store import RawStore
from sanmaru.errors import DataError

PLAIN = Scrubber({})
REQUEST = Request(url="http://x/y", params={"b": "2", "a": "서울"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RawStore]:
    with RawStore(tmp_path) as one:
        yield one


def answer(body: bytes, at: datetime = NOW, request: Request = REQUEST) -> Answer:
    return Answer(request=request, status=200, headers={"ETag": "1", "Set-Cookie": "no"}, body=body, fetched_at=at)


def test_equal_bytes_are_kept_once_and_packed(store: RawStore) -> None:
    body = b'{"a": 1}' * 1000
    first = store.keep("s", 1, answer(body), None, PLAIN)
    second = store.keep("s", 1, answer(body, NOW + timedelta(hours=1)), None, PLAIN)
    assert first.id < second.id
    (path,) = (store.folder / "answers").rglob("*.gz")
    assert gzip.decompress(path.read_bytes()) == body
    assert path.stat().st_size < len(body) / 50
    assert [one.fetched_at for one in store.answers("s")] == [NOW, NOW + timedelta(hours=1)]


def test_what_is_found_again_is_what_was_kept(store: RawStore) -> None:
    store.keep("s", 1, answer("값".encode()), None, PLAIN)
    found = store.good("s", REQUEST)
    assert found is not None
    assert (found.body, found.request, found.fetched_at, found.headers) == ("값".encode(), REQUEST, NOW, {"ETag": "1"})
    assert store.good("other", REQUEST) is None
    assert store.good("s", REQUEST, sweep=2) is None


def test_bad_answers_are_kept_and_not_taken_for_good(store: RawStore) -> None:
    store.keep("s", 1, answer(b"<html>"), Problem("retry", "a page"), PLAIN)
    store.keep_failure("s", 1, REQUEST, NOW, Problem("retry", "no answer"))
    assert store.good("s", REQUEST) is None
    assert list(store.answers("s")) == []
    assert [row["problem"] for row in store.catalogue.rows("SELECT problem FROM attempts")] == [
        "retry: a page",
        "retry: no answer",
    ]


def test_an_altered_or_absent_file_is_told(store: RawStore) -> None:
    name = store.put(b"abc")
    (path,) = store.folder.rglob("*.gz")
    path.write_bytes(gzip.compress(b"abd"))
    with pytest.raises(DataError, match="was altered"):
        store.get(name)
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be unpacked"):
        store.get(name)
    path.write_bytes(gzip.compress(b"abc")[:-4])
    with pytest.raises(DataError, match="cannot be unpacked"):
        store.get(name)
    path.unlink()
    with pytest.raises(DataError, match="is absent"):
        store.get(name)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))
def test_stamps_sort_as_time_does(moment: datetime) -> None:
    utc = moment.replace(tzinfo=UTC)
    assert unstamp(stamp(utc)) == utc
    assert stamp(utc) < stamp(utc + timedelta(microseconds=1))


def test_the_order_of_parameters_does_not_matter() -> None:
    assert REQUEST.key == Request(url="http://x/y", params={"a": "서울", "b": "2"}).key
    assert REQUEST.key != Request(url="http://x/y", params={"a": "서울", "b": "3"}).key


def test_a_collection_that_broke_off_goes_on_and_one_that_ended_does_not(store: RawStore) -> None:
    span = (NOW - timedelta(hours=1), NOW)
    sweeps = store.catalogue
    first, resumed = sweeps.begin_sweep("s", *span, NOW, resume_s=3600)
    assert not resumed
    assert sweeps.begin_sweep("s", *span, NOW + timedelta(minutes=59), resume_s=3600) == (first, True)
    assert sweeps.begin_sweep("s", *span, NOW + timedelta(minutes=61), resume_s=3600)[1] is False
    last, _ = sweeps.begin_sweep("s", *span, NOW + timedelta(minutes=62), resume_s=3600)
    sweeps.end_sweep(last, "complete", NOW + timedelta(minutes=63))
    assert sweeps.begin_sweep("s", *span, NOW + timedelta(minutes=64), resume_s=3600)[1] is False
    assert sweeps.first_complete("s", *span) == NOW + timedelta(minutes=63)


@settings(max_examples=40)
@given(
    st.floats(0.1, 50),
    st.integers(1, 6),
    st.lists(st.floats(0, 3), min_size=1, max_size=30),
)
def test_no_window_of_time_sees_more_turns_than_pace_and_burst_allow(
    per_s: float, burst: int, gaps: list[float]
) -> None:
    catalogue = _memory()
    at, turns = NOW, []
    for gap in gaps:
        at += timedelta(seconds=gap)
        wait = take_turn(catalogue, "h", at, per_s=per_s, burst=burst)
        assert wait >= 0
        at += timedelta(seconds=wait)
        turns.append(at)
    for i, first in enumerate(turns):
        for n, last in enumerate(turns[i:], start=1):
            assert n <= burst + (last - first).total_seconds() * per_s + 1e-3


def test_turns_taken_at_once_from_several_processes_are_in_line(tmp_path: Path) -> None:
    Catalogue(tmp_path / "c.db").close()
    waits: list[float] = []

    def take() -> None:
        own = Catalogue(tmp_path / "c.db")
        waits.append(take_turn(own, "h", NOW, per_s=1, burst=1))
        own.close()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_host_that_is_pushed_back_waits_whatever_its_burst() -> None:
    catalogue = _memory()
    push_back(catalogue, "h", NOW + timedelta(seconds=30), per_s=2, burst=5)
    assert take_turn(catalogue, "h", NOW, per_s=2, burst=5) == pytest.approx(30)
    assert take_turn(catalogue, "other", NOW, per_s=2, burst=5) == 0


def test_a_clock_that_was_set_back_does_not_stop_everything() -> None:
    catalogue = _memory()
    take_turn(catalogue, "h", NOW + timedelta(days=400), per_s=1, burst=1)
    assert take_turn(catalogue, "h", NOW, per_s=1, burst=1) == 0


def test_the_day_of_a_quota_begins_at_its_zones_midnight(store: RawStore) -> None:
    for hour in (14, 15, 16):  # midnight in Seoul is 15:00 UTC
        store.keep("s", 1, answer(b"", datetime(2026, 11, 20, hour, tzinfo=UTC)), None, PLAIN)
    left, then = left_today(store.catalogue, REQUEST.url, NOW, daily=10, zone="Asia/Seoul")
    assert (left, then) == (8, datetime(2026, 11, 21, 15, tzinfo=UTC))


def _memory() -> Catalogue:
    import tempfile

    return Catalogue(Path(tempfile.mkdtemp()) / "c.db")
