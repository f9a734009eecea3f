"""The events that an estimator tells while it fits, as `FitContext` writes them: one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE_NAME = "events.jsonl"


def read_events(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines that stand after `offset` bytes, and the offset after them.

    A last line without its end is left for the next call. A file that has become shorter is read from its beginning.
    """
    try:
        with path.open("rb") as handle:
            if handle.seek(0, 2) < offset:
                offset = 0
            handle.seek(offset)
            content = handle.read()
    except FileNotFoundError:
        return [], 0
    end = content.rfind(b"\n") + 1
    return [json.loads(line) for line in content[:end].splitlines()], offset + end


def mend(path: Path) -> None:
    """Cut a last line that a kill left unfinished, so that the next event begins its own line."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as handle:
            handle.truncate(content.rfind(b"\n") + 1)


def learning_curve(path: Path) -> list[dict[str, Any]]:
    """Return the points of a fold's learning curve: `step` and the metrics told at it, in order of steps.

    A fit that was cut short tells some steps again; the latest telling counts. Where a fold fits several networks one
    after another, each tells the step under names of its own.
    """
    points: dict[int, dict[str, Any]] = {}
    for event in read_events(path)[0]:
        if event["kind"] == "metrics":
            told = {name: value for name, value in event.items() if name not in ("kind", "at_s")}
            points.setdefault(event["step"], {}).update(told)
    return [points[step] for step in sorted(points)]
