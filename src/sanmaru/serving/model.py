"""A loaded, warmed and tested version, with everything about it that a request needs worked out before."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from sanmaru.serving.errors import Header
from sanmaru.serving.examples import example_row
from sanmaru.serving.forecast_example import example_rows
from sanmaru.serving.forecasts import ForecastRequest, answers_of, outputs_of, read_forecast, request_of, table_of
from sanmaru.serving.rows import read_rows

if TYPE_CHECKING:
    import numpy as np

    from sanmaru.packages.package import Encoded, Package
    from sanmaru.serving.settings import Settings
    from sanmaru.serving.source import Candidate
    from sanmaru.tasks.base import Signature

INLINE_MS = 1.0
"""A model that answers one row faster than this runs on the event loop: a thread would cost as much again."""
INLINE_REQUEST_MS = 2.0
"""The longest that one request may hold the event loop; larger requests go to the worker thread."""

Row = Mapping[str, Any]
Rows = list[dict[str, Any]]
Request = Rows | ForecastRequest
"""What is asked of a model: rows, or series to forecast. Its length is the number of predictions."""


@dataclass(frozen=True, kw_only=True)
class Warmth:
    """What warming measured."""

    first_ms: float
    """The first row (or series) after loading."""
    row_ms: float
    """Median time of one row when warm: encode, forward and answers. Of a forecast also reading its rows."""
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
        self.forecasts = signature.task == "forecasting"
        # What a row of a series must have is checked with the table: it may also have a long table's own names.
        needed = () if self.forecasts else signature.inputs
        self.required = tuple(column.name for column in needed if column.required)
        self.example: list[dict[str, Any]] = example_rows(package) if self.forecasts else []
        """Rows that can be forecast from; empty where the model takes single rows."""
        self.images = tuple(column.name for column in signature.inputs if column.kind == "image")
        # How long a picture takes to decode depends on the picture, so pictures never hold the event loop.
        # Nor do forecasts: making a table of a series' rows takes longer than a small model's whole prediction.
        self.inline_rows = 0 if self.images or self.forecasts else warmth.inline_rows()
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

    def read(self, body: bytes, content_type: bytes, settings: Settings) -> Request:
        """Return what a body asks for.

        Raises:
            RequestError: for a body that cannot be read or does not fit.
            DataError: naming a row, column or series that the model cannot take.
        """
        if self.forecasts:
            return read_forecast(body, content_type, self, settings.max_history_rows)
        return read_rows(body, content_type, self, settings.max_rows)

    def encode(self, request: Request) -> Encoded | ForecastRequest:
        """Return what `outputs` takes; checks rows.

        Raises:
            DataError: naming the row and column of a value that the model cannot take.
        """
        return request if isinstance(request, ForecastRequest) else self.package.encode_rows(request)

    def outputs(self, parts: Sequence[Encoded | ForecastRequest]) -> np.ndarray:
        """Predict several encoded requests at once, in order."""
        forecasts = [part for part in parts if isinstance(part, ForecastRequest)]
        if forecasts:
            return outputs_of(self.package, forecasts)
        encoded = [part for part in parts if not isinstance(part, ForecastRequest)]
        return self.package.forward(encoded[0] if len(encoded) == 1 else joined(encoded))

    def replies(self, requests: Sequence[Request], outputs: np.ndarray) -> list[bytes | ValueError]:
        """Return the JSON text of the answer to each request, from the outputs of all.

        A forecast that is not finite is an error in its place; it must not stop the other requests.
        """
        # Rows are worded together, which takes hardly longer than one of them.
        answers = [] if self.forecasts else self.package.answers(outputs)
        texts: list[bytes | ValueError] = []
        start = 0
        for request in requests:
            stop = start + len(request)
            if isinstance(request, ForecastRequest):
                try:
                    text = self.body(answers_of(self.package, request, outputs[start:stop]))
                    texts.append(text[:-1] + b',"counts":' + orjson.dumps(request.counts) + b"}")
                except ValueError as error:
                    texts.append(error)
            else:
                texts.append(self.body(answers[start:stop]))
            start = stop
        return texts


def joined(encoded: Sequence[Encoded]) -> Encoded:
    """Return the rows of several requests as those of one."""
    import numpy as np

    return tuple(np.concatenate(parts) for parts in zip(*encoded, strict=True))


def warm(package: Package, *, budget_s: float = 0.5) -> Warmth:
    """Predict example rows until the model is warm, and time it.

    Args:
        package: Freshly loaded.
        budget_s: After this many seconds, the repetitions made so far must do.
    """
    predict = _forecasting(package) if package.signature.task == "forecasting" else _predicting(package)

    def once(n_rows: int) -> float:
        started = time.perf_counter()
        predict(n_rows)
        return (time.perf_counter() - started) * 1000

    def median(n_rows: int, most: int) -> float:
        deadline = time.perf_counter() + budget_s / 2
        times = [once(n_rows)]
        while len(times) < most and time.perf_counter() < deadline:
            times.append(once(n_rows))
        return statistics.median(times[len(times) // 4 :])

    first_ms = once(1)
    return Warmth(first_ms=first_ms, row_ms=median(1, 60), many_ms=median(Warmth.many, 12))


def _predicting(package: Package) -> Callable[[int], object]:
    rows: dict[int, list[Row]] = {n: [example_row(package.signature)] * n for n in (1, Warmth.many)}
    return lambda n: package.answers(package.forward(package.encode_rows(rows[n])))


def _forecasting(package: Package) -> Callable[[int], object]:
    """Forecast the golden series, once or under so many names."""
    rows = example_rows(package)
    named = {
        n: [{**row, "series": f"{row['series']} {copy}"} for copy in range(n) for row in rows] for n in (1, Warmth.many)
    }

    def predict(n: int) -> object:
        request = request_of(package, table_of(package, named[n]))
        return answers_of(package, request, outputs_of(package, [request]))

    return predict


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
