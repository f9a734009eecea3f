import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanmaru.database import open_engine
from sanmaru.pipelines.entries import Attempt, FencedError
from sanmaru.pipelines.ledger import Ledger

HOUR, NEXT = "2026-11-20T00:00Z", "2026-11-20T01:00Z"


def entry(ledger: Ledger, step: str = "collect", start: str = HOUR):  # type: ignore[no-untyped-def]
    return next(one for one in ledger.entries(starts=[start]) if one.step == step)


def taken(ledger: Ledger, step: str = "collect", key: str = "k", lease_s: float = 60) -> Attempt:
    attempt = ledger.claim(entry(ledger, step), key, "me", lease_s)
    assert attempt is not None
    return attempt


def done(ledger: Ledger, attempt: Attempt, digest: str, dependents: tuple[tuple[str, str], ...] = ()) -> bool:
    return ledger.complete(
        attempt, state="done", inputs={"a@b": "1"}, outputs={"n": 1, "이름": "서울"}, outputs_hash=digest,
        dependents=dependents, seconds=0.5,
    )  # fmt: skip


def test_a_step_is_taken_once_and_completed(ledger: Ledger) -> None:
    assert ledger.expect(["collect", "clean"], [HOUR, NEXT]) == 4
    assert ledger.expect(["collect", "clean"], [HOUR]) == 0
    seen = entry(ledger)
    attempt = taken(ledger)
    assert ledger.claim(seen, "k", "other", 60) is None
    assert ledger.claim(entry(ledger), "k", "other", 60) is None  # the lease still runs
    ledger.renew(attempt, 60)
    assert done(ledger, attempt, "h1")
    now = entry(ledger)
    assert (now.state, now.complete, now.attempt, now.done_key, now.outputs) == (
        "done", True, 1, "k", {"n": 1, "이름": "서울"},
    )  # fmt: skip
    assert abs(now.ended - ledger.now()) < 5
    assert abs(ledger.now() - time.time()) < 5
    assert ledger.counts() == {"collect": {"done": 1, "waiting": 1}, "clean": {"waiting": 2}}
    assert [row["state"] for row in ledger.attempts("collect", HOUR)] == ["done"]


def test_a_worker_whose_lease_ran_out_changes_nothing_any_more(ledger: Ledger) -> None:
    ledger.expect(["collect"], [HOUR])
    slow = taken(ledger, lease_s=0.05)
    time.sleep(0.1)
    quick = taken(ledger)
    assert quick.number == 2
    for act in (
        lambda: ledger.renew(slow, 60),
        lambda: done(ledger, slow, "old"),
        lambda: ledger.give_back(slow, reason="x", failed=True),
    ):
        with pytest.raises(FencedError, match="attempt 1 at collect of 2026-11-20T00:00Z lost its lease"):
            act()
    done(ledger, quick, "new")
    assert entry(ledger).outputs_hash == "new"
    assert [row["state"] for row in ledger.attempts("collect", HOUR)] == ["lost", "done"]


def test_changed_outputs_mark_what_was_made_from_them_and_equal_ones_do_not(ledger: Ledger) -> None:
    ledger.expect(["collect", "clean"], [HOUR, NEXT])
    done(ledger, taken(ledger), "h1", (("clean", HOUR),))
    done(ledger, taken(ledger, "clean"), "c1")
    assert entry(ledger, "clean").complete
    ledger.ask_again(["collect"], [HOUR], "revision", failed_only=False)
    assert not done(ledger, taken(ledger), "h1", (("clean", HOUR),))
    assert entry(ledger, "clean").complete
    ledger.ask_again(["collect"], [HOUR], "revision", failed_only=False)
    assert done(ledger, taken(ledger), "h2", (("clean", HOUR),))
    marked = entry(ledger, "clean")
    assert (marked.state, marked.complete) == ("done", False)
    assert [one.step for one in ledger.open_entries(until=NEXT)] == ["clean"]
    assert ledger.unchanged(marked)
    assert entry(ledger, "clean").complete


def test_a_mark_made_after_inputs_were_read_is_not_lost(ledger: Ledger) -> None:
    ledger.expect(["collect", "clean"], [HOUR])
    done(ledger, taken(ledger), "h1")
    read = entry(ledger, "clean")  # a runner reads h1 as the input of clean ...
    ledger.ask_again(["collect"], [HOUR], "revision", failed_only=False)
    done(ledger, taken(ledger), "h2", (("clean", HOUR),))  # ... another completes a revision ...
    assert ledger.claim(read, "key of h1", "late", 60) is None  # ... and the first one must read again
    running = taken(ledger, "clean", "key of h2")
    ledger.ask_again(["collect"], [HOUR], "revision", failed_only=False)
    done(ledger, taken(ledger), "h3", (("clean", HOUR),))
    done(ledger, running, "c2")
    after = entry(ledger, "clean")
    assert (after.state, after.complete) == ("done", False)  # it is done again with h3
    stale = after
    ledger.mark("clean", HOUR)
    assert not ledger.unchanged(stale)


def test_failures_are_counted_until_retries_are_spent_and_waiting_is_none(ledger: Ledger) -> None:
    ledger.expect(["collect"], [HOUR])
    assert ledger.give_back(taken(ledger), reason="not there", failed=False, wait_s=0) == "waiting"
    for expected in ("waiting", "waiting", "failed"):
        assert ledger.give_back(taken(ledger), reason="broken", failed=True, retries=2) == expected
    assert (entry(ledger).tries, entry(ledger).reason) == (3, "broken")
    assert ledger.ask_again(["collect"], None, "asked", failed_only=True) == 1
    assert (entry(ledger).state, entry(ledger).tries) == ("waiting", 0)


@pytest.mark.parametrize("contenders", [4])
def test_of_many_who_want_a_step_one_gets_it(ledger: Ledger, contenders: int) -> None:
    starts = [f"2026-11-20T{hour:02d}:00Z" for hour in range(8)]
    ledger.expect(["collect"], starts)
    seen = ledger.entries()
    won: list[tuple[str, int]] = []
    barrier = threading.Barrier(contenders)

    def contend(number: int) -> None:
        barrier.wait()
        for one in seen:
            if ledger.claim(one, "k", f"runner {number}", 60) is not None:
                won.append((one.start, number))

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(contenders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(start for start, _ in won) == starts


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["claim", "done", "fail", "late", "again", "mark", "expire"]), st.integers(0, 2)),
        max_size=25,
    )
)
def test_whatever_happens_one_attempt_counts_and_history_is_whole(tmp_path: Path, moves: list[tuple[str, int]]) -> None:
    engine = open_engine("sqlite://", tmp_path)
    ledger = Ledger(engine, "p")
    ledger.expect(["s"], [HOUR])
    held: list[Attempt] = []
    for move, which in moves:
        now = entry(ledger, "s")
        if move in ("claim", "expire"):
            got = ledger.claim(now, f"k{which}", "me", -1 if move == "expire" else 60)
            assert (got is None) == (now.state == "running" and now.lease_until > ledger.now())
            held += [got] if got else []
        elif move == "again":
            ledger.ask_again(["s"], None, "again", failed_only=bool(which))
        elif move == "mark":
            ledger.mark("s", HOUR)
        elif held:
            attempt = held[which % len(held)]
            counts = now.state == "running" and now.attempt == attempt.number
            try:
                if move == "done":
                    done(ledger, attempt, f"h{which}")
                else:
                    ledger.give_back(attempt, reason="x", failed=move == "fail", retries=1)
                assert counts
            except FencedError:
                assert not counts
    after, history = entry(ledger, "s"), ledger.attempts("s", HOUR)
    assert [row["attempt"] for row in history] == list(range(1, len(held) + 1))
    assert after.attempt == len(held)
    assert [row["ended"] is None for row in history].count(True) == (after.state == "running")
    engine.dispose()
