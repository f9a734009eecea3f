"""FastAPI around the package, without pydantic models: what routing and FastAPI's own objects cost."""

import os

import orjson
from fastapi import FastAPI, Request, Response

from sanmaru.packages.package import Package

package = Package.load(os.environ["SANMARU_BENCH_MODEL"], threads=1)
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = orjson.loads(await request.body())["rows"]
    answers = package.answers(package.forward(package.encode_rows(rows)))
    return Response(orjson.dumps({"predictions": answers}), media_type="application/json")
