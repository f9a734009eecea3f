"""The prediction log: what was answered, by which version and how fast, in a database, for monitoring to join with the
truth once it is known.

A request only puts its answer on a list; a thread of its own writes the list every second. Where the database is away
the list grows up to a bound and is written when it is back; beyond the bound entries are dropped and counted. Where
rows are kept for so many days only, the same thread deletes the older ones.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from sanmaru.database import in_transaction, open_engine
from sanmaru.serving.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

    from sanmaru.serving.model import ServedModel

log = logging.getLogger("sanmaru.serving")

_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")
_TABLES = sa.MetaData()
PREDICTIONS = sa.Table(
    "sanmaru_predictions",
    _TABLES,
    sa.Column("request", sa.String(16), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("latency_ms", sa.Double, nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.String(40), nullable=False),
    sa.Column("series", sa.String(200)),
    sa.Column("origin", sa.String(32)),
    sa.Column("input", _LONG_TEXT),
    sa.Column("answer", _LONG_TEXT, nullable=False),
    sa.Index("sanmaru_predictions_at", "model", "at"),
    sa.Index("sanmaru_predictions_series", "model", "series", "origin"),
)
"""One row per prediction: `place` is its place in the request, `at` the time of the answer in seconds since 1970,
`series` and `origin` (ISO 8601) are those of a forecast, `input` is the row given (JSON; not for forecasts and
pictures), `answer` the prediction as it was answered (JSON)."""

MOST_BYTES = 64 * 2**20
"""Bodies and answers that may wait to be written, together."""
OLD_EVERY_S = 3600.0
"""Seconds between two looks for rows that are too old."""
DELETED_AT_ONCE = 5_000
"""Rows that one transaction deletes, about: a database is never held for long."""
KEY = "--log"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One answered request."""

    model: ServedModel
    body: bytes
    kind: bytes
    answer: bytes
    at: float
    seconds: float


class PredictionLog:
    """The list of what was answered, and the thread that writes it.

    Args:
        url: SQLAlchemy URL of the database; the table is made where it is absent.
        folder: Where a relative SQLite file lies.
        every_s: Seconds between two writes.
        keep_days: Rows of `model` older than so many days (of 24 hours, since their answer) are deleted, when the
            thread starts and every hour after; none are where absent.
        model: Name of the model that is served. Rows of others, which may have a server of their own with other days,
            are left alone.

    Raises:
        UserError: when the URL is none or the database does not answer.
    """

    def __init__(
        self, url: str, folder: Path, *, every_s: float = 1.0, keep_days: float | None = None, model: str = ""
    ) -> None:
        self._engine = open_engine(url, folder, KEY)
        _TABLES.create_all(self._engine)
        self._every_s = every_s
        self._keep_days, self._model = keep_days, model
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sanmaru-prediction-log", daemon=True)
        self.written = 0
        """Predictions in the database."""
        self.dropped = 0
        """Requests that were answered and not logged, because the database was away for too long."""
        self.deleted = 0
        """Predictions that were deleted because of their age."""

    def start(self) -> None:
        """Start to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5.0)
        self._engine.dispose()

    def note(self, model: ServedModel, body: bytes, kind: bytes, answer: bytes, seconds: float) -> None:
        """Take an answered request; costs a few microseconds and never waits for the database.

        Args:
            model: That answered.
            body: Of the request.
            kind: Its content type.
            answer: JSON text of the answer.
            seconds: From the first byte to the answer.
        """
        kept = b"" if model.forecasts or model.images else body
        size = len(kept) + len(answer)
        if self._bytes + size > MOST_BYTES:
            if not self.dropped:
                log.warning("the prediction log cannot keep up: what is answered is no longer logged")
            self.dropped += 1
            return
        with self._lock:
            self._bytes += size
            self._waiting.append(
                Entry(model=model, body=kept, kind=kind, answer=answer, at=time.time(), seconds=seconds)
            )

    def write(self) -> int:
        """Write what waits now, in one transaction, and return how many predictions that were.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: when the database refuses; everything still waits then.
        """
        with self._lock:
            entries = list(self._waiting)
        rows = [row for entry in entries for row in _rows(entry)]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(PREDICTIONS.insert(), rows)
        with self._lock:
            for entry in entries:
                self._waiting.popleft()
                self._bytes -= len(entry.body) + len(entry.answer)
        self.written += len(rows)
        return len(rows)

    def delete_old(self) -> int:
        """Delete the rows that are older than `keep_days`, and return how many there were.

        Several transactions, each short; after an error what is left is deleted the next time.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: when the database refuses.
        """
        if self._keep_days is None:
            return 0
        columns = PREDICTIONS.c
        old = sa.and_(columns.model == self._model, columns.at < time.time() - 86_400 * self._keep_days)
        # Rows of one request share their time, so a piece may be larger by one request.
        oldest = sa.select(columns.at).where(old).order_by(columns.at).limit(1)
        before, more = self.deleted, True

        def delete_some(connection: sa.Connection) -> tuple[bool, int]:
            last = connection.scalar(oldest.offset(DELETED_AT_ONCE - 1))
            piece = old if last is None else sa.and_(columns.model == self._model, columns.at <= last)
            return last is not None, connection.execute(PREDICTIONS.delete().where(piece)).rowcount

        while more:
            more, deleted = in_transaction(self._engine, delete_some)
            self.deleted += deleted
        return self.deleted - before

    def _run(self) -> None:
        pause_s, looked = self._every_s, -OLD_EVERY_S
        while True:
            stopping = self._stopping.wait(pause_s)
            try:
                self.write()
                pause_s = self._every_s
            except Exception as error:
                if pause_s == self._every_s:
                    log.warning("the prediction log cannot be written, it is tried again: %s", error)
                pause_s = min(2 * pause_s, 30.0)
            if stopping:
                return
            if time.monotonic() - looked >= OLD_EVERY_S:
                looked = time.monotonic()
                try:
                    self.delete_old()
                except Exception as error:
                    log.warning("old rows of the prediction log cannot be deleted, it is tried again: %s", error)


def _rows(entry: Entry) -> list[dict[str, Any]]:
    """The rows of PREDICTIONS of one request."""
    predictions = orjson.loads(entry.answer)["predictions"]
    request = secrets.token_hex(8)
    inputs = _inputs(entry, len(predictions))
    rows = []
    for place, (given, prediction) in enumerate(zip(inputs, predictions, strict=True)):
        series = prediction["series"] if entry.model.forecasts else None
        rows.append(
            {
                "request": request,
                "place": place,
                "at": entry.at,
                "latency_ms": round(entry.seconds * 1000, 4),
                "model": entry.model.name,
                "version": str(entry.model.version),
                "series": None if series is None else str(series)[:200],
                "origin": prediction["origin"] if entry.model.forecasts else None,
                "input": given,
                "answer": orjson.dumps(prediction).decode(),
            }
        )
    return rows


def _inputs(entry: Entry, n_predictions: int) -> list[str | None]:
    from sanmaru.serving.rows import read_rows

    if not entry.body:
        return [None] * n_predictions
    try:
        rows = read_rows(entry.body, entry.kind, entry.model, n_predictions)
    except RequestError:
        return [None] * n_predictions
    names = entry.model.names
    return [orjson.dumps({name: row[name] for name in row if name in names}).decode() for row in rows]


def logged_forecasts(
    url: str, folder: Path, *, model: str | None = None, since: datetime | None = None
) -> pl.DataFrame:
    """Return what was forecast, as a forecast table.

    Args:
        url: Of the log's database.
        folder: Where a relative SQLite file lies.
        model: Name of a model; all where absent, if they forecast the same columns.
        since: Only origins from this moment on (with a time zone).

    Returns:
        `series`, `origin`, `horizon`, `time`, for each target its point and quantiles, `model`, `version`, and
        `answered` (Datetime[us, UTC]), sorted. What was asked for several times stands once, as it was answered last.

    Raises:
        UserError: when the database does not answer.
    """
    import polars as pl

    engine = open_engine(url, folder, KEY)
    _TABLES.create_all(engine)
    columns = PREDICTIONS.c
    query = sa.select(columns.series, columns.origin, columns.model, columns.version, columns.at, columns.answer)
    query = query.where(columns.origin.is_not(None))
    if model is not None:
        query = query.where(columns.model == model)
    with engine.connect() as connection:
        found = connection.execute(query.order_by(columns.at)).all()
    engine.dispose()
    last = {(row.model, row.version, row.series, row.origin): row for row in found}
    moment = pl.Datetime("us", "UTC")
    keys: dict[str, Any] = {"series": pl.String, "origin": moment, "horizon": pl.Int32, "time": moment}
    made: dict[str, Any] = {"model": pl.String, "version": pl.String, "answered": moment}
    steps = [
        {**step, "series": row.series, "origin": row.origin, "model": row.model, "version": row.version, "at": row.at}
        for row in last.values()
        for step in orjson.loads(row.answer)["forecast"]
    ]
    if not steps:
        return pl.DataFrame(schema={**keys, **made})
    table = pl.from_dicts(steps, infer_schema_length=None).with_columns(
        pl.col("origin", "time").str.to_datetime(time_unit="us", time_zone="UTC"),
        pl.col("horizon").cast(pl.Int32),
        answered=pl.from_epoch(pl.col("at") * 1e6, time_unit="us").dt.replace_time_zone("UTC"),
    )
    values = [name for name in table.columns if name not in {*keys, *made, "at"}]
    table = table.select(*keys, pl.col(values).cast(pl.Float64), *made)
    if since is not None:
        table = table.filter(pl.col("origin") >= since)
    return table.sort("series", "origin", "horizon", "version")
