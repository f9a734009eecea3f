"""A loaded, warmed and tested version, with everything about it that a request needs worked out before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from sanmaru.serving.errors import Header
from sanmaru.serving.examples import example_row

if TYPE_CHECKING:
    from sanmaru.packages.package import Package
    from sanmaru.serving.source import Candidate
    from sanmaru.tasks.base import Signature

INLINE_MS = 1.0
"""A model that answers one row faster than this runs on the event loop: a thread would cost as much again."""
INLINE_REQUEST_MS = 2.0
"""The longest that one request may hold the event loop; larger requests go to the worker thread."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Warmth:
    """What warming measured."""

    first_ms: float
    """The first row after loading."""
    row_ms: float
    """Median time of one row when warm: encode, forward and answers."""
    many_ms: float
    """Median time of `many` rows at once."""
    many: int = 32

    def inline_rows(self) -> int:
        """Rows of one request that the event loop may answer itself; 0 sends every request to the thread."""
        if self.row_ms > INLINE_MS:
            return 0
        per_row = max((self.many_ms - self.row_ms) / (self.many - 1), 1e-4)
        return max(1, int((INLINE_REQUEST_MS - self.row_ms) / per_row) + 1)


class ServedModel:
    """One version in service.

    Requests keep a reference to the version they started with, so an old version lives exactly until its last
    request is answered.
    """

    def __init__(self, package: Package, candidate: Candidate, warmth: Warmth) -> None:
        self.package = package
        self.name = candidate.name
        self.version = candidate.version
        self.candidate = candidate
        self.warmth = warmth
        self.since = time.time()
        signature = package.signature
        self.signature = signature
        self.names = frozenset(column.name for column in signature.inputs)
        self.required = tuple(column.name for column in signature.inputs if column.required)
        self.forecasts = signature.task == "forecasting"
        self.images = tuple(column.name for column in signature.inputs if column.kind == "image")
        # How long a picture takes to decode depends on the picture, so pictures never hold the event loop.
        self.inline_rows = 0 if self.images else warmth.inline_rows()
        head = orjson.dumps({"model": self.name, "version": self.version})
        self._head = head[:-1] + b',"predictions":'
        self.headers: tuple[Header, ...] = (
            (b"content-type", b"application/json"),
            (b"x-model", f"{quote(self.name)}@{self.version}".encode()),
        )
        self.head = b"".join(b"%s: %s\r\n" % header for header in self.headers) + b"content-length: "

    def answer(self, rows: Sequence[Row]) -> bytes:
        """Predict checked rows and return the JSON text of the answer.

        Raises:
            DataError: naming the row and column of a value that the model cannot take.
        """
        package = self.package
        return self.body(package.answers(package.forward(package.encode_rows(rows))))

    def body(self, answers: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the JSON text that carries `answers` with the model's name and version."""
        return self._head + orjson.dumps(answers, option=orjson.OPT_SERIALIZE_NUMPY) + b"}"


def warm(package: Package, *, budget_s: float = 0.5) -> Warmth:
    """Predict example rows until the model is warm, and time it.

    Args:
        package: Freshly loaded.
        budget_s: After this many seconds, the repetitions made so far must do.
    """
    row = example_row(package.signature)

    def once(rows: list[Row]) -> float:
        started = time.perf_counter()
        package.answers(package.forward(package.encode_rows(rows)))
        return (time.perf_counter() - started) * 1000

    def median(rows: list[Row], most: int) -> float:
        deadline = time.perf_counter() + budget_s / 2
        times = [once(rows)]
        while len(times) < most and time.perf_counter() < deadline:
            times.append(once(rows))
        return statistics.median(times[len(times) // 4 :])

    first_ms = once([row])
    return Warmth(first_ms=first_ms, row_ms=median([row], 60), many_ms=median([row] * Warmth.many, 12))


def breaks(old: Signature, new: Signature) -> str | None:
    """Say why requests made for `old` would fail or be misread under `new`; None where they would not.

    Inputs may disappear (what a request gives beyond the inputs is ignored) and optional ones may appear.
    """
    if old.task != new.task:
        return f"its task is {new.task}, not {old.task}"
    outputs = {output.name: output.kind for output in new.outputs}
    for output in old.outputs:
        if outputs.get(output.name) != output.kind:
            return f"the output {output.name!r} ({output.kind}) is gone; it has {', '.join(outputs) or 'none'}"
    known = {column.name: column for column in old.inputs}
    for column in new.inputs:
        before = known.get(column.name)
        if before is None and column.required:
            return f"it needs a new input {column.name!r}"
        if before is not None and column.required and not before.required:
            return f"the input {column.name!r} may no longer be missing"
        if before is not None and _form(before.kind) != _form(column.kind):
            return f"the input {column.name!r} is {column.kind}, not {before.kind}"
    return None


def _form(kind: str) -> str:
    """Kinds that take the same JSON values count as one."""
    return {"integer": "number", "category": "text"}.get(kind, kind)
