"""A server on this machine that answers as the documented services do, on good days and on bad ones."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

SEOUL = ZoneInfo("Asia/Seoul")
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = "a+secret/key=="


@dataclass
class Reply:
    """What the server says to one request."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes after which the connection is closed, though more were announced."""
    drip_s: float = 0.0
    """Between one byte and the next."""
    wait_s: float = 0.0
    """Before the first byte."""

    @property
    def data(self) -> bytes:
        """The body as bytes."""
        return self.body.encode() if isinstance(self.body, str) else self.body


@dataclass
class Asked:
    """A request that came in."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    at: float


class Server:
    """Answers each request with what `answer` returns for it, and remembers all of them."""

    def __init__(self) -> None:
        self.answer: Callable[[Asked, int], Reply] = lambda asked, n: Reply("{}")
        self.asked: list[Asked] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                asked = Asked(
                    parts.path,
                    dict(parse_qsl(parts.query)),
                    {k.lower(): v for k, v in self.headers.items()},
                    time.monotonic(),
                )
                outer.asked.append(asked)
                reply = outer.answer(asked, len(outer.asked))
                time.sleep(reply.wait_s)
                try:
                    self._send(reply)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 304:
                    self.send_header("Content-Length", str(len(reply.data)))
                self.end_headers()
                if reply.cut is not None:
                    self.wfile.write(reply.data[: reply.cut])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif reply.drip_s:
                    for at in range(len(reply.data)):
                        self.wfile.write(reply.data[at : at + 1])
                        self.wfile.flush()
                        time.sleep(reply.drip_s)
                else:
                    self.wfile.write(reply.data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def say(self, *replies: Reply) -> None:
        """Give these replies one after another, the last again and again."""
        self.answer = lambda asked, n: replies[min(n, len(replies)) - 1]
        self.asked.clear()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def envelope(items: Any, total: int | None = None, *, code: str = "00", message: str = "NORMAL_SERVICE") -> str:
    """Return the JSON in which data.go.kr wraps its items."""
    count = len(items) if isinstance(items, list) else len(items.get("item", [])) if isinstance(items, dict) else 0
    body = {"items": items, "numOfRows": 999, "pageNo": 1, "totalCount": count if total is None else total}
    return json.dumps(
        {"response": {"header": {"resultCode": code, "resultMsg": message}, "body": body}}, ensure_ascii=False
    )


def gateway_error(code: str, message: str) -> str:
    """Return the XML with which the gateway refuses, whatever was asked for."""
    return (
        "<OpenAPI_ServiceResponse><cmmMsgHeader><errMsg>SERVICE ERROR</errMsg>"
        f"<returnAuthMsg>{message}</returnAuthMsg><returnReasonCode>{code}</returnReasonCode>"
        "</cmmMsgHeader></OpenAPI_ServiceResponse>"
    )


def air_item(time: datetime, station: str = "중구", **values: Any) -> dict[str, Any]:
    """Return a measurement as AirKorea writes it; midnight is 24:00 of the day that ends."""
    local = time.astimezone(SEOUL)
    shown = f"{local - timedelta(days=1):%Y-%m-%d} 24:00" if local.hour == 0 else f"{local:%Y-%m-%d %H:%M}"
    names = ("pm10", "pm25", "o3", "no2", "co", "so2")
    item: dict[str, Any] = {"stationName": station, "sidoName": "서울", "dataTime": shown, "mangName": "도시대기"}
    item |= {f"{name}Value": "0.03" if name not in ("pm10", "pm25") else "21" for name in names}
    item |= {f"{name}Flag": None for name in names} | {f"{name}Grade": "1" for name in names}
    return item | values


def asos_item(time: datetime, station: str = "108", **values: Any) -> dict[str, Any]:
    """Return an hour as the weather service writes it."""
    fields = {"ta": "-9.0", "rn": "", "ws": "2.1", "wd": "320", "hm": "45", "pa": "1016.2", "ps": "1026.9"}
    flags = {f"{name}Qcflg": "" for name in fields} | {"rnQcflg": "9"}
    shown = f"{time.astimezone(SEOUL):%Y-%m-%d %H:%M}"
    return {"tm": shown, "rnum": "1", "stnId": station, "stnNm": "서울", **fields, **flags} | values


def hours(start: datetime, count: int) -> list[datetime]:
    """Return so many hours from a start on."""
    return [start + timedelta(hours=n) for n in range(count)]
