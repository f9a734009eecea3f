"""The short road over real sockets: the same answers as the usual one, and everything it cannot answer goes there."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sanmaru.serving.app import Service, create_app
from sanmaru.serving.keys import Keys
from sanmaru.serving.protocol import PredictProtocol
from sanmaru.serving.settings import Settings
from sanmaru.serving.source import FolderSource

ROW = {"age": 50, "hours": 40.0, "city": "Seoul", "member": True, "joined": "2015-05-01"}
BODY = json.dumps({"rows": [ROW]}).encode()


class Live:
    """A service under uvicorn in a thread."""

    def __init__(self, service: Service) -> None:
        self.service = service
        config = uvicorn.Config(
            service,
            http=PredictProtocol,
            port=0,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=1,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def port(self) -> int:
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    def ask(self, *pieces: bytes, pause_s: float = 0.0, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
        """Send pieces over one connection; return status, headers and body of the answers."""
        with socket.create_connection(("127.0.0.1", self.port()), timeout=10) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                sock.sendall(piece)
                if pause_s:
                    time.sleep(pause_s)
            reader = sock.makefile("rb")
            return [read_answer(reader) for _ in range(answers)]

    def ask_in_turn(self, *requests: bytes) -> list[bytes]:
        """Send each request after the answer to the one before, over one connection; return the bodies."""
        with socket.create_connection(("127.0.0.1", self.port()), timeout=10) as sock:
            reader, bodies = sock.makefile("rb"), []
            for one in requests:
                sock.sendall(one)
                bodies.append(read_answer(reader)[2])
            return bodies


def read_answer(reader: Any) -> tuple[int, dict[str, str], bytes]:
    status = int(reader.readline().split()[1])
    if status == 100:
        assert reader.readline() == b"\r\n"
        status = int(reader.readline().split()[1])
    headers = {}
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, reader.read(int(headers["content-length"]))


def request(
    body: bytes = BODY, *lines: str, path: str = "/predict", method: str = "POST", version: str = "1.1"
) -> bytes:
    kind = [] if any(line.lower().startswith("content-type") for line in lines) else ["Content-Type: application/json"]
    head = [f"{method} {path} HTTP/{version}", "Host: here", f"Content-Length: {len(body)}", *kind, *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def running(folder: Path, limits: Settings | None = None, keys: Keys | None = None) -> Iterator[Live]:
    live = Live(create_app(FolderSource(folder), limits, keys))
    live.thread.start()
    try:
        assert live.service.slot.wait(20)
        while not live.server.started:
            time.sleep(0.01)
        yield live
    finally:
        live.server.should_exit = True
        live.thread.join(10)
        assert not live.thread.is_alive()


@pytest.fixture(scope="module")
def live(income: Path) -> Iterator[Live]:
    with running(income, Settings(max_rows=50, timeout_s=0.6)) as one:
        quick(one)
        yield one


def quick(live: Live) -> None:
    """Let the event loop answer, however slow a busy machine made the warming."""
    assert live.service.slot.current is not None
    live.service.slot.current.inline_rows = 20


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the requests that reach the ASGI application."""
    seen: list[str] = []
    plain = Service.__call__

    async def counted(self: Service, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["path"])
        await plain(self, scope, receive, send)

    monkeypatch.setattr(Service, "__call__", counted)
    return seen


def test_a_whole_request_is_answered_without_the_application(live: Live, usual: list[str], income_client: Any) -> None:
    before = live.service.metrics.statuses[200]
    (status, headers, body), second = live.ask(request() + request(), answers=2)
    assert usual == []
    assert status == 200
    same = income_client.post("/predict", json={"rows": [ROW]})
    assert json.loads(body)["predictions"] == same.json()["predictions"]
    assert second[2] == body
    assert headers["x-model"].endswith("@" + str(json.loads(body)["version"]))
    assert headers["content-type"] == "application/json"
    assert "date" in headers
    assert live.service.metrics.statuses[200] == before + 2


def test_a_body_in_pieces_takes_the_usual_road_and_gives_the_same_answer(live: Live, usual: list[str]) -> None:
    whole = request()
    expected = live.ask(whole)[0]
    for cut in (10, whole.index(b"\r\n\r\n") + 4, len(whole) - 5):
        given_ = live.ask(whole[:cut], whole[cut:], pause_s=0.05)[0]
        assert (given_[0], given_[2]) == (200, expected[2])
    # A head in two pieces still lies whole with its body in the second read: the short road.
    assert usual == ["/predict"] * 2


def test_chunked_bodies_and_pipelines_keep_their_order(live: Live, usual: list[str]) -> None:
    chunked = (
        b"POST /predict HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
        + b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (7, BODY[:7], len(BODY) - 7, BODY[7:])
    )
    other = request(json.dumps({"rows": [{**ROW, "age": 20}, ROW]}).encode())
    health = b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"
    found = live.ask(chunked + health + other + request(b"{") + request(), answers=5)
    assert [answer[0] for answer in found] == [200, 200, 200, 400, 200]
    assert len(json.loads(found[2][2])["predictions"]) == 2
    assert json.loads(found[1][2]) == {"status": "ok"}
    assert found[4][2] == found[0][2]
    assert usual[0] == "/health"


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (request(b""), 400, "the body is empty"),
        (request(b"[1]"), 422, "row 0 must be an object"),
        (request(b'{"rows": []}'), 422, "the request has no rows"),
        (request(json.dumps({"rows": [ROW] * 51}).encode()), 413, "51 rows in one request"),
        (request(json.dumps({"rows": [{**ROW, "age": "old"}]}).encode()), 422, "row 0, column 'age'"),
        (request(BODY, "Content-Type: text/plain"), 415, "cannot read a body of type"),
        (request(BODY, method="PUT"), 405, "Method Not Allowed"),
    ],
)
def test_mistakes_are_worded_by_the_application(
    live: Live, usual: list[str], sent: bytes, status: int, told: str
) -> None:
    answer = live.ask(sent)[0]
    assert (answer[0], usual) == (status, ["/predict"])
    assert told in json.loads(answer[2])["error"]


def test_callers_who_want_something_else_of_http_get_it(live: Live, usual: list[str]) -> None:
    assert live.ask(request(BODY, "Expect: 100-continue"))[0][0] == 200
    closing = live.ask(request(BODY, "Connection: close"))[0]
    assert (closing[0], closing[1]["connection"]) == (200, "close")
    assert live.ask(request(version="1.0"))[0][0] == 200
    assert live.ask(request(path="/predict?x=1"))[0][0] == 200
    assert usual == ["/predict"] * 4


def test_a_body_that_stays_away_is_given_up(live: Live) -> None:
    answer = live.ask(request()[:-5])[0]
    assert answer[0] == 408
    assert "did not arrive within 0.6 s" in json.loads(answer[2])["error"]


def test_a_connection_on_which_nothing_comes_is_closed_in_time_and_not_before(live: Live) -> None:
    assert live.server.config.timeout_keep_alive == 1
    with socket.create_connection(("127.0.0.1", live.port()), timeout=10) as sock:
        reader = sock.makefile("rb")
        for pause_s in (0.0, 0.7, 0.7):  # longer than the limit together
            time.sleep(pause_s)
            sock.sendall(request())
            assert read_answer(reader)[0] == 200
        began = time.monotonic()
        assert reader.read() == b""  # the server closes
        assert 0.8 < time.monotonic() - began < 5


def test_the_loop_stays_awake_for_callers_who_come_back_at_once_only(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port()), timeout=10) as sock:
        reader = sock.makefile("rb")

        def ask(pause_s: float) -> PredictProtocol:
            sock.sendall(request())
            assert read_answer(reader)[0] == 200
            time.sleep(pause_s)
            (connection,) = live.server.server_state.connections
            assert isinstance(connection, PredictProtocol)
            return connection

        for _ in range(3):
            slow = ask(0.02)
            assert not slow._spinning
            assert slow._spin_until == 0
        slow._ended = perf_counter() + 60  # as if the next request came at once
        busy = ask(0.0)
        assert busy._spin_until > 0
        deadline = time.monotonic() + 10
        while busy._spinning:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_keys_are_asked_for_on_the_short_road_too(income: Path, usual: list[str]) -> None:
    with running(income, keys=Keys(plain=("s3cret",))) as locked:
        quick(locked)
        assert locked.ask(request())[0][0] == 401
        assert usual == ["/predict"]
        assert locked.ask(request(BODY, "X-API-Key: s3cret"))[0][0] == 200
        assert usual == ["/predict"]


def test_a_lone_picture_is_answered_on_the_loop_and_several_callers_by_the_thread(
    pictures: Path, picture: Callable[..., bytes], usual: list[str]
) -> None:
    with running(pictures) as live:
        model = live.service.slot.current
        assert model is not None
        model.warmth = replace(model.warmth, row_ms=1.0)
        sent = request(picture(), "Content-Type: image/png")
        answers = live.ask_in_turn(sent, sent, sent)
        assert len(set(answers)) == 1
        assert len(usual) == 1  # the first caller is not yet known to be alone
        live.service.held(60.0, 1)  # one took a minute
        assert live.ask_in_turn(sent, sent)[1] == answers[0]
        assert len(usual) == 3


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 700), max_size=4), requests=st.integers(1, 4))
def test_however_the_bytes_are_cut_every_request_is_answered_once(live: Live, cuts: list[int], requests: int) -> None:
    stream = request() * requests
    places = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True) if b > a]
    found = live.ask(*pieces, pause_s=0.002, answers=requests)
    assert [answer[0] for answer in found] == [200] * requests
    assert len({answer[2] for answer in found}) == 1
