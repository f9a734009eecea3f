"""What `/openapi.json` says of `/predict`, from the signature of the model in service."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sanmaru.serving.examples import example_value, grey_picture

if TYPE_CHECKING:
    from sanmaru.serving.model import ServedModel
    from sanmaru.tables.contract import Column
    from sanmaru.tables.joint import Target
    from sanmaru.tasks.base import Output, Signature

_TYPES = {"number": "number", "integer": "integer", "boolean": "boolean"}

ERRORS = {
    400: "The body cannot be read; `where` gives the position.",
    401: "An API key is needed and none that is known was sent.",
    408: "The body took too long to arrive.",
    413: "The body, or the number of rows, is over the limit.",
    415: "The kind of body does not fit the model.",
    422: "A row does not fit the signature; row and column are named.",
    503: "The queue is full or no model is loaded; `Retry-After` says when to try again.",
    504: "The prediction took too long.",
}


def describe_predict(model: ServedModel | None) -> dict[str, Any]:
    """Return the OpenAPI operation of `POST /predict`."""
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    operation: dict[str, Any] = {
        "operationId": "predict",
        "tags": ["model"],
        "summary": "Predict one row or many",
        "description": "Every answer carries the name and version of the model that gave it, in the body and in the "
        "header `X-Model` (`name@version`).",
        "security": [{}, {"bearer": []}, {"key": []}],
        "responses": {str(status): {"description": text, "content": error} for status, text in ERRORS.items()},
    }
    if model is not None:
        from sanmaru.serving.forecast_openapi import forecast_answer, forecast_bodies  # which takes schemas from here

        bodies = forecast_bodies(model) if model.forecasts else _bodies(model.signature)
        operation["requestBody"] = {"required": True, "content": bodies}
        operation["responses"]["200"] = {
            "description": "One forecast per series." if model.forecasts else "One prediction per row, in order.",
            "headers": {
                "X-Model": {"schema": {"type": "string"}, "description": "`name@version`, the name percent-encoded."},
            },
            "content": {"application/json": forecast_answer(model) if model.forecasts else _row_answer(model)},
        }
    return operation


def components() -> dict[str, Any]:
    """Return the parts that `describe_predict` refers to."""
    return {
        "schemas": {
            "Error": {
                "type": "object",
                "required": ["error", "where"],
                "properties": {
                    "error": {"type": "string", "description": "What was wrong and what to do."},
                    "where": {"type": ["string", "null"], "description": "Row, column, position or header."},
                },
            }
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    }


def row_schema(signature: Signature) -> dict[str, Any]:
    """Return the JSON schema of one row."""
    required = [column.name for column in signature.inputs if column.required]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {column.name: column_schema(column) for column in signature.inputs},
    }
    if required:
        schema["required"] = required
    return schema


def json_example(signature: Signature) -> dict[str, Any]:
    """Return one row as it would stand in a JSON body."""
    row: dict[str, Any] = {}
    for column in signature.inputs:
        if column.kind == "image":
            row[column.name] = base64.b64encode(grey_picture()).decode()
        else:
            row[column.name] = example_value(column)
    return row


def column_schema(column: Column) -> dict[str, Any]:
    """Return the JSON schema of a value of an input column."""
    if column.kind == "image":
        return {
            "type": "string",
            "contentEncoding": "base64",
            "contentMediaType": "image/*",
            "description": "A picture.",
        }
    kind = _TYPES.get(column.kind, "string")
    schema: dict[str, Any] = {"type": kind if column.required else [kind, "null"]}
    notes = []
    if column.kind == "date":
        schema["format"] = "date-time"
        notes.append(f"Date, written as {column.date_format or 'ISO 8601'}.")
    if column.low is not None and column.high is not None:
        notes.append(f"Seen in training: {column.low:g} to {column.high:g}; other values are taken too.")
    if column.categories:
        shown = ", ".join(column.categories[:20]) + (" ..." if len(column.categories) > 20 else "")
        notes.append(f"Seen in training: {shown}. Other values count as unknown.")
        schema["examples"] = list(column.categories[:5])
    if notes:
        schema["description"] = " ".join(notes)
    return schema


def _bodies(signature: Signature) -> dict[str, Any]:
    row, example = row_schema(signature), json_example(signature)
    several = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "minItems": 1, "items": row}},
    }
    content: dict[str, Any] = {
        "application/json": {
            "schema": {"oneOf": [several, row]},
            "examples": {"rows": {"value": {"rows": [example]}}, "one row": {"value": example}},
        }
    }
    pictures = [column for column in signature.inputs if column.kind == "image"]
    if pictures:
        files = {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "One or more pictures.",
        }
        others = {column.name: column_schema(column) for column in signature.inputs if column.kind != "image"}
        properties = {**{column.name: files for column in pictures}, **others}
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": properties}}
        if len(pictures) == 1:
            content["image/*"] = {"schema": {"type": "string", "format": "binary"}}
    return content


def _row_answer(model: ServedModel) -> dict[str, Any]:
    return {"schema": _answer(model), "example": _answer_example(model)}


def _answer(model: ServedModel) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for output in model.signature.outputs:
        properties.update(output_schema(output))
    for target in _targets(model):
        properties[target.name] = _label(target.classes, target.dtype)
    return {
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": {"type": "string", "const": model.name},
            "version": {"type": "integer" if isinstance(model.version, int) else "string"},
            "predictions": {
                "type": "array",
                "items": {"type": "object", "required": list(properties), "properties": properties},
            },
        },
    }


def output_schema(output: Output) -> dict[str, Any]:
    """Return the JSON schemas of what one output adds to an answer, by name."""
    if output.kind == "regression":
        levels = zip(output.quantile_names, output.quantiles, strict=True)
        return {
            output.name: {"type": "number"},
            **{name: {"type": "number", "description": f"{level:.0%} quantile."} for name, level in levels},
        }
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        output.name: _label(output.classes, output.dtype),
        "probabilities": {"type": "object", "properties": dict.fromkeys(output.classes, probability)},
    }


def _label(classes: Sequence[str], dtype: str) -> dict[str, Any]:
    kind = {"integer": "integer", "boolean": "boolean", "float": "number"}.get(dtype, "string")
    return {"type": kind, "description": f"One of: {', '.join(classes[:20])}."}


def _targets(model: ServedModel) -> Sequence[Target]:
    """The targets behind a joint class; none where there is one target only."""
    roles = model.package.task.roles
    return () if roles.joint is None or not roles.parts else roles.joint.targets


def _answer_example(model: ServedModel) -> dict[str, Any]:
    prediction: dict[str, Any] = {}
    for output in model.signature.outputs:
        if output.kind == "regression":
            prediction |= dict.fromkeys((output.name, *output.quantile_names), 12.3)
        else:
            prediction[output.name] = output.classes[0]
            share = round(1 / max(1, len(output.classes)), 4)
            prediction["probabilities"] = dict.fromkeys(output.classes, share)
    prediction |= {target.name: target.classes[0] for target in _targets(model)}
    return {"model": model.name, "version": model.version, "predictions": [prediction]}
