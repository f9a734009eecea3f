import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.monitoring.smtp import Mailbox, mail_server

from sanmaru.database import open_engine
from sanmaru.errors import UserError
from sanmaru.monitoring.channels import filled
from sanmaru.monitoring.config import AlertConfig, EmailConfig
from sanmaru.monitoring.decide import Alarm, Look, decide
from sanmaru.monitoring.deliver import deliver, note
from sanmaru.monitoring.state import MonitorState


def looks(text: str, start: int = 1) -> list[Look]:
    """One look per letter: x beyond, ! at once, . within."""
    return [
        Look(at=start + n, beyond=letter in "x!", at_once=letter == "!", value=2.0, threshold=1.0, statistic="ks")
        for n, letter in enumerate(text)
    ]


def events(text: str, raise_after: int = 2, clear_after: int = 3) -> str:
    _, alerts = decide(Alarm(cause="pm25"), looks(text), "warning", raise_after=raise_after, clear_after=clear_after)
    told = {alert.at: alert.event[0] for alert in alerts}
    return "".join(told.get(1 + n, "-") for n in range(len(text)))


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ("x.x.x.x.", "--------"),  # never two in a row
        (".xxxx...", "--r----c"),  # told once, cleared after three
        ("xx..xx..", "-r------"),  # a short lull does not clear it, so it is not told again
        ("xx...xx.", "-r--c-r-"),
        ("!.", "r-"),
    ],
)
def test_alarms_have_hysteresis_and_are_told_once(windows, told):
    assert events(windows) == told


@given(st.text("x.!", max_size=40), st.integers(0, 40))
def test_a_restart_repeats_nothing_and_forgets_nothing(text, cut):
    whole, alerts = decide(Alarm(cause="a"), looks(text), "warning", raise_after=2, clear_after=3)
    first, early = decide(Alarm(cause="a"), looks(text)[:cut], "warning", raise_after=2, clear_after=3)
    # After the restart everything is looked at once more; what was seen is passed over.
    second, late = decide(first, looks(text), "warning", raise_after=2, clear_after=3)
    assert second == whole
    assert early + late == alerts


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        server = self.server
        server.got.append((self.headers["Idempotency-Key"], json.loads(self.rfile.read(length))))  # type: ignore[attr-defined]
        self.send_response(server.answer)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.got, server.answer = [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def raised(cause: str = "pm25@종로구"):
    return decide(Alarm(cause=cause), looks("xx"), "warning", raise_after=2, clear_after=3)


def config_for(hook, mail, **more) -> AlertConfig:
    email = EmailConfig(host="127.0.0.1", port=mail.port, sender="a@b.kr", to=("c@d.kr", "e@f.kr"), security="none")
    url = f"http://127.0.0.1:{hook.server_address[1]}/x"
    return AlertConfig(webhook=url, email=email, file="out/alerts.jsonl", **more)


def test_an_alert_goes_by_every_channel_once(database_url, hook, mail, tmp_path):
    state = MonitorState(open_engine(database_url, tmp_path))
    config = config_for(hook, mail)
    alarm, alerts = raised()
    note(state, [alarm], alerts, config)
    note(state, [alarm], alerts, config)  # as after a crash between keeping and sending
    assert [one.state for one in deliver(state, config, tmp_path)] == ["sent"] * 3
    assert deliver(state, config, tmp_path) == []
    ((key, body),) = hook.got
    assert body["cause"] == "pm25@종로구"
    assert body["event"] == "raised"
    assert body["at"] == "1970-01-01T00:00:00Z"
    assert key.isascii()
    (message,) = mail.got
    assert "To: c@d.kr, e@f.kr" in message
    assert json.loads((tmp_path / "out" / "alerts.jsonl").read_text())["id"] == body["id"]
    assert state.alarms() == {alarm.cause: alarm}
    state.engine.dispose()


def test_a_channel_that_fails_is_tried_again_recorded_and_stops_nothing(hook, mail, tmp_path):
    state = MonitorState(open_engine("sqlite:///s.db", tmp_path))
    config = config_for(hook, mail, retries=2)
    hook.answer = 500
    alarm, alerts = raised()
    note(state, [alarm], alerts, config)
    found = {one.channel: one for one in deliver(state, config, tmp_path)}
    assert found["webhook"].state == "waiting"
    assert "500" in found["webhook"].error
    assert found["email"].state == found["file"].state == "sent"
    assert [one.state for one in deliver(state, config, tmp_path)] == ["waiting"]
    assert [one.state for one in deliver(state, config, tmp_path)] == ["failed"]
    assert deliver(state, config, tmp_path) == []  # given up, and on record
    assert [one.error for one in state.outgoing("failed")] == ["HTTPError: HTTP Error 500: Internal Server Error"]
    assert len(hook.got) == 3
    assert len(mail.got) == 1
    state.engine.dispose()


def test_a_dead_server_costs_one_attempt_per_look(tmp_path):
    state = MonitorState(open_engine("sqlite:///s.db", tmp_path))
    config = AlertConfig(webhook="http://127.0.0.1:9/", timeout_s=1)
    for cause in ("a", "b", "c"):
        alarm, alerts = raised(cause)
        note(state, [alarm], alerts, config)
    assert len(deliver(state, config, tmp_path)) == 1
    assert len(state.outgoing("waiting")) == 3
    state.engine.dispose()


def test_quiet_alerts_are_kept_and_not_sent(hook, mail, tmp_path):
    state = MonitorState(open_engine("sqlite:///s.db", tmp_path))
    config = config_for(hook, mail, at_least="problem")
    alarm, alerts = raised()
    note(state, [alarm], alerts, config)
    assert deliver(state, config, tmp_path) == []
    assert [one.channel for one in state.outgoing()] == ["none"]
    state.engine.dispose()


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOOK", "http://a/b")
    assert filled("${HOOK}?x") == "http://a/b?x"
    with pytest.raises(UserError, match="NOT_THERE, which is not set"):
        filled("${NOT_THERE}")
    state = MonitorState(open_engine("sqlite:///s.db", tmp_path))
    config = AlertConfig(webhook="${NOT_THERE}")
    alarm, alerts = raised()
    note(state, [alarm], alerts, config)
    (tried,) = deliver(state, config, tmp_path)
    assert "NOT_THERE" in tried.error
    state.engine.dispose()
