"""The database goes away and comes back, the disk fills and is freed, runners are stopped, a clock is set back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from sanmaru.database import open_engine
from sanmaru.errors import UserError
from sanmaru.pipelines.config import PipelineConfig
from sanmaru.pipelines.entries import Entry
from sanmaru.pipelines.ledger import Ledger
from sanmaru.pipelines.patience import Patience
from sanmaru.pipelines.plan import Plan
from sanmaru.pipelines.runner import Runner

Make = Callable[..., tuple[Plan, Ledger]]
STEPS = {
    "collect": {"call": "steps.py:act", "retry_wait_s": 0},
    "clean": {"call": "steps.py:act", "needs": "collect", "retry_wait_s": 0},
}
CODE = """
def act(c):
    with (c.folder / "log.txt").open("a") as handle:
        handle.write(f"{c.step}@{c.interval[11:13]}\\n")
    import time
    time.sleep(0.05)
    return {"n": c.interval}
"""
UNTIL = datetime(2026, 11, 20, 6, tzinfo=UTC)


class Proxy:
    """Stands between runner and database; can be cut, and restored."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.restore()

    def restore(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        for one in [listener, *self._open]:
            if one is not None:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)


@pytest.fixture
def away(database_url: str, tmp_path: Path) -> Iterator[tuple[Plan, Ledger, Proxy, list[str]]]:
    """A pipeline whose server is reached through a proxy, and what was told of waiting."""
    url = sa.make_url(database_url)
    if url.get_backend_name() == "sqlite":
        pytest.skip("a file does not go away; a full disk is tested below")
    proxy = Proxy(url.host or "127.0.0.1", url.port or 0)
    through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    (tmp_path / "steps.py").write_text(CODE)
    config = PipelineConfig.model_validate(
        {"every": "1h", "start": "2026-11-20T00:00", "steps": STEPS, "lease_s": 2, "ledger": through}
    )
    told: list[str] = []
    engine = open_engine(through, tmp_path)
    yield Plan("air", config, tmp_path), Ledger(engine, "air", Patience(30, told.append)), proxy, told
    engine.dispose()
    proxy.cut()


def test_a_database_that_goes_away_is_waited_for_and_nothing_is_repeated(
    away: tuple[Plan, Ledger, Proxy, list[str]], tmp_path: Path
) -> None:
    plan, ledger, proxy, told = away

    def cut_now_and_then(what: str, entry: Entry, text: str) -> None:
        if what == "begun" and entry.start[11:13] in ("01", "03", "04"):
            proxy.cut()
            threading.Timer(0.5, proxy.restore).start()

    with Runner(plan, ledger, tell=cut_now_and_then) as runner:
        summary = runner.run(until=UNTIL)
    assert (summary.done, summary.failed, summary.lost, summary.blocked) == (12, 0, 0, {})
    assert any(text.startswith("the ledger's database does not answer, next try in 0.2 s: ") for text in told)
    assert "the ledger's database answers again" in told
    lines = Counter((tmp_path / "log.txt").read_text().split())
    assert lines == {f"{step}@{hour:02d}": 1 for step in STEPS for hour in range(6)}
    for entry in ledger.entries():
        assert [row["state"] for row in ledger.attempts(entry.step, entry.start)] == ["done"]


def test_connections_that_the_server_ends_are_made_anew(database_url: str, tmp_path: Path) -> None:
    url = sa.make_url(database_url)
    if url.get_backend_name() != "postgresql":
        pytest.skip("pg_terminate_backend is PostgreSQL's")
    (tmp_path / "steps.py").write_text(CODE)
    config = PipelineConfig.model_validate(
        {"every": "1h", "start": "2026-11-20T00:00", "steps": STEPS, "lease_s": 2, "ledger": database_url}
    )
    engine, admin = open_engine(database_url, tmp_path), open_engine(database_url, tmp_path)

    def end_connections(what: str, entry: Entry, text: str) -> None:
        with admin.begin() as connection:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid) {others}"))

    with Runner(Plan("air", config, tmp_path), Ledger(engine, "air", Patience(30)), tell=end_connections) as runner:
        summary = runner.run(until=UNTIL)
    assert (summary.done, summary.failed, summary.lost) == (12, 0, 0)
    assert len((tmp_path / "log.txt").read_text().split()) == 12
    engine.dispose()
    admin.dispose()


@pytest.mark.parametrize("lost", ["claim", "complete", "give_back"])
def test_a_change_whose_answer_was_lost_is_not_made_twice(ledger: Ledger, lost: str) -> None:
    """The connection breaks right after the commit: the change was made, and nobody heard of it."""
    ledger.patience.seconds = 10
    ledger.expect(["collect"], ["2026-11-20T00:00Z"])
    broken: list[str] = []

    def break_after_commit(change: str) -> None:
        original = getattr(ledger, f"_{change}")

        def once(*args: object, **options: object) -> object:
            answer = original(*args, **options)
            if not broken:
                broken.append(change)
                error = sa.exc.OperationalError("COMMIT", {}, ConnectionError("gone"), connection_invalidated=True)
                if ledger.engine.dialect.name == "sqlite":
                    import sqlite3

                    error = sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))
                raise error
            return answer

        setattr(ledger, f"_{change}", once)

    break_after_commit(lost)
    attempt = ledger.claim(ledger.entries()[0], "k", "me", 60)
    assert attempt is not None
    assert attempt.number == 1
    if lost == "give_back":
        assert ledger.give_back(attempt, reason="not there", failed=True, retries=5) == "waiting"
        assert ledger.entries()[0].state == "waiting"
    else:
        ledger.complete(attempt, state="done", inputs={}, outputs={"n": 1}, outputs_hash="h", dependents=[], seconds=0)
        assert ledger.entries()[0].outputs == {"n": 1}
    assert broken == [lost]
    assert len(ledger.attempts("collect", "2026-11-20T00:00Z")) == 1


def test_patience_ends_with_what_to_do() -> None:
    patience = Patience(0.3)

    def ask(again: bool) -> None:
        raise sa.exc.OperationalError("SELECT", {}, ConnectionError("refused"), connection_invalidated=True)

    with pytest.raises(UserError, match=r"has not answered for \d+ s: refused.*Bring the database back, then start"):
        patience.through(ask)
    with pytest.raises(sa.exc.OperationalError, match="refused"):
        Patience().through(ask)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs the right to mount a file system")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_delays_and_loses_nothing(small_disk: Path) -> None:
    code = """
def act(c):
    from sanmaru.files import write_text
    path = c.folder / f"{c.step}-{c.interval[11:13]}.txt"
    write_text(path, c.interval * 1000)
    return {"path": path}
"""
    (small_disk / "steps.py").write_text(code)
    steps = {name: {**step, "retries": 100, "retry_wait_s": 0.05} for name, step in STEPS.items()}
    config = PipelineConfig.model_validate({"every": "1h", "start": "2026-11-20T00:00", "steps": steps, "lease_s": 2})
    engine = open_engine(config.ledger, small_disk)
    told: list[str] = []
    ledger = Ledger(engine, "air", Patience(60, told.append))
    ballast = small_disk / "ballast"
    failures: list[str] = []

    def fill_then_free(what: str, entry: Entry, text: str) -> None:
        if what == "done" and entry.start[11:13] == "01" and entry.step == "collect":
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as handle:
                while True:
                    handle.write(b"0" * 4096)
            threading.Timer(1.5, ballast.unlink).start()
        if what == "failed":
            failures.append(text)

    with Runner(Plan("air", config, small_disk), ledger, tell=fill_then_free) as runner:
        while (summary := runner.run(until=UNTIL)).blocked:
            time.sleep(0.05)
    assert failures or told
    assert all("No space left on device" in text for text in failures), failures
    assert all("full" in text or "answers again" in text or "I/O" in text for text in told), told
    assert summary.failed == 0
    for name in STEPS:
        for hour in range(6):
            written = (small_disk / f"{name}-{hour:02d}.txt").read_text()
            assert written == f"2026-11-20T{hour:02d}:00Z" * 1000
    for entry in ledger.entries():
        assert [row["state"] for row in ledger.attempts(entry.step, entry.start)].count("done") == 1
    engine.dispose()


def test_a_runner_that_is_told_to_stop_hands_back_and_ends_well(make: Make, tmp_path: Path) -> None:
    import json
    import sys

    code = """
def hang(c):
    (c.folder / "begun").touch()
    import time
    time.sleep(0 if (c.folder / "go").exists() else 60)
    return {"n": 1}
"""
    steps = {"hang": {"call": "steps.py:hang", "poll_s": 3600}}
    plan, ledger = make(steps, code, lease_s=600)
    pipeline = {"every": "1h", "start": "2026-11-20", "lease_s": 600, "steps": steps}
    content = {"name": "air", "task": "tabular", "data": {"train": "t.csv", "target": "y"}, "pipeline": pipeline}
    (tmp_path / "sanmaru.yaml").write_text(json.dumps(content))
    runner = subprocess.Popen(
        [sys.executable, "-c", "from sanmaru.cli.main import main; main()", "pipeline", "schedule", "--grace-s", "0.2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    runner.send_signal(signal.SIGTERM)
    _, err = runner.communicate(timeout=60)
    assert runner.returncode == 0
    assert "handed back: its runner was stopped" in err
    assert err.endswith("stopped; what was under way is handed back\n")
    first = ledger.entries(starts=["2026-11-20T00:00Z"])[0]
    assert (first.state, first.tries, first.reason) == ("waiting", 0, "its runner was stopped")
    (tmp_path / "go").touch()
    with Runner(plan, ledger) as second:  # at once, though the lease was one of ten minutes
        assert second.run(until=datetime(2026, 11, 20, 1, tzinfo=UTC)).done == 1


def test_a_clock_that_was_set_back_does_not_stop_the_pipeline(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, ledger = make({"collect": {"call": "steps.py:act", "poll_s": 60}}, CODE)
    ledger.expect(["collect"], ["2026-11-20T00:00Z", "2026-11-20T01:00Z"])
    entries = ledger.entries()
    ahead = ledger._now
    monkeypatch.setattr(ledger, "_now", lambda connection: ahead(connection) + 86400)  # a clock a day ahead ...
    lost = ledger.claim(entries[0], "k", "a dead runner", 60)
    waits = ledger.claim(entries[1], "k", "another", 60)
    assert lost is not None
    assert waits is not None
    ledger.give_back(waits, reason="not there", failed=False, wait_s=60)
    monkeypatch.setattr(ledger, "_now", ahead)  # ... is put right
    with Runner(plan, ledger) as runner:
        assert runner.run(until=datetime(2026, 11, 20, 2, tzinfo=UTC)).done == 2
