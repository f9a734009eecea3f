"""A load client for machines without wrk: keep-alive connections on plain asyncio sockets, for a stated time.

python client.py URL BODY_FILE CONTENT_TYPE CONCURRENCY SECONDS -> one line of JSON
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit


async def caller(at: tuple[str, int], request: bytes, until: float, times: list[float], bad: list[int]) -> None:
    reader, writer = await asyncio.open_connection(*at)
    try:
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            times.append(time.perf_counter() - started)
            if not head.startswith(b"HTTP/1.1 200"):
                bad.append(1)
    finally:
        writer.close()


async def main(url: str, body_file: str, kind: str, concurrency: int, seconds: float) -> None:
    at, body = urlsplit(url), Path(body_file).read_bytes()
    assert at.hostname is not None
    assert at.port is not None
    head = (
        f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    times: list[float] = []
    bad: list[int] = []
    started = time.perf_counter()
    request = head.encode() + body
    calls = [caller((at.hostname, at.port), request, started + seconds, times, bad) for _ in range(concurrency)]
    await asyncio.gather(*calls)
    took = time.perf_counter() - started
    times.sort()
    figures = {
        "requests": len(times),
        "per_s": len(times) / took,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
        "errors": len(bad),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    try:
        import uvloop

        uvloop.run(main(*arguments[:3], int(arguments[3]), float(arguments[4])))
    except ImportError:
        asyncio.run(main(*arguments[:3], int(arguments[3]), float(arguments[4])))
