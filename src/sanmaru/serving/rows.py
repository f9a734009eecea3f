"""The body of a request to rows: JSON, pictures as multipart, as base64 in JSON, or one raw picture.

Whatever arrives, the outcome is a list of rows or a `RequestError` that says where and what; never anything else.
A text in a picture column is always base64, never a path: a caller must not reach the server's files.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from sanmaru.serving.errors import RequestError

if TYPE_CHECKING:
    from sanmaru.serving.model import ServedModel

JSON = b"application/json"
FILE_FIELDS = frozenset({"", "file", "files", "image", "images", "picture", "pictures"})
"""Field names that stand for the picture column, besides its own name."""


def read_rows(body: bytes, content_type: bytes, model: ServedModel, max_rows: int) -> list[dict[str, Any]]:
    """Return the rows of a request.

    Args:
        body: The whole body.
        content_type: The header's value; empty counts as JSON.
        model: Says which columns hold pictures, which come back as bytes.
        max_rows: More are refused.

    Raises:
        RequestError: 400 for a body that cannot be read, 413 for too many rows, 415 for a kind of body that the model
            does not take, 422 for rows that are no objects or lack a required column.
    """
    if content_type == JSON or not content_type:
        rows = _json_rows(body, model)
    else:
        kind, options = parse_options_header(content_type)
        if kind == JSON or kind.endswith(b"+json"):
            rows = _json_rows(body, model)
        elif kind == b"multipart/form-data":
            rows = _multipart_rows(body, options.get(b"boundary", b""), model, max_rows)
        elif kind.startswith(b"image/") or kind == b"application/octet-stream":
            rows = [{_picture_column(model, kind): body}]
        else:
            raise RequestError(415, _media_help(kind, model), "header Content-Type")
    if len(rows) > max_rows:
        raise RequestError(413, f"{len(rows)} rows in one request; at most {max_rows} are taken. Send several.", "rows")
    if not rows:
        raise RequestError(422, "the request has no rows", "rows")
    if model.images:
        _decode_pictures(rows, model.images)
    if model.required:
        _check_required(rows, model.required)
    return rows


def _json_rows(body: bytes, model: ServedModel) -> list[dict[str, Any]]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not body:
            raise RequestError(400, 'the body is empty. Send {"rows": [{...}, ...]} or one object.', "body") from None
        where = f"line {error.lineno}, column {error.colno} (character {error.pos})"
        raise RequestError(400, f"the body is not JSON: {error.msg.split(': line ')[0]}", where) from None
    if type(content) is dict:
        rows = content.get("rows", content)
        if rows is content or "rows" in model.names:
            return [content]
        if len(content) > 1:
            extra = ", ".join(repr(key) for key in content if key != "rows")
            raise RequestError(422, f"unknown key beside 'rows': {extra[:200]}", "body")
    else:
        rows = content
    if type(rows) is not list:
        raise RequestError(
            422, f"expected a list of objects, got {_kind(rows)}", "rows" if rows is not content else "body"
        )
    for row in rows:
        if type(row) is not dict:
            number = next(place for place, one in enumerate(rows) if one is row)
            raise RequestError(
                422, f"row {number} must be an object of column names and values, got {_kind(row)}", f"row {number}"
            )
    return rows


def _multipart_rows(body: bytes, boundary: bytes, model: ServedModel, max_rows: int) -> list[dict[str, Any]]:
    """One row per picture; text fields, where the model has other inputs, belong to every row."""
    _picture_column(model, b"multipart/form-data")
    pictures: list[tuple[str, bytes]] = []
    fields: dict[str, Any] = {}
    for name, filename, data in _parts(body, boundary, max_rows + len(model.names)):
        if filename is None and name in model.names and name not in model.images:
            fields[name] = data.decode("utf-8", "replace")
        elif name in model.images:
            pictures.append((name, data))
        elif name in FILE_FIELDS and len(model.images) == 1:
            pictures.append((model.images[0], data))
        else:
            wanted = ", ".join(repr(column) for column in sorted(model.names))
            raise RequestError(
                422, f"unknown form field {name[:80]!r}. The model takes {wanted} (or 'file').", f"field {name[:80]!r}"
            )
    if len(model.images) > 1:
        return [{**fields, **dict(pictures)}]
    return [{**fields, name: data} for name, data in pictures]


def _parts(body: bytes, boundary: bytes, most: int) -> list[tuple[str, str | None, bytes]]:
    """Return (field name, file name or None, content) of every part of a multipart body."""
    if not boundary:
        raise RequestError(400, "multipart/form-data without a boundary", "header Content-Type")
    parts: list[tuple[str, str | None, bytes]] = []
    headers: dict[bytes, bytes] = {}
    field, value = bytearray(), bytearray()
    content: list[bytes] = []
    ended = False

    def begin() -> None:
        headers.clear()
        content.clear()

    def header_end() -> None:
        headers[bytes(field).lower()] = bytes(value)
        field.clear()
        value.clear()

    def part_end() -> None:
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        name = options.get(b"name", b"").decode("utf-8", "replace")
        parts.append((name, None if filename is None else filename.decode("utf-8", "replace"), b"".join(content)))
        if len(parts) > most:
            raise RequestError(413, f"more than {most} parts in one request. Send several.", "body")

    def end() -> None:
        nonlocal ended
        ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, stop: content.append(data[start:stop]),
            "on_part_end": part_end,
            "on_header_field": lambda data, start, stop: field.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": header_end,
            "on_end": end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise RequestError(400, f"the multipart body cannot be read: {error}", "body") from None
    if not ended:
        raise RequestError(400, "the multipart body is cut off: its last boundary is missing", "body")
    return parts


def _picture_column(model: ServedModel, kind: bytes) -> str:
    if not model.images:
        raise RequestError(415, _media_help(kind, model), "header Content-Type")
    if len(model.images) > 1 and kind != b"multipart/form-data":
        raise RequestError(
            415, f"the model takes {len(model.images)} pictures a row; send them as multipart/form-data", None
        )
    return model.images[0]


def _media_help(kind: bytes, model: ServedModel) -> str:
    given = kind.decode("latin-1")[:80]
    if model.images:
        return (
            f"cannot read a body of type {given!r}. Send multipart/form-data, image/*, or application/json with base64."
        )
    csv = " or text/csv" if model.forecasts else ""
    return f"cannot read a body of type {given!r}. This model takes rows: send application/json{csv}."


def _decode_pictures(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Turn base64 texts into bytes, in place; a data URL's head is dropped."""
    for number, row in enumerate(rows):
        for column in columns:
            value = row.get(column)
            if value is None or isinstance(value, bytes):
                continue
            where = f"row {number}, column {column!r}"
            if not isinstance(value, str):
                raise RequestError(422, f"{where}: expected a picture as base64 text, got {_kind(value)}", where)
            text = value.partition(",")[2] if value.startswith("data:") else value
            try:
                row[column] = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                raise RequestError(
                    422, f"{where}: expected a picture as base64 text, got {value[:40]!r}", where
                ) from None


def _check_required(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    for number, row in enumerate(rows):
        for column in columns:
            if row.get(column) is None:
                have = ", ".join(repr(key) for key in list(row)[:10]) or "nothing"
                where = f"row {number}, column {column!r}"
                raise RequestError(
                    422, f"row {number}: the required column {column!r} is missing; the row has {have}", where
                )


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", str: "a text", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
