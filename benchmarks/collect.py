"""What collecting costs: an hour of 25 stations, merging, the catalogue against JSON lines, and packing answers.

    python benchmarks/collect.py

A server on the same machine answers as AirKorea does (24 hours of a station in each answer). One line per figure.
"""

from __future__ import annotations

import gzip
import http.server
import json
import lzma
import os
import sqlite3
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from pydantic import TypeAdapter

from sanmaru.collect.catalogue import Catalogue
from sanmaru.collect.clock import SetClock
from sanmaru.collect.config import SourceConfig
from sanmaru.collect.interval import collect_interval
from sanmaru.collect.table import merge

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
STATIONS = [f"역{n:02}" for n in range(25)]
ATTEMPTS = 219_000
"""25 stations, every hour of a year."""


def body(station: str, now: datetime) -> bytes:
    """Return a day of a station as AirKorea writes it."""
    items = []
    for back in range(24):
        at = now - timedelta(hours=back + 1)
        local = at.astimezone(ZoneInfo("Asia/Seoul"))
        day = local - timedelta(days=1) if local.hour == 0 else local
        seed = zlib.crc32(f"{station}{at}".encode()) % 97
        item: dict[str, Any] = {"stationName": station, "dataTime": f"{day:%Y-%m-%d} {local.hour or 24:02}:00"}
        item |= {f"{name}Value": str(seed + 3) for name in ("pm10", "pm25")}
        item |= {f"{name}Value": f"0.0{seed:02}" for name in ("o3", "no2", "co", "so2")}
        item |= {f"{name}Flag": None for name in ("pm10", "pm25", "o3", "no2", "co", "so2")}
        items.append(item | {"khaiValue": "61", "khaiGrade": "2", "mangName": "도시대기", "sidoName": "서울"})
    answer = {"header": {"resultCode": "00", "resultMsg": "NORMAL_CODE"}, "body": {"items": items, "totalCount": 24}}
    return json.dumps({"response": answer}, ensure_ascii=False).encode()


@contextmanager
def serving(clock: SetClock) -> Iterator[str]:
    """Serve answers as of a clock; give the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            data = body(dict(parse_qsl(urlsplit(self.path).query))["stationName"], clock.now())
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def timed(what: str, work: Callable[[], Any], times: int = 1) -> None:
    """Print how long something takes, the median of several times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    print(f"{what:<66} {sorted(taken)[len(taken) // 2] * 1000:10.2f} ms")


def hours(folder: Path) -> None:
    """Collect hour after hour of 25 stations."""
    os.environ["DATA_GO_KR_KEY"] = "key"
    clock = SetClock(NOW)
    with serving(clock) as url:
        content = {"kind": "airkorea", "stations": STATIONS, "url": url, "per_s": 1e6, "burst": 1000, "daily": None}
        config = TypeAdapter(SourceConfig).validate_python(content)

        def one() -> None:
            clock.sleep(3600)
            end = clock.now()
            collect_interval("air", config, end - timedelta(hours=1), end, folder, clock=clock)

        timed("one hour of 25 stations, first", one)
        timed("one hour of 25 stations, median of the next 12", one, 12)


def merging(folder: Path) -> None:
    """Merge an hour into a month that is nearly full."""
    month = datetime(2026, 10, 1, tzinfo=UTC)

    def rows(first: int, count: int) -> pl.DataFrame:
        times = [month + timedelta(hours=first + n) for n in range(count)]
        keys = pl.DataFrame({"series": STATIONS}).join(pl.DataFrame({"time": times}), how="cross")
        return keys.with_columns(
            pl.Series(name, [float(n * k % 89) for n in range(keys.height)]) for k, name in enumerate("abcdef", start=1)
        )

    merge(folder, rows(0, 700), NOW)
    hour = iter(range(700, 720))
    timed("merge 25 rows into a month of 17,500", lambda: merge(folder, rows(next(hour), 1), NOW), 12)


def catalogues(folder: Path) -> None:
    """Look one request up among those of a year."""
    Catalogue(folder / "c.db").close()
    connection = sqlite3.connect(folder / "c.db")
    columns = "source, sweep, request, url, params, page, fetched_at, status, headers, body, size, problem"
    stamp = "2026-11-21T09:00:00.000000Z"
    made = [("air", n, f"{n:032x}", "u", "{}", 1, stamp, 200, "{}", f"{n:064x}", 9, None) for n in range(ATTEMPTS)]
    connection.executemany(f"INSERT INTO attempts ({columns}) VALUES ({','.join('?' * 12)})", made)
    connection.commit()
    wanted = f"{ATTEMPTS // 2:032x}"
    query = "SELECT * FROM attempts WHERE source = ? AND request = ? AND problem IS NULL ORDER BY id DESC LIMIT 1"
    timed("look-up among 219,000 attempts, SQLite", lambda: connection.execute(query, ("air", wanted)).fetchone(), 50)
    with (folder / "c.jsonl").open("w") as lines:
        lines.writelines(json.dumps(dict(zip(columns.split(", "), one, strict=True))) + "\n" for one in made)

    def scan() -> Any:
        with (folder / "c.jsonl").open() as lines:
            return [json.loads(line) for line in lines if wanted in line][-1]

    timed("the same, JSON lines", scan, 3)


def packing() -> None:
    """Pack an answer."""
    one = body(STATIONS[0], NOW)
    ways: dict[str, Callable[[bytes], Any]] = {
        "gzip 6": lambda data: gzip.compress(data, 6, mtime=0),
        "zlib 9": lambda data: zlib.compress(data, 9),
        "zstd 3": lambda data: pa.Codec("zstd", compression_level=3).compress(data, asbytes=True),
        "xz": lzma.compress,
    }
    for name, way in ways.items():
        timed(f"{len(one):,} bytes with {name}: {len(way(one)):,} bytes", lambda way=way: way(one), 50)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as text:
        hours(Path(text) / "collected")
        merging(Path(text) / "table")
        catalogues(Path(text))
        packing()
