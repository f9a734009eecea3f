"""What `/openapi.json` says of `/predict` where the model forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sanmaru.serving.forecast_example import csv_text
from sanmaru.serving.forecasts import answers_of, outputs_of, request_of, table_of, task_of
from sanmaru.serving.openapi import column_schema, output_schema

if TYPE_CHECKING:
    from sanmaru.serving.model import ServedModel


def forecast_bodies(model: ServedModel) -> dict[str, Any]:
    """Return the bodies that `/predict` takes, by content type, with rows that can be sent as they are."""
    task = task_of(model.package)
    layout, every, known = task.layout, task.every, task.channels.known
    ahead = (
        f", then rows of the {layout.horizon} steps ahead with {', '.join(known)} and empty targets" if known else ""
    )
    values = {
        column.name: column_schema(column) for column in model.signature.inputs if column.name in task.channels.columns
    }
    row = {
        "type": "object",
        "required": ["series", "time"] if task.data.series else ["time"],
        "properties": {
            "series": {"type": "string", "description": "Name of the series."},
            "time": {
                "type": "string",
                "format": "date-time",
                "description": f"A step of {every.text}. Without an offset it is local to {every.zone}.",
            },
            **values,
        },
    }
    told = (
        f"At least {layout.lookback} steps of {every.text} for each series, up to the step to forecast from{ahead}. "
        "Rows may come in any order; of several rows for one time the last counts. Columns may also be called as in "
        "the data that the model was trained on."
    )
    rows = {"type": "array", "minItems": layout.lookback, "items": row, "description": told}
    return {
        "application/json": {
            "schema": {"type": "object", "required": ["rows"], "properties": {"rows": rows}},
            "examples": {"rows": {"value": {"rows": model.example}}},
        },
        "text/csv": {
            "schema": {"type": "string", "description": f"The same columns, with a header line. {told}"},
            "examples": {"csv": {"value": csv_text(model.example)}},
        },
    }


def forecast_answer(model: ServedModel) -> dict[str, Any]:
    """Schema and example of the answer; the example is what the model says of the example's rows, of two steps."""
    moment = {"type": "string", "format": "date-time"}
    values: dict[str, Any] = {}
    for output in model.signature.outputs:
        values.update(output_schema(output))
    step = {
        "type": "object",
        "required": ["horizon", "time", *values],
        "properties": {"horizon": {"type": "integer", "minimum": 1}, "time": moment, **values},
    }
    prediction = {
        "type": "object",
        "required": ["series", "origin", "forecast"],
        "properties": {
            "series": {"type": "string"},
            "origin": {**moment, "description": "The last observed step of the series, which is forecast from."},
            "forecast": {"type": "array", "items": step},
        },
    }
    properties = {
        "model": {"type": "string", "const": model.name},
        "version": {"type": "integer" if isinstance(model.version, int) else "string"},
        "predictions": {"type": "array", "items": prediction},
        "counts": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "Rows read, and how many of them were odd: `identical-rows`, `revised-rows` ...",
        },
    }
    request = request_of(model.package, table_of(model.package, model.example))
    answers = answers_of(model.package, request, outputs_of(model.package, [request]))
    answers[0]["forecast"] = answers[0]["forecast"][:2]
    schema = {"type": "object", "required": list(properties), "properties": properties}
    head = {"model": model.name, "version": model.version}
    return {"schema": schema, "example": {**head, "predictions": answers, "counts": dict(request.counts)}}
