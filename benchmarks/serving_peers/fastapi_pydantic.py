"""Plain FastAPI around the package, as its tutorial shows it: pydantic in and out, a function in a thread."""

import os

from fastapi import FastAPI
from pydantic import BaseModel, create_model

from sanmaru.packages.package import Package

package = Package.load(os.environ["SANMARU_BENCH_MODEL"], threads=1)
Row = create_model("Row", **{column.name: (float | None, None) for column in package.signature.inputs})


class Body(BaseModel):
    rows: list[Row]


class Answer(BaseModel):
    predictions: list[dict]


app = FastAPI()


@app.post("/predict")
def predict(body: Body) -> Answer:
    rows = [row.model_dump() for row in body.rows]
    return Answer(predictions=package.answers(package.forward(package.encode_rows(rows))))
