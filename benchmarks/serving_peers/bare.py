"""The floor: one ASGI function around the package, nothing checked, nothing counted."""

import os

import orjson

from sanmaru.packages.package import Package

package = Package.load(os.environ["SANMARU_BENCH_MODEL"], threads=1)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    rows = orjson.loads(body)["rows"]
    answers = package.answers(package.forward(package.encode_rows(rows)))
    content = orjson.dumps({"predictions": answers})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
