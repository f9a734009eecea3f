"""The service as it runs: uvicorn in a process of its own, real sockets, a real registry."""

import asyncio
import errno
import json
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from sanmaru.experiments.runs import Run
from sanmaru.project import Project
from sanmaru.registry.models import register
from sanmaru.registry.store import store_of

ROW = {"age": 50, "hours": 40.0, "city": "Seoul", "member": True, "joined": "2015-05-01"}
LEVEL = 1000
"""The model of version v predicts about v * LEVEL, so that an answer shows which version gave it."""


def set_production(project: Project, version: int) -> None:
    store_of(project).set_alias("people", "production", version)


async def load(url: str, seen: list[dict[str, Any]], stop: asyncio.Event) -> None:
    async with httpx.AsyncClient() as client:
        while not stop.is_set():
            answer = await client.post(url + "/predict", json={"rows": [ROW, ROW]}, timeout=20)
            seen.append({"status": answer.status_code, "header": answer.headers["x-model"], **answer.json()})


@pytest.mark.slow
def test_ten_reloads_under_load_drop_no_request(
    project: Project, finished_run: Callable[[float], Run], server: Callable, tmp_path: Path
) -> None:
    good = [register(finished_run(LEVEL * version)) for version in range(1, 12)]
    bad = register(finished_run(LEVEL * 12))
    (bad.folder / "card.json").write_text("{}")
    set_production(project, 1)
    service = server("people", "--project", str(tmp_path), "--poll-s", "0.1")
    assert service.wait_ready()["version"] == 1
    moves = [*range(2, 7), bad.version, *range(7, 12)]
    refused: list[Any] = []

    async def attack() -> list[list[dict[str, Any]]]:
        stop = asyncio.Event()
        seen: list[list[dict[str, Any]]] = [[] for _ in range(8)]
        clients = [asyncio.create_task(load(service.url, mine, stop)) for mine in seen]
        async with httpx.AsyncClient() as watcher:
            while not all(seen):
                await asyncio.sleep(0.01)
            for version in moves:
                await asyncio.to_thread(set_production, project, version)
                deadline = time.monotonic() + 20
                while True:
                    ready = (await watcher.get(service.url + "/ready", timeout=20)).json()
                    if version == bad.version and ready["refused"] is not None:
                        refused.append((ready["version"], ready["refused"]))
                        break
                    if ready["version"] == version:
                        break
                    assert time.monotonic() < deadline, ready
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*clients)
        return seen

    seen = asyncio.run(attack())
    answers = [answer for mine in seen for answer in mine]
    assert Counter(answer["status"] for answer in answers) == {200: len(answers)}
    for answer in answers:
        assert answer["header"] == f"people@{answer['version']}"
        assert [p["price"] for p in answer["predictions"]] == [
            pytest.approx(LEVEL * answer["version"] + 0.5, abs=1)
        ] * 2
    for mine in seen:
        versions = [answer["version"] for answer in mine]
        assert versions == sorted(versions)
    assert {answer["version"] for answer in answers} == {version.version for version in good}
    assert refused[0][0] == 6
    assert "card.json" in refused[0][1]["reason"]
    metrics = httpx.get(service.url + "/metrics").text
    assert "sanmaru_reloads_total 10.0" in metrics
    assert f'sanmaru_requests_total{{status="200"}} {len(answers)}.0' in metrics
    assert service.stop() == 0


@pytest.mark.slow
def test_two_workers_answer_and_count_together(server: Callable, price: Path) -> None:
    service = server(str(price), "--workers", "2")
    service.wait_ready()
    seen = 0
    deadline = time.monotonic() + 30
    while True:
        for _ in range(10):
            with httpx.Client() as client:  # a new connection may meet either worker
                answer = client.post(service.url + "/predict", json=ROW)
            if answer.status_code == 503:  # the second worker still loads
                assert "retry-after" in answer.headers
                continue
            assert answer.status_code == 200
            seen += 1
        metrics = httpx.get(service.url + "/metrics").text
        if "sanmaru_model_info{" in metrics and "} 2.0" in metrics.split("sanmaru_model_info{")[1]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    while f'sanmaru_requests_total{{status="200"}} {seen}.0' not in metrics:  # each leaves its counts every second
        assert time.monotonic() < deadline + 10
        time.sleep(0.2)
        metrics = httpx.get(service.url + "/metrics").text
    assert service.stop() == 0


def raw(url: str, head: str, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send a request piece by piece over a plain socket and return everything that comes back."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_guards_hold_on_the_wire(server: Callable, price: Path) -> None:
    service = server(str(price), "--timeout-s", "2", "--max-body-mb", "0.01")
    service.wait_ready()
    head = "POST /predict HTTP/1.1\nHost: x\nContent-Type: application/json\n"
    # A body that never ends is cut, and so is its connection.
    slow = raw(service.url, head + "Content-Length: 100\n\n", b'{"age"')
    assert slow.startswith(b"HTTP/1.1 408")
    assert b"did not arrive within 2 s" in slow
    # A chunked body has no length to look at; it is counted.
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    large = raw(service.url, head + "Transfer-Encoding: chunked\n\n", *[chunk] * 5, b"0\r\n\r\n")
    assert large.startswith(b"HTTP/1.1 413")
    # A caller that sends everything before it looks still sees the answer.
    answer = httpx.post(service.url + "/predict", content=b"x" * 20_000)
    assert answer.status_code == 413
    # A caller that hangs up in the middle costs nothing.
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall((head + "Content-Length: 100\n\n").replace("\n", "\r\n").encode() + b"{")
    deadline = time.monotonic() + 10
    while 'status="499"' not in httpx.get(service.url + "/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.post(service.url + "/predict", json=ROW).status_code == 200
    metrics = httpx.get(service.url + "/metrics").text
    for status, count in ((408, 1), (413, 2), (499, 1), (200, 1)):
        assert f'sanmaru_requests_total{{status="{status}"}} {count}.0' in metrics
    assert "defect" not in service.log()


@pytest.mark.parametrize("rest", [[4], [1, 3]], ids=["in one piece", "in two"])
def test_a_body_that_is_too_large_is_refused_as_such_once_it_is_there(
    server: Callable, price: Path, rest: list[int]
) -> None:
    service = server(str(price), "--timeout-s", "1", "--max-body-mb", "0.01")
    service.wait_ready()
    head = "POST /predict HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n"
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    pieces = [chunk, *(chunk * count for count in rest)]
    pieces[-1] += b"0\r\n\r\n"
    # Nothing more comes after the last piece, and nothing more may be waited for: 408 or 500 would be the answer.
    assert raw(service.url, head, *pieces, pause_s=0.2).startswith(b"HTTP/1.1 413")
    assert "Exception" not in service.log()


def refuses(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == errno.ECONNREFUSED


def test_sigterm_finishes_the_requests_under_way(server: Callable, price: Path) -> None:
    service = server(str(price))
    service.wait_ready()
    body = json.dumps(ROW).encode()
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not refuses(host, int(port)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        connection.sendall(body[10:])
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")
    assert service.stop() == 0


def test_keys_may_come_from_the_environment(server: Callable, price: Path) -> None:
    service = server(str(price), environment={"SANMARU_API_KEYS": "one,two"})
    service.wait_ready()
    assert httpx.post(service.url + "/predict", json=ROW).status_code == 401
    assert httpx.post(service.url + "/predict", json=ROW, headers={"x-api-key": "two"}).status_code == 200


def test_a_registry_that_goes_away_leaves_the_service_serving(
    project: Project, finished_run: Callable[[float], Run], server: Callable, tmp_path: Path
) -> None:
    register(finished_run(LEVEL))
    set_production(project, 1)
    service = server("people", "--project", str(tmp_path), "--poll-s", "0.1")
    service.wait_ready()
    shutil.move(tmp_path / "mlflow.db", tmp_path / "away.db")
    deadline = time.monotonic() + 20
    while httpx.get(service.url + "/ready").json()["registry"] == "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.post(service.url + "/predict", json=ROW).json()["version"] == 1
