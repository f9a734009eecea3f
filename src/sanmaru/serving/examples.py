"""Example values from a signature: to warm a model, to describe the service, to fill the form."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sanmaru.tables.contract import Column
    from sanmaru.tasks.base import Signature


def example_row(signature: Signature) -> dict[str, Any]:
    """Return one row that the model takes; pictures as bytes."""
    return {column.name: example_value(column) for column in signature.inputs}


def example_value(column: Column) -> Any:
    """Return a plausible value: the column's own example, else its usual category or the middle of its range."""
    if column.kind == "image":
        return grey_picture()
    if column.example is not None:
        return column.example
    if column.categories:
        return column.categories[0]
    middle = None if column.low is None or column.high is None else (column.low + column.high) / 2
    match column.kind:
        case "number":
            return 0.0 if middle is None else round(middle, 4)
        case "integer":
            return 0 if middle is None else round(middle)
        case "boolean":
            return True
        case "date":
            from datetime import datetime

            return datetime(2026, 1, 1).strftime(column.date_format or "%Y-%m-%d")
    return ""


@functools.cache
def grey_picture(side: int = 64) -> bytes:
    """Return a small grey PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (127, 127, 127)).save(buffer, "PNG")
    return buffer.getvalue()
